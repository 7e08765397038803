"""Who a machine is: the host key that it was made with, for the first contact only, and the one that follows it.

A seeded key can be read by every program on the machine (user data), and lies in OpenTofu's plan. So the first
contact makes another one there and pins it before the host uses it: whichever is in use when a run is cut off is known.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from productive_k3s.contract.secret import Secret
from productive_k3s_infra._files import explained, replace_file
from productive_k3s_infra.hosts.ssh import known_hosts
from productive_k3s_infra.providers.aws.workdir import WorkFolder, read_json, write_json

_AREA = "known-hosts"


@dataclass(frozen=True)
class Seed:
    """A host key pair for a machine to come."""

    private: Secret
    public: str

    @classmethod
    def new(cls) -> Seed:
        """Make one."""
        key = Ed25519PrivateKey.generate()
        private = key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()).decode()
        return cls(Secret(private), key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode())


@dataclass
class HostKeys:
    """The keys of one cluster's machines. Pins stand in the committed known_hosts, by the instance's id."""

    work: WorkFolder
    _fresh: dict[str, Seed] = field(default_factory=dict)

    def seed(self, name: str) -> Seed:
        """Return the seed for a machine that does not exist yet, the same one during a run."""
        return self._fresh.setdefault(name, Seed.new())

    def keep(self, names: Iterable[str]) -> None:
        """Write down with which keys machines are going to be made, before they are; public halves are enough."""
        kept = self._seeded() | {name: self.seed(name).public for name in names}
        write_json(self.work.seeds, kept)

    def seeded(self, name: str) -> str | None:
        """Return the public key that a machine was made with, None once its own is in use."""
        return self._seeded().get(name)

    def confirmed(self, name: str) -> None:
        """Forget a machine's seed: it uses its own key."""
        write_json(self.work.seeds, {key: value for key, value in self._seeded().items() if key != name})

    def pinned(self, instance_id: str) -> tuple[str, ...]:
        """Return the keys that are pinned for an instance."""
        lines = (line.split() for line in known_hosts.read(self._path).splitlines() if not line.startswith("#"))
        return tuple(
            f"{words[1]} {words[2]}" for words in lines if len(words) > 2 and instance_id in words[0].split(",")
        )

    def pin(self, instance_id: str, addresses: Iterable[tuple[str, int]], key: str) -> None:
        """Add an instance's key to known_hosts: by its id, for pk3s, and by its addresses, for ssh."""
        if key in self.pinned(instance_id):
            return
        names = [known_hosts.entry(address, port, key).split()[0] for address, port in addresses if address]
        known_hosts.append(self._path, f"{','.join([instance_id, *dict.fromkeys(names)])} {key}")

    def forget(self, gone: Mapping[str, str]) -> None:
        """Remove pins and seeds of machines that are gone: name to instance id."""
        for name in gone:
            self.confirmed(name)
        text = known_hosts.read(self._path)
        kept = [line for line in text.splitlines(keepends=True) if not set(_names(line)) & set(gone.values())]
        if len(kept) != len(text.splitlines()):
            with explained(self._path, _AREA):
                if kept:
                    replace_file(self._path, "".join(kept).encode(), self._path.stat().st_mode & 0o777)
                else:
                    self._path.unlink()

    @property
    def _path(self) -> Path:
        return self.work.workspace.known_hosts

    def _seeded(self) -> dict[str, str]:
        return {name: str(key) for name, key in read_json(self.work.seeds)}


def _names(line: str) -> list[str]:
    words = line.split()
    return words[0].split(",") if words and not line.startswith("#") else []
