"""What the stub understands of user data; a key that it does not know is refused, as nothing would come of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

_KNOWN = {"hostname", "manage_etc_hosts", "package_update", "package_upgrade", "users", "ssh_deletekeys", "ssh_keys"}
_KNOWN |= {"write_files"}


class BadUserData(Exception):
    """cloud-init would not do what is written there."""


@dataclass(frozen=True)
class UserData:
    """What cloud-init makes of it."""

    hostname: str
    user: str
    sudo: str
    authorized_key: str
    host_key: str
    host_public_key: str
    files: dict[str, str]


def read_user_data(text: str) -> UserData:
    """Read it as strictly as cloud-init's schema does, for the keys that matter here."""
    import yaml  # only this command needs it, and every other one is quicker without

    if text.partition("\n")[0] != "#cloud-config":
        raise BadUserData("the first line has to be #cloud-config")
    document: dict[str, Any] = yaml.safe_load(text)
    unknown = set(document) - _KNOWN
    if unknown:
        raise BadUserData(f"unknown keys: {', '.join(sorted(unknown))}")
    users = document["users"]
    if users[0] != "default":
        raise BadUserData("without the default user Multipass cannot enter")
    if document["manage_etc_hosts"] != "localhost" or document["ssh_deletekeys"] is not True:
        raise BadUserData("/etc/hosts or the host keys would not be as expected")
    (own,) = users[1:]
    rule = own["sudo"]
    if not isinstance(rule, str):
        raise BadUserData("sudo has to be a text: cloud-init's schema refuses a list (22.4)")
    (key,) = own["ssh_authorized_keys"]
    keys = document["ssh_keys"]
    files = {one["path"]: one["content"] for one in document["write_files"]}
    return UserData(
        document["hostname"], own["name"], rule, key, keys["ed25519_private"], keys["ed25519_public"], files
    )
