"""PURE: facts of a machine that does not exist yet, so that a plan can be made before it does."""

from __future__ import annotations

from dataclasses import replace

from productive_k3s.contract.facts import Facts, HostFacts, Interface, OperatingSystem, no_k3s
from productive_k3s_infra.inventory.model import Host
from productive_k3s_infra.inventory.survey import Assumption

_ENOUGH_BYTES = 64 << 30


def assumed_facts(host: Host, assumption: Assumption) -> Facts:
    """Return what the machine is expected to be: an empty, sufficient host of the provider's own image."""
    interface = Interface(assumption.interface, up=True, mac="", addresses=(f"{host.address}/24",))
    return Facts(
        host=HostFacts(
            time=0.0,
            hostname=host.name,
            machine_id=f"assumed-{host.name}",
            os=OperatingSystem(assumption.system, assumption.release, "assumed", "", assumption.architecture),
            python="3.11",
            init="systemd",
            cpus=2,
            memory_bytes=_ENOUGH_BYTES,
            swap_bytes=0,
            cgroup_version=assumption.cgroup_version,
            cgroup_controllers=("cpu", "cpuset", "memory", "pids"),
            interfaces=(interface,),
            default_interface=interface.name,
            routes=(),
            listeners=(),
            file_systems=(),
            active_firewalls=(),
            other_kubernetes=(),
        ),
        k3s=replace(no_k3s(), fail_cgroup_v1=False) if assumption.allows_cgroup_v1 else no_k3s(),
    )
