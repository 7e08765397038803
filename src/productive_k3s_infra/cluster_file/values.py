"""PURE: the types of single values in a cluster file, each with its check and its part of the JSON Schema."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    SecretStr,
    WithJsonSchema,
)
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError

from productive_k3s.plan.batches import SHARE
from productive_k3s_infra.cluster_file import text_checks
from productive_k3s_infra.cluster_file.mistake import Objection
from productive_k3s_infra.cluster_file.substitute import Substituted
from productive_k3s_infra.cluster_file.tree import EMPTY

OBJECTION = "objection"
_T = TypeVar("_T")


class Written(BaseModel):
    """A part of the cluster file. Strict: YAML's types are taken at their word, "6443" is no number.

    In the file keys are camelCase, and nothing else is (`load` says so); Python may build one by its own names.
    """

    # A misspelt key is a mistake, never a setting that silently does nothing.
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, alias_generator=to_camel, populate_by_name=True)


def refused(objection: Objection) -> PydanticCustomError:
    """Return the error by which pydantic carries an objection out."""
    return PydanticCustomError(OBJECTION, "refused", {"objection": objection})


def checked(check: Callable[[str], Objection | None]) -> AfterValidator:
    """Return the validator that asks `check` about a string."""

    def validate(text: str) -> str:
        objection = check(text)
        if objection is not None:
            raise refused(objection)
        return text

    return AfterValidator(validate)


def number(value: Any) -> Any:
    """Return the number that a variable's value spells; what the file itself says stays as it is."""
    if isinstance(value, Substituted) and value.isascii() and value.isdigit() and len(value) < 10:
        return int(value)
    return value


def truth(value: Any) -> Any:
    """Return the truth value that a variable's value spells; what the file itself says stays as it is."""
    return value == "true" if isinstance(value, Substituted) and value in {"true", "false"} else value


def left_out(empty: Callable[[], Any]) -> BeforeValidator:
    """Return the validator that takes a key behind which nothing stands for one that was left out.

    `agent:` with everything under it commented out is an empty mapping; `user:` without a name is a mistake.
    """
    return BeforeValidator(lambda value: empty() if value is EMPTY else value)


def plain(value: Any) -> Any:
    """Return a value of the file as built-in types: nothing is None, and no string remembers a variable."""
    if value is EMPTY:
        return None
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return str(value) if isinstance(value, str) else value


def _one_or_more(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _jump(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    parts = text_checks.jump_parts(value)
    if isinstance(parts, Objection):
        raise refused(parts)
    return parts


def _proxy_url(url: SecretStr) -> SecretStr:
    objection = text_checks.proxy(url.get_secret_value())
    if objection is not None:
        raise refused(objection)
    return url


def _batch(value: Any) -> Any:
    value = number(value)
    objection = text_checks.batch(value)
    if objection is not None:
        raise refused(objection)
    return value if isinstance(value, int) else str(value)


# What YAML calls a list is a tuple here: nobody changes what was validated.
Listed = Annotated[tuple[_T, ...], Field(strict=False), left_out(tuple)]
Port = Annotated[int, Field(ge=1, le=65535), BeforeValidator(number)]
Truth = Annotated[bool, BeforeValidator(truth)]
Text = Annotated[str, Field(min_length=1)]
Address = Annotated[str, checked(text_checks.address)]
Login = Annotated[str, checked(text_checks.login)]
Cidr = Annotated[str, checked(text_checks.cidr)]
Size = Annotated[str, checked(text_checks.size)]
HostKeys = Annotated[
    tuple[Annotated[str, checked(text_checks.host_key)], ...],
    Field(strict=False),
    BeforeValidator(_one_or_more),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}),
]
ProxyUrl = Annotated[
    SecretStr,
    BeforeValidator(lambda value: str(value) if isinstance(value, str) else value),
    AfterValidator(_proxy_url),
    WithJsonSchema({"type": "string"}),
]
Batch = Annotated[
    int | str,
    PlainValidator(_batch),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "minimum": 1},
                {"type": "string", "pattern": f"^{SHARE.pattern}$"},
            ]
        }
    ),
]
Labels = Annotated[dict[str, str], left_out(dict)]
Flags = Annotated[dict[str, Any], left_out(dict)]
from_jump_text = BeforeValidator(_jump)
