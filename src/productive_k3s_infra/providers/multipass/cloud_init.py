"""PURE: the user data of a new instance. It holds the private half of the host key, and so is a secret as a whole."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from productive_k3s.contract.secret import Secret

MARK = "/etc/productive-k3s-machine"
_HEADER = "#cloud-config\n"


class _Dumper(yaml.SafeDumper):
    """Never writes an anchor: yaml-cpp reads them, people do not."""

    def ignore_aliases(self, data: Any) -> bool:
        """All values are written out."""
        del data
        return True


def render_user_data(
    *,
    hostname: str,
    user: str,
    sudo_rule: str,
    public_key: str,
    host_key: Secret,
    host_public_key: str,
    mark: Mapping[str, str],
) -> Secret:
    """Return the user data: who may log in, which host key it shows, and whose machine it is.

    `default` keeps the image's own user, through whom Multipass enters. /etc/hosts gets the host's name once
    (`localhost`): with `true`, which Multipass says by itself, every boot would drop what others have added. The
    image's own host keys go, so that nothing but the given one is ever shown. No package is asked for.
    """
    document = {
        "hostname": hostname,
        "manage_etc_hosts": "localhost",
        "package_update": False,
        "package_upgrade": False,
        "users": [
            "default",
            {
                "name": user,
                "shell": "/bin/bash",
                "lock_passwd": True,
                "sudo": sudo_rule,  # a list of rules is what the schema of 22.4 refuses
                "ssh_authorized_keys": [public_key],
            },
        ],
        "ssh_deletekeys": True,
        "ssh_keys": {"ed25519_private": host_key.unmask(), "ed25519_public": host_public_key},
        "write_files": [
            {
                "path": MARK,
                "content": "".join(f"{key}: {value}\n" for key, value in mark.items()),
            }
        ],
    }
    return Secret(_HEADER + yaml.dump(document, Dumper=_Dumper, sort_keys=False, default_flow_style=False, width=4096))
