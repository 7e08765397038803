"""Run a command line of pk3s as on macOS: `python darwin.py HOSTS.json ARGUMENT...`, or `... --import-all`.

What only Linux has is taken away before anything is imported. The hosts of a plan are not spoken to: their facts are
those of empty machines.
"""

from __future__ import annotations

import importlib
import os
import pkgutil
import signal
import socket
import sys
import types

# The standard library's own documentation gives these as available on Linux only, or not on macOS.
_LINUX_ONLY = {
    signal: ("SIGRTMIN", "SIGRTMAX", "SIGPWR", "SIGCLD", "SIGPOLL", "SIGSTKFLT", "sigtimedwait", "sigwaitinfo"),
    os: (
        *("memfd_create", "eventfd", "eventfd_read", "eventfd_write", "pidfd_open", "P_PIDFD", "getrandom"),
        *("sched_getaffinity", "sched_setaffinity", "sched_getparam", "sched_setparam", "sched_getscheduler"),
        *("sched_setscheduler", "sched_rr_get_interval", "posix_fadvise", "posix_fallocate", "fdatasync", "splice"),
        *("copy_file_range", "pipe2", "getxattr", "setxattr", "listxattr", "removexattr", "setns", "unshare"),
        *("getresuid", "getresgid", "setresuid", "setresgid", "O_TMPFILE", "O_PATH", "O_DIRECT", "O_NOATIME"),
        *("O_RSYNC", "O_LARGEFILE", "preadv", "pwritev", "statx"),
        *(name for name in dir(os) if name.startswith(("MFD_", "GRND_", "EFD_", "SCHED_", "CLONE_", "SPLICE_"))),
    ),
    socket: (
        *("AF_NETLINK", "AF_PACKET", "AF_VSOCK", "AF_ALG", "AF_TIPC", "SO_PEERCRED", "SO_BINDTODEVICE", "SO_MARK"),
        *("SO_PASSCRED", "SO_DOMAIN", "SO_PROTOCOL", "SOCK_CLOEXEC", "SOCK_NONBLOCK", "TCP_USER_TIMEOUT"),
    ),
}


def take_away() -> None:
    """Delete the names, and say which system this is."""
    import select
    import sysconfig

    sysconfig.get_config_vars()  # this interpreter's own, found by the system's name
    for module, names in {**_LINUX_ONLY, select: ("epoll",)}.items():
        for name in names:
            if hasattr(module, name):
                delattr(module, name)
    sys.platform = "darwin"
    # urllib asks macOS for its proxies by this module of C.
    proxies = types.ModuleType("_scproxy")
    proxies._get_proxies = dict  # type: ignore[attr-defined]
    proxies._get_proxy_settings = dict  # type: ignore[attr-defined]
    sys.modules["_scproxy"] = proxies


def import_all() -> int:
    """Import every module of both packages; print how many."""
    count = 0
    for package in (importlib.import_module("productive_k3s"), importlib.import_module("productive_k3s_infra")):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if module.name != "productive_k3s_infra.hosts.wire.loader":  # it is a text that hosts run, not a module
                importlib.import_module(module.name)
                count += 1
    print(count)
    return 0


def empty_hosts() -> None:
    """Let `plan` see empty machines instead of connecting."""
    import hashlib
    import time
    from collections.abc import AsyncIterator
    from contextlib import asynccontextmanager
    from dataclasses import replace

    from productive_k3s.contract.events import Result
    from productive_k3s_infra.hosts.fleet.session import Fleet
    from productive_k3s_infra.inventory.model import Host, Inventory
    from productive_k3s_infra.inventory.survey import Assumption
    from productive_k3s_infra.operations import plan
    from productive_k3s_infra.operations.session import Session
    from productive_k3s_infra.plan.assumed import assumed_facts
    from static.fleet_doubles import FakeFleet

    def facts_of(host: Host) -> Result:
        facts = assumed_facts(host, Assumption())
        identity = hashlib.md5(host.name.encode(), usedforsecurity=False).hexdigest()
        return Result("done", facts=replace(facts, host=replace(facts.host, time=time.time(), machine_id=identity)))

    @asynccontextmanager
    async def fleet_of(_session: Session, inventory: Inventory) -> AsyncIterator[Fleet]:
        yield FakeFleet({host.name: facts_of(host) for host in inventory.hosts})

    plan.fleet_of = fleet_of  # type: ignore[assignment]


def main() -> None:
    """Run what the arguments say."""
    take_away()
    if sys.argv[1:] == ["--import-all"]:
        sys.exit(import_all())
    from productive_k3s_infra.cli.app import main as pk3s

    if sys.argv[1:2] == ["plan"]:
        empty_hosts()
    pk3s()


if __name__ == "__main__":
    main()
