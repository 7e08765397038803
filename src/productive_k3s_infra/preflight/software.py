"""PURE: is what lies on the host fit for K3s: mounts, cloud-init, AppArmor's program, name servers?"""

from __future__ import annotations

from collections.abc import Iterator

from productive_k3s.contract.facts import Facts
from productive_k3s_infra.inventory.model import Host
from productive_k3s_infra.preflight.rule import Finding, PreflightContext

_RUN_FROM = ("/var/lib/rancher", "/usr/local/bin")


def judge_exec(_: PreflightContext, host: Host, facts: Facts) -> Iterator[Finding]:
    locked = [item.path for item in facts.host.file_systems if item.no_exec and item.path in _RUN_FROM]
    names = ", ".join(locked)
    yield Finding(host.name, not locked, f"programs cannot be run in {names}" if locked else "programs can be run")


def judge_cloud_init(_: PreflightContext, host: Host, facts: Facts) -> Iterator[Finding]:
    state = facts.host.cloud_init
    if state == "running":
        yield Finding(host.name, False, "cloud-init is still running", severity="error")
    elif state == "error":
        message = "cloud-init ended with an error"
        yield Finding(host.name, False, message, facts.host.cloud_init_error, severity="warning")
    else:
        yield Finding(host.name, True, "cloud-init has finished" if state else "no cloud-init")


def judge_apparmor(_: PreflightContext, host: Host, facts: Facts) -> Iterator[Finding]:
    state = facts.host.apparmor
    message = {"": "no AppArmor", "enabled": "AppArmor and apparmor_parser are available"}.get(
        state, "the kernel has AppArmor, and apparmor_parser is missing"
    )
    yield Finding(host.name, state != "no-parser", message)


def judge_nameserver(look: PreflightContext, host: Host, facts: Facts) -> Iterator[Finding]:
    found = facts.host.nameservers
    if not look.spec.provider.capabilities.machines_have_way_out:
        yield Finding(host.name, True, "the machine has no internet access, so there is no DNS server to check")
    elif look.flag_of(host, "resolv-conf"):
        yield Finding(host.name, True, "the flag resolv-conf sets the DNS servers for pods")
    elif found is None:
        yield Finding(host.name, False, "the host's DNS servers are not known", "no resolv.conf")
    else:
        message = "pods will use 8.8.8.8 for external names: the host has no DNS server that they can reach"
        yield Finding(host.name, bool(found), ", ".join(found) if found else message)
