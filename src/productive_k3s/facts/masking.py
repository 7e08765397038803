"""PURE: take secrets out of what is shown of files that K3s reads, whoever wrote them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Callable, Dict, List, Mapping, Optional, Sequence, Set, Tuple

from productive_k3s.contract.secret import value_digest
from productive_k3s.k3s import yaml_text
from productive_k3s.k3s.flags import table
from productive_k3s.k3s.unit_file import command_words, directives, environment

if TYPE_CHECKING:
    import yaml

MASK = "***"
_SUSPICIOUS = re.compile(r"token|secret|password|passwd", re.IGNORECASE)
_COMMENT = re.compile(r"(^|\s)#[^\n]*(?:token|secret|passw)[^\n]*", re.IGNORECASE | re.MULTILINE)
# Known to be harmless: proxies, and where K3s finds things. Everything else of an environment file is masked.
_HARMLESS = re.compile(
    r"^(CONTAINERD_\w+|(HTTPS?|NO)_PROXY|(https?|no)_proxy|PATH|"
    r"K3S_(URL|NODE_NAME|CONFIG_FILE|DATA_DIR|TOKEN_FILE|AGENT_TOKEN_FILE|KUBECONFIG_\w+|DEBUG|RESOLV_CONF))$"
)
_OF_REGISTRIES = ("endpoint", "rewrite", "username", "ca_file", "cert_file", "key_file")
_USER_INFO = re.compile(r"//[^/@\s]+@")
_MASKED_USER = f"//{MASK}@"


def is_secret(key: str) -> bool:
    """Whether a flag's value is a secret; one that is not known counts as one if its name says so."""
    flag = table().find(key)
    return flag.secret if flag is not None else bool(_SUSPICIOUS.search(key))


def config_values(values: Mapping[str, Sequence[str]]) -> Dict[str, List[str]]:
    """Return flags as values to compare: secret ones as digests."""
    return {
        key: [value_digest(item) for item in items] if is_secret(key) else list(items) for key, items in values.items()
    }


def variable(key: str, value: str) -> str:
    """Return a variable's value to compare: a digest unless it is known to be harmless; of a URL its user only.

    A user that is masked stays so: whoever compares does not know it (`without_users`).
    """
    if not _HARMLESS.match(key):
        return value_digest(value) if value else ""
    return _USER_INFO.sub(lambda found: found[0] if found[0] == _MASKED_USER else _digested(found[0]), value)


def _digested(user_info: str) -> str:
    return f"//{value_digest(user_info[2:-1])}@"


def has_masked_user(value: str) -> bool:
    """Whether a URL's user is masked, so that only the rest of it can be compared."""
    return _MASKED_USER in value


def without_users(value: str) -> str:
    """Return the value with the users of URLs masked, known or not."""
    return _USER_INFO.sub(_MASKED_USER, value)


def variables(values: Mapping[str, str]) -> Dict[str, str]:
    """Return the variables of an environment file as values to compare."""
    return {key: variable(key, value) for key, value in values.items()}


def directive(key: str, value: str) -> str:
    """Return the value of a unit's line to compare, with digests in the place of secrets."""
    if key.startswith("Exec"):
        return " ".join(_of_command(command_words(value), value_digest)[0])
    if key == "Environment":
        words = (word.partition("=") for word in command_words(value))
        return " ".join(f"{name}{equals}{variable(name, said)}" for name, equals, said in words)
    return value_digest(value) if key.startswith("SetCredential") and value else value


def config_text(text: str) -> Optional[str]:
    """Return a config.yaml without its secrets; None if it cannot be parsed, as nothing is known of it then."""
    parsed = yaml_text.parse(text)
    if parsed.error:
        return None
    spans = sorted(_secret_spans(parsed.node), reverse=True) if parsed.node is not None else []
    for start, end in spans:
        text = text[:start] + MASK + ("\n" if text[start:end].endswith("\n") else "") + text[end:]
    return _COMMENT.sub(r"\1# " + MASK, text)


def _secret_spans(root: yaml.Node) -> Set[Tuple[int, int]]:
    import yaml

    spans: Set[Tuple[int, int]] = set()
    seen: Set[int] = set()
    nodes: List[yaml.Node] = [root]
    while nodes:
        node = nodes.pop()
        # An anchor may contain itself.
        if id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            nodes.extend(node.value)
        elif isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                if isinstance(key, yaml.ScalarNode) and is_secret(str(key.value).rstrip("+")):
                    spans.add((value.start_mark.index, value.end_mark.index))
                else:
                    nodes.append(value)
    return {item for item in spans if not any(_inside(item, other) for other in spans)}


def _inside(inner: Tuple[int, int], outer: Tuple[int, int]) -> bool:
    return inner != outer and outer[0] <= inner[0] and inner[1] <= outer[1]


def environment_text(text: str) -> str:
    """Return an environment file, rewritten with one variable a line, without values that may be secret."""
    return "".join(f"{key}={_shown(key, value)}\n" for key, value in environment(text).items())


def _shown(key: str, value: str) -> str:
    return _USER_INFO.sub(f"//{MASK}@", value) if _HARMLESS.match(key) else MASK


def registries_text(text: str) -> Optional[str]:
    """Return a registries.yaml, rewritten, without values that may be secret; None if it cannot be parsed.

    Shown is what is known to be harmless: names, endpoints, patterns, paths of certificates. The comment at the top
    that says who wrote it stays.
    """
    parsed = yaml_text.parse(text)
    if parsed.error:
        return None
    shown = _harmless(parsed.value, "")
    said = "" if not shown else yaml_text.dump(shown, sort_keys=True) if isinstance(shown, dict) else f"{MASK}\n"
    first = text.partition("\n")[0]
    return (f"{first}\n" if first.startswith("#") else "") + said


def _harmless(value: Any, key: str) -> Any:
    if isinstance(value, dict):
        # The keys of `rewrite` are patterns, and its values what they become.
        return {name: _harmless(item, key if key == "rewrite" else str(name)) for name, item in value.items()}
    if isinstance(value, list):
        return [_harmless(item, key) for item in value]
    if value is None or isinstance(value, bool):
        return value
    return _USER_INFO.sub(f"//{MASK}@", str(value)) if key in _OF_REGISTRIES else MASK


def arguments(words: Sequence[str]) -> Tuple[Tuple[str, ...], Tuple[str, ...]]:
    """Return a command line without its secrets, and the secrets that were in it."""
    return _of_command(words, lambda _: MASK)


def _of_command(words: Sequence[str], hidden: Callable[[str], str]) -> Tuple[Tuple[str, ...], Tuple[str, ...]]:
    shown: List[str] = []
    secrets: List[str] = []
    secret_follows = False
    for word in words:
        if secret_follows:
            shown.append(hidden(word))
            secrets.append(word)
            secret_follows = False
            continue
        name, equals, value = word.partition("=")
        if word.startswith("-") and is_secret(name.lstrip("-")) and not name.endswith("-file"):
            secret_follows = not equals
            shown.append(f"{name}={hidden(value)}" if equals else word)
            secrets.extend([value] if equals else [])
        else:
            shown.append(word)
    return tuple(shown), tuple(secrets)


def unit_text(text: str) -> Optional[str]:
    """Return a unit without the secrets of its commands and Environment= lines; None if that cannot be done."""
    found = environment_secrets(text)
    for _, key, value in directives(text):
        if key.startswith("Exec"):
            found.extend(arguments(command_words(value))[1])
    for secret in sorted(found, key=len, reverse=True):
        if not secret:
            continue
        if secret not in text:
            # It is written in another way there (quoted, escaped), so it cannot be taken out.
            return None
        text = text.replace(secret, MASK)
    return _COMMENT.sub(r"\1# " + MASK, text)


def environment_secrets(text: str) -> List[str]:
    """Return the values of a unit's Environment= lines that may be secret."""
    variables: Dict[str, str] = {}
    for _, key, value in directives(text):
        if key == "Environment":
            for word in value.replace('"', " ").replace("'", " ").split():
                variables.update(environment(word))
    return [value for key, value in variables.items() if not _HARMLESS.match(key) and value]
