"""Token files by what is no secret of them, and the digest of those that a start reads."""

from __future__ import annotations

from typing import List, Optional, Sequence, Tuple

from productive_k3s.contract.facts import TokenFact
from productive_k3s.contract.secret import secret_digest
from productive_k3s.doors.system import Reading
from productive_k3s.facts.configuration import Configuration
from productive_k3s.facts.files import TextFile, read_text
from productive_k3s.facts.units import Unit
from productive_k3s.k3s import config_file, paths
from productive_k3s.k3s.token import parse_token, password_digest
from productive_k3s.k3s.unit_file import environment

_NAMED_BY = ("token-file", "agent-token-file")
_VARIABLES = ("K3S_TOKEN_FILE", "K3S_AGENT_TOKEN_FILE")
_USUAL = (paths.SERVER_TOKEN, paths.AGENT_TOKEN, paths.CLUSTER_SERVER_TOKEN, paths.CLUSTER_AGENT_TOKEN)


async def read_tokens(system: Reading, unit: Optional[Unit], configuration: Configuration) -> Tuple[TextFile, ...]:
    """Return the token files of this host: those of K3s, ours, and others that its configuration names."""
    named = [configuration.first(key) for key in _NAMED_BY]
    for file in unit.environment if unit is not None else ():
        variables = environment(file.text)
        named.extend(variables.get(key, "") for key in _VARIABLES)
    wanted = dict.fromkeys((*_USUAL, *(path for path in named if path.startswith("/"))))
    found = [await read_text(system, path, lambda _: None) for path in wanted]
    return tuple(item for item in found if item is not None)


def token_fact(file: TextFile) -> TokenFact:
    """PURE: return what of a token may be told."""
    token = parse_token(file.text)
    digests = secret_digest(file.text), password_digest(file.text)
    return TokenFact(file.fact.path, digests[0], file.fact.mode, token.ca_hash, token.user, digests[1])


def read_at_start(tokens: Sequence[TextFile], configuration: Configuration) -> Tuple[TextFile, ...]:
    """PURE: return the files that a start with this configuration takes its tokens from."""
    named = [configuration.first(key) for key in _NAMED_BY]
    return tuple(item for item in tokens if item.fact.path in named)


def tokens_digest(tokens: Sequence[TextFile], configuration: Configuration) -> str:
    """PURE: digest the tokens that a start takes; the same password in another form is the same, '' for none."""
    read = read_at_start(tokens, configuration)
    return config_file.document_digest([[item.fact.path, password_digest(item.text)] for item in read]) if read else ""


def written_by_us(tokens: Sequence[TextFile]) -> List[TextFile]:
    """PURE: return those that this program writes; K3s writes its own anew while it starts."""
    return [item for item in tokens if item.fact.path in (paths.SERVER_TOKEN, paths.AGENT_TOKEN)]
