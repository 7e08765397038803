"""PURE: what registries.yaml may say (docs.k3s.io, installation/private-registry). K3s passes over a misspelt key."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Callable, Iterator, Mapping, Tuple
from urllib.parse import urlsplit

Path = Tuple[str, ...]
# Of `auth`: what proves who asks, and so is never shown.
SECRET_KEYS = ("password", "token", "auth", "identity_token")


@dataclass(frozen=True)
class Wrong:
    """What is wrong at a place of the document, and what was expected there; `at_key`: in the key itself."""

    path: Path
    what: str
    expected: str
    at_key: bool = False


Check = Callable[[Path, Any], Iterator[Wrong]]


def mistakes(registries: Any) -> Iterator[Wrong]:
    """Yield everything that is wrong with the document."""
    yield from _mapping((), registries, {"mirrors": _by_registry(_mirror), "configs": _by_registry(_config)})


def has_credentials(url: str) -> bool:
    """Whether a URL names a user or a password."""
    return "@" in urlsplit(url).netloc


def is_http_url(text: Any) -> bool:
    """Whether this is an http or https URL of some host; a port that is no number makes it none."""
    if not isinstance(text, str) or any(letter.isspace() for letter in text):
        return False
    try:
        parts = urlsplit(text)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _mirror(path: Path, value: Any) -> Iterator[Wrong]:
    # An empty one switches the embedded registry on for this name (docs.k3s.io, installation/registry-mirror).
    yield from _mapping(path, value, {"endpoint": _endpoints, "rewrite": _each(_text)})


def _config(path: Path, value: Any) -> Iterator[Wrong]:
    auth = {"username": _text, **dict.fromkeys(SECRET_KEYS, _text)}
    tls = {"ca_file": _file, "cert_file": _file, "key_file": _file, "insecure_skip_verify": _switch}

    def part(known: Mapping[str, Check]) -> Check:
        return lambda inner, found: _mapping(inner, found, known)

    yield from _mapping(path, value, {"auth": part(auth), "tls": part(tls)})


def _mapping(path: Path, value: Any, known: Mapping[str, Check]) -> Iterator[Wrong]:
    if value is None:
        return
    if not isinstance(value, Mapping):
        yield Wrong(path, _is_no("mapping", path), "a mapping")
        return
    for key, item in value.items():
        inner = (*path, str(key))
        if key not in known:
            yield Wrong(inner, f"unknown key '{key}' in {_named(path)}", f"one of {', '.join(known)}", at_key=True)
        else:
            yield from known[str(key)](inner, item)


def _by_registry(check: Check) -> Check:
    """Check each registry and its name, which K3s compares with the host of an image or an endpoint.

    So it never finds one with a scheme or a path, and says nothing about it.
    """

    def checked(path: Path, value: Any) -> Iterator[Wrong]:
        for key in value if isinstance(value, Mapping) else ():
            scheme, _, rest = str(key).rpartition("://")
            host, slash, _ = rest.partition("/")
            if scheme or slash or not host:
                # Whoever writes a URL may write a password into it.
                shown = f"{scheme}://{rest.rpartition('@')[2]}" if scheme else rest
                fault = "has a scheme" if scheme else "is not the name of a registry"
                expected = "the registry's host and port alone"
                yield Wrong((*path, str(key)), f"'{shown}' in {_named(path)} {fault}", expected, at_key=True)
        yield from _each(check)(path, value)

    return checked


def _each(check: Check) -> Check:
    def checked(path: Path, value: Any) -> Iterator[Wrong]:
        if value is not None and not isinstance(value, Mapping):
            yield Wrong(path, _is_no("mapping", path), "a mapping")
            return
        for key, item in (value or {}).items():
            yield from check((*path, str(key)), item)

    return checked


def _endpoints(path: Path, value: Any) -> Iterator[Wrong]:
    if not isinstance(value, (list, tuple)):
        yield Wrong(path, _is_no("list", path), "a list of URLs")
        return
    for index, item in enumerate(value):
        inner = (*path, str(index))
        if not is_http_url(item):
            yield Wrong(
                inner, f"item {index + 1} of {_named(path)} is not a URL", "one like https://mirror.example:5000"
            )
        elif has_credentials(item):
            yield Wrong(
                inner, f"item {index + 1} of {_named(path)} contains a user name", "a user's name in configs, auth"
            )


def _text(path: Path, value: Any) -> Iterator[Wrong]:
    if not isinstance(value, str):
        yield Wrong(path, _is_no("string", path), "a string")


def _file(path: Path, value: Any) -> Iterator[Wrong]:
    if not isinstance(value, str) or not value.startswith("/"):
        yield Wrong(path, _is_no("absolute path", path), "a path on the host, from /")


def _switch(path: Path, value: Any) -> Iterator[Wrong]:
    if not isinstance(value, bool):
        yield Wrong(path, _is_no("truth value", path), "true or false")


def _is_no(kind: str, path: Path) -> str:
    # The value is not shown: it may be a password in the wrong place.
    article = "an" if kind.startswith("a") else "a"
    return f"{_named(path)} is not {article} {kind}"


def _named(path: Path) -> str:
    return f"'{path[-1]}'" if path else "the registries"
