"""Bring one instance up: launch it, or start it again, and wait until it has an address."""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from productive_k3s.contract.secret import Secret
from productive_k3s_infra.cluster_file.model import ClusterSpec, MultipassProvider
from productive_k3s_infra.errors import ProviderFailed
from productive_k3s_infra.hosts.wire.refusals import sudoers_line
from productive_k3s_infra.providers.multipass import instances
from productive_k3s_infra.providers.multipass.answers import Instance, own_address
from productive_k3s_infra.providers.multipass.cloud_init import render_user_data
from productive_k3s_infra.providers.multipass.command import Multipass
from productive_k3s_infra.providers.multipass.failures import TransientLaunch
from productive_k3s_infra.providers.multipass.instances import Own
from productive_k3s_infra.providers.multipass.records import Record, load_records, remove_record, save_record
from productive_k3s_infra.providers.protocol import OnProgress
from productive_k3s_infra.providers.thread import in_thread
from productive_k3s_infra.workspace.directory import Workspace

# The image's own user is Multipass'; this one is ours, and may become root for the one command.
USER = MultipassProvider.capabilities.default_user


@dataclass(frozen=True)
class Limits:
    """How often and how long: a launch may fetch an image first; attempts are for failures that pass."""

    attempts: int = 4
    pause: float = 5.0
    launch_seconds: float = 900.0
    address_seconds: float = 120.0
    poll: float = 1.0


@dataclass(frozen=True)
class Launching:
    """What is the same for all instances of a cluster."""

    spec: ClusterSpec
    workspace: Workspace
    command: Multipass
    limits: Limits
    public_key: str

    async def bring_up(self, node: str, own: Own | None, on_progress: OnProgress) -> None:
        """Make the node's instance run; one that does is left alone."""
        if own is None or own.instance is None:
            await self._launch(node, own, on_progress)
        elif own.state == "stopped":
            on_progress(node, "starting")
            await in_thread(self.command.start, own.record.instance, seconds=self.limits.launch_seconds)

    async def wait_for_address(self, node: str, on_progress: OnProgress) -> Own:
        """Look until the instance has an address; return it as it is then."""
        record = load_records(self.workspace)[node]
        inner = instances.inner_networks(self.spec)
        instance: Instance | None = None
        on_progress(node, "waiting for an address")
        try:
            async with asyncio.timeout(self.limits.address_seconds):
                while True:
                    instance = await in_thread(self.command.info, record.instance)
                    address = own_address(instance.ipv4, inner) if instance is not None else ""
                    if instance is not None and address:
                        return Own(record, instance, address)
                    if instance is not None and instance.state in {"Stopped", "Deleted", "Suspended"}:
                        raise instances.bad_state(node, record.instance, instance.state)
                    await asyncio.sleep(self.limits.poll)
        except TimeoutError:
            seen = instance.state if instance is not None else "no such instance"
            raise instances.no_address(node, record.instance, seen, self.limits.address_seconds) from None

    async def _launch(self, node: str, before: Own | None, on_progress: OnProgress) -> None:
        record, user_data = self._prepare(node, before.record if before is not None else None)
        save_record(self.workspace, record)
        try:
            await self._try(node, user_data, on_progress)
        except ProviderFailed as error:
            if error.code != "multipass.name-taken":
                raise
            if before is None:
                remove_record(self.workspace, node)
                raise
            # A launch that was cut off goes on in the daemon, with the key of the record: it is waited for.
            on_progress(node, "an earlier launch of it is still running")

    async def _try(self, node: str, user_data: Secret, on_progress: OnProgress) -> None:
        wish = instances.wish_of(self.spec, next(one for one in self.spec.nodes if one.name == node))
        for attempt in range(1, self.limits.attempts + 1):
            on_progress(node, f"launching {wish.name} ({wish.image}, {wish.cpus} cpus, {wish.memory}, {wish.disk})")
            try:
                await in_thread(self.command.launch, wish, user_data, seconds=self.limits.launch_seconds)
            except TransientLaunch as error:
                if attempt == self.limits.attempts:
                    error.evidence = f"{error.evidence} ({attempt} attempts)"
                    raise
                on_progress(node, f"{error.evidence}: trying again")
                await asyncio.sleep(self.limits.pause * attempt)
            else:
                return

    def _prepare(self, node: str, before: Record | None) -> tuple[Record, Secret]:
        """Return the record of an instance to come, and its user data with a new host key."""
        name = instances.instance_name(self.spec.name, node)
        private, public = _new_host_key()
        kept = before.host_keys if before is not None and not before.finished else ()
        record = Record(node=node, instance=name, id=secrets.token_hex(8), host_keys=(*kept, public))
        mark = {"cluster": self.spec.name, "node": node, "id": record.id}
        user_data = render_user_data(
            hostname=name,
            user=USER,
            sudo_rule=sudoers_line(USER).removeprefix(f"{USER} "),
            public_key=self.public_key,
            host_key=private,
            host_public_key=public,
            mark={"made by": "pk3s", **mark},
        )
        return record, user_data


def _new_host_key() -> tuple[Secret, str]:
    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()).decode()
    return Secret(private), key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
