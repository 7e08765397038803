"""PURE: `spec.k3s.registries` and `spec.k3s.proxy`: their rules, and what of them is secret."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import SecretStr

from productive_k3s.k3s import registries as registry_rules
from productive_k3s_infra.cluster_file.mistake import Found, Objection, Path, found, quoted
from productive_k3s_infra.cluster_file.substitute import Substituted
from productive_k3s_infra.cluster_file.tree import Tree
from productive_k3s_infra.cluster_file.values import plain

_REGISTRIES: Path = ("spec", "k3s", "registries")
_PROXY: Path = ("spec", "k3s", "proxy")
_TEXT = {"type": "string"}
_AUTH = dict.fromkeys(("username", *registry_rules.SECRET_KEYS), _TEXT)
_TLS = {**dict.fromkeys(("ca_file", "cert_file", "key_file"), _TEXT), "insecure_skip_verify": {"type": "boolean"}}


def _closed(properties: Mapping[str, Any], description: str) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": dict(properties),
        "additionalProperties": False,
        "description": description,
    }


def _by_name(item: dict[str, Any], description: str) -> dict[str, Any]:
    return {"type": "object", "additionalProperties": item, "description": description}


# The keys are those of K3s' own file, as with its flags.
SCHEMA: dict[str, Any] = _closed(
    {
        "mirrors": _by_name(
            _closed(
                {"endpoint": {"type": "array", "items": _TEXT}, "rewrite": _by_name(_TEXT, "Pattern: replacement.")},
                "Where images of this registry come from, the first endpoint that has them.",
            ),
            "Mirrors by the registry's name; * is every registry.",
        ),
        "configs": _by_name(
            _closed(
                {
                    "auth": _closed(_AUTH, "Who pulls; secrets come in as ${NAME}."),
                    "tls": _closed(_TLS, "Certificates; the files lie on the hosts."),
                },
                "How a registry or a mirror is spoken to.",
            ),
            "Settings by the registry's host and port.",
        ),
    },
    "The content of registries.yaml.",
)


def check_registries(tree: Tree) -> Iterator[Found]:
    """Yield what is wrong with registries and proxies, and passwords that stand in the file itself."""
    written = tree.get(*_REGISTRIES)
    if isinstance(written, dict):
        for wrong in registry_rules.mistakes(as_read(written)):
            path: Path = (*_REGISTRIES, *(int(part) if _is_item(wrong.path, part) else part for part in wrong.path))
            yield Found(path, Objection("file.registries", wrong.what, wrong.expected), at_key=wrong.at_key)
    for path, value in _secrets(tree):
        if not isinstance(value, Substituted):
            what = f"{quoted(path[-1])} holds a password, and a cluster file is committed"
            name = "PROXY" if path[-1] in {"http", "https"} else str(path[-1]).upper()
            remedy = f"write {path[-1]}: ${{{name}}}, and export {name}=..."
            yield found(path, "file.secret", what, remedy=remedy)
    if tree.mapping(*_PROXY) and not any(tree.get(*_PROXY, key) for key in ("http", "https")):
        what = "'proxy' names no proxy"
        yield found(_PROXY, "file.missing-key", what, expected="http, https, or both", at_key=True)


def _is_item(path: tuple[str, ...], part: str) -> bool:
    return part is path[-1] and path[-2:-1] == ("endpoint",)


def _secrets(tree: Tree) -> Iterator[tuple[Path, str]]:
    for key in ("http", "https"):
        url = tree.text(*_PROXY, key)
        if url and registry_rules.is_http_url(url) and registry_rules.has_credentials(url):
            yield (*_PROXY, key), url
    for name in tree.mapping(*_REGISTRIES, "configs"):
        for key in registry_rules.SECRET_KEYS:
            path = (*_REGISTRIES, "configs", name, "auth", key)
            value = tree.text(*path)
            if value:
                yield path, value


def as_read(written: Any) -> Any:
    """Return the registries as K3s would read them: a variable may spell a truth value."""
    if isinstance(written, dict):
        return {
            str(key): value == "true" if key == "insecure_skip_verify" and _is_truth(value) else as_read(value)
            for key, value in written.items()
        }
    return plain(written)


def _is_truth(value: Any) -> bool:
    return isinstance(value, Substituted) and value in {"true", "false"}


def hidden(registries: dict[str, Any]) -> dict[str, Any]:
    """Return the registries with what is secret in them as SecretStr; what has another shape stays as it is."""
    configs = registries.get("configs")
    if not isinstance(configs, dict):
        return registries
    return {**registries, "configs": {name: _hidden_auth(settings) for name, settings in configs.items()}}


def _hidden_auth(settings: Any) -> Any:
    auth = settings.get("auth") if isinstance(settings, dict) else None
    if not isinstance(auth, dict):
        return settings
    secret = {
        key: SecretStr(value)
        for key, value in auth.items()
        if key in registry_rules.SECRET_KEYS and isinstance(value, str)
    }
    return {**settings, "auth": {**auth, **secret}}


def apart(registries: dict[str, Any]) -> tuple[dict[str, Any], dict[str, dict[str, SecretStr]]]:
    """Return hidden registries without what is secret, and that by registry."""
    found = {key: dict(value or {}) for key, value in registries.items()}
    secrets: dict[str, dict[str, SecretStr]] = {}
    for name, settings in found.get("configs", {}).items():
        auth = dict((settings or {}).get("auth") or {})
        secret = {key: auth.pop(key) for key in registry_rules.SECRET_KEYS if key in auth}
        if secret:
            secrets[name] = secret
            rest = {key: value for key, value in settings.items() if key != "auth"}
            found["configs"][name] = {**rest, **({"auth": auth} if auth else {})}
    return found, secrets
