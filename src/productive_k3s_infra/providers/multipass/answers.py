"""PURE: what the command `multipass` answers as JSON, read into values. Keys that are not used are passed over.

The shapes are those of Multipass' JSON formatter (canonical/multipass, src/client/cli/formatter/json_formatter.cpp)
from 1.13 to 1.16; sample documents of each version are in tests/static/providers/multipass/samples.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from ipaddress import IPv4Address, IPv4Network
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

_Answer = TypeVar("_Answer", bound="BaseModel")
State = Literal[
    "Running",
    "Stopped",
    "Deleted",
    "Starting",
    "Restarting",
    "Delayed Shutdown",
    "Suspending",
    "Suspended",
    "Unknown",
]
_UNITS = {"": 1, "B": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?")


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Version(_Model):
    """Versions of the command and of its daemon; the daemon's is '' where it does not answer."""

    client: str = Field(alias="multipass")
    daemon: str = Field(default="", alias="multipassd")


class Instance(_Model):
    """One instance. `ipv4` is its own address first, then what the programs in it have added (those of K3s)."""

    state: State
    ipv4: tuple[str, ...] = ()
    release: str = ""
    image_hash: str = ""

    @field_validator("ipv4")
    @classmethod
    def _only_addresses(cls, texts: tuple[str, ...]) -> tuple[str, ...]:
        # "N/A" and "--" were said by older versions where there is none.
        return tuple(text for text in texts if _is_address(text))


class Listed(Instance):
    """One instance as `list` has it."""

    name: str


class _List(_Model):
    instances: tuple[Listed, ...] = Field(alias="list")


class _Info(_Model):
    errors: tuple[Any, ...] = ()
    info: dict[str, Instance]


def read_version(text: str) -> Version:
    """Read `version --format json`. Raises ValueError with what is wrong in it, as all of these do."""
    return _read(Version, text)


def read_list(text: str) -> tuple[Listed, ...]:
    """Read `list --format json`."""
    return _read(_List, text).instances


def read_info(text: str) -> Mapping[str, Instance]:
    """Read `info --format json`."""
    return _read(_Info, text).info


def version_numbers(text: str) -> tuple[int, ...]:
    """Return the numbers of a version such as 1.14.1, 1.15.0+mac or 1.16.0-dev.120+g1; () if there are none."""
    found = re.match(r"v?(\d+)\.(\d+)", text)
    return tuple(int(part) for part in found.groups()) if found else ()


def size_bytes(text: str) -> float:
    """Return a size in bytes, as the cluster file (`4G`) or Multipass (`4.0GiB`) writes it; all are 1024 based."""
    found = _SIZE.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"{text!r} is not a size")
    return float(found[1]) * _UNITS[found[2]]


def same_size(wanted: str, shown: str) -> bool:
    """Say whether a size that Multipass shows is the wish.

    It shows one decimal of the biggest unit (MemorySize::human_readable).
    """
    wish, seen = size_bytes(wanted), size_bytes(shown)
    unit = next((number for number in (1 << 30, 1 << 20, 1 << 10) if wish >= number), 1)
    return abs(wish - seen) <= unit / 20


def own_address(addresses: tuple[str, ...], inner: tuple[IPv4Network, ...]) -> str:
    """Return the address by which an instance is reached, '' if it has none yet.

    Multipass puts the address of the lease first; those of bridges and tunnels inside follow in no order that is
    promised. `inner` are the networks of pods and services: no address in them is the machine's.
    """
    return next((text for text in addresses if not any(IPv4Address(text) in net for net in inner)), "")


def _is_address(text: str) -> bool:
    try:
        IPv4Address(text)
    except ValueError:
        return False
    return True


def _read(kind: type[_Answer], text: str) -> _Answer:
    try:
        return kind.model_validate(json.loads(text))
    except ValidationError as error:
        first = error.errors()[0]
        raise ValueError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from error
