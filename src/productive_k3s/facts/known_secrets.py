"""The secrets of this host's K3s, so that they can be taken out of what is shown. They never leave this program."""

from __future__ import annotations

from typing import Any, Dict, Iterator, List, Sequence, Set

from productive_k3s.doors.system import Reading
from productive_k3s.facts import masking
from productive_k3s.facts.configuration import read_configuration
from productive_k3s.facts.units import Unit
from productive_k3s.k3s import paths, registries, yaml_text
from productive_k3s.k3s.unit_file import environment

_TOKENS = (paths.SERVER_TOKEN, paths.AGENT_TOKEN, paths.CLUSTER_SERVER_TOKEN, paths.CLUSTER_AGENT_TOKEN)


async def known_secrets(system: Reading, units: Sequence[Unit]) -> Set[str]:
    """Return tokens, passwords and whatever else the configuration holds that is no secret of anybody else."""
    found: Set[str] = set()
    named: List[str] = [*_TOKENS, f"{paths.NODE_PASSWORD_DIRECTORY}/password"]
    for unit in units:
        variables: Dict[str, str] = {}
        for file in unit.environment:
            found.update(_of_environment(file.text))
            variables.update(environment(file.text))
        for text in unit.texts:
            found.update(masking.environment_secrets(text))
        found.update(masking.arguments(unit.arguments)[1])
        configuration = await read_configuration(system, unit.flags, variables)
        for key, values in configuration.values.items():
            found.update(values if masking.is_secret(key) else ())
        named.extend(configuration.first(key) for key in ("token-file", "agent-token-file", "vpn-auth-file"))
    for path in dict.fromkeys(named):
        found.update(await _of_file(system, path))
    found.update(await _of_registries(system))
    return {secret for secret in found if secret and secret != masking.MASK}


def _of_environment(text: str) -> Iterator[str]:
    shown = environment(masking.environment_text(text))
    return (value for name, value in environment(text).items() if masking.MASK in shown.get(name, ""))


async def _of_file(system: Reading, path: str) -> Iterator[str]:
    text = ((await system.read(path)) if path.startswith("/") else None) or b""
    token = text.decode(errors="replace").strip()
    # The secure form is CA hash, user, password; a log may show the last alone.
    return iter((token, token.rpartition(":")[2]))


async def _of_registries(system: Reading) -> Iterator[str]:
    text = ((await system.read(paths.REGISTRIES)) or b"").decode(errors="replace")
    return _proofs(yaml_text.parse(text).value)


def _proofs(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, item in value.items():
            if key in registries.SECRET_KEYS and isinstance(item, (str, int)):
                yield str(item)
            else:
                yield from _proofs(item)
