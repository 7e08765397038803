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
    yield Finding(host.name, not locked, f"no program may be run in {names}" if locked else "programs may be run")


def judge_cloud_init(_: PreflightContext, host: Host, facts: Facts) -> Iterator[Finding]:
    state = facts.host.cloud_init
    if state == "running":
        yield Finding(host.name, False, "cloud-init is at work", severity="error")
    elif state == "error":
        message = "cloud-init ended with an error"
        yield Finding(host.name, False, message, facts.host.cloud_init_error, severity="warning")
    else:
        yield Finding(host.name, True, "cloud-init has ended" if state else "no cloud-init")


def judge_apparmor(_: PreflightContext, host: Host, facts: Facts) -> Iterator[Finding]:
    state = facts.host.apparmor
    message = {"": "no AppArmor", "enabled": "AppArmor and its program are there"}.get(
        state, "the kernel has AppArmor, and apparmor_parser is missing"
    )
    yield Finding(host.name, state != "no-parser", message)


def judge_nameserver(look: PreflightContext, host: Host, facts: Facts) -> Iterator[Finding]:
    found = facts.host.nameservers
    if not look.spec.provider.capabilities.machines_have_way_out:
        yield Finding(host.name, True, "the machine has no way out, so nobody to ask there")
    elif look.flag_of(host, "resolv-conf"):
        yield Finding(host.name, True, "resolv-conf says whom pods ask")
    elif found is None:
        yield Finding(host.name, False, "whom the host asks for names is not known", "no resolv.conf")
    else:
        message = "pods will ask 8.8.8.8 for names outside: the host names no server that they can ask"
        yield Finding(host.name, bool(found), ", ".join(found) if found else message)
