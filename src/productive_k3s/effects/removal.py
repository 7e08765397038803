"""Take K3s off this host again: what the uninstall script does, and what it leaves behind. Safe to repeat."""

from __future__ import annotations

import ipaddress
import json
from typing import Awaitable, Callable, Dict, List, Mapping, Optional, Sequence, Set, Tuple, Union

from productive_k3s.contract.change import Action, Change, Impact
from productive_k3s.contract.facts import Facts
from productive_k3s.contract.failure import ContractError, Failure
from productive_k3s.doors.host import Host
from productive_k3s.doors.system import System
from productive_k3s.effects import service
from productive_k3s.effects.hosts import write_block
from productive_k3s.facts import unit_state
from productive_k3s.facts.unit_state import UnitState
from productive_k3s.k3s import paths
from productive_k3s.k3s.unit_file import environment
from productive_k3s.plan import hosts
from productive_k3s.waits.loop import Bounds, Look, wait_until

_STOP_SECONDS = 90.0
_COMMAND_SECONDS = 30.0
# Mount points of containers and pods, network name spaces of pods.
_MOUNTS_BELOW = ("/run/k3s", paths.KUBELET + "/pods", paths.KUBELET + "/plugins", "/run/netns/cni-")
_FLANNEL = "/run/flannel/subnet.env"
_Network = Union[ipaddress.IPv4Network, ipaddress.IPv6Network]
_INTERFACES = ("cni0", "flannel.1", "flannel-v6.1", "kube-ipvs0", "flannel-wg", "flannel-wg-v6")


def plan_removal(facts: Facts) -> Tuple[Change, ...]:
    """PURE: return what a removal does on this host, () where there is nothing of K3s."""
    k3s = facts.k3s
    traces = (
        k3s.role,
        k3s.binary,
        k3s.scripts,
        k3s.config_files,
        k3s.tokens,
        k3s.datastore,
        k3s.ca_hash,
        k3s.leftovers,
    )
    # A kubectl of somebody else is no trace of K3s.
    links = [target for target in k3s.links.values() if target in ("k3s", paths.BINARY)]
    names = hosts.removals(facts)
    if not any((*traces, links, k3s.has_node_password, k3s.staged)):
        return names
    # systemctl refuses to stop a unit that is not there, which a removal that was cut leaves behind.
    there = [unit for unit in k3s.units if unit.load_state != "not-found" or unit.main_pid]
    units = tuple(unit.name.split(".")[0] for unit in there)
    return (
        *(_change("stop", "stop-unit", unit, "K3s shall go from this host", "disrupt") for unit in units),
        _change("kill", "kill-containers", "containers", "containers outlive the service", "disrupt"),
        _change("unmount", "unmount", "mounts", "pods and containers leave mounts", "change"),
        _change("network", "remove-network", "interfaces", "flannel and the bridge stay otherwise", "change"),
        _change("rules", "remove-rules", "firewall", "rules of kube-proxy and flannel stay otherwise", "change"),
        _change("files", "remove-files", "files", "configuration, data, programs and units of K3s", "disrupt"),
        *names,
    )


def _change(name: str, action: Action, target: str, reason: str, impact: Impact) -> Change:
    return Change(f"{name}:{target}", action, target, reason, impact)


async def remove(host: Host, change: Change) -> None:
    """Do one change of a removal."""
    await _EFFECTS[change.action](host, change)


async def _stop_unit(host: Host, change: Change) -> None:
    """Stop and disable; wait until it is down, since what is removed below must not be in use."""
    await service.systemctl(host.system, "stop", "--no-block", change.target)

    async def look(_: float) -> Look[UnitState]:
        state = await unit_state.state(host.system, change.target)
        return Look(state, "" if state.active in ("inactive", "failed") else str(state))

    stopped = await wait_until(host, look, Bounds(_STOP_SECONDS, 0.5, may_stop=False), change.id)
    if not stopped.is_done:
        raise ContractError(
            Failure(
                "k3s.does-not-stop",
                f"{change.target} did not stop within {_STOP_SECONDS:.0f} s",
                stopped.lacking,
                f"see journalctl -u {change.target}, end it by hand, then run it again",
            )
        )
    await host.system.run(("systemctl", "disable", change.target), timeout=_COMMAND_SECONDS)


async def _kill_containers(host: Host, change: Change) -> None:
    """Kill the shims of the data directory's containerd and all their descendants, until none is left."""

    async def look(_: float) -> Look[Set[int]]:
        doomed = await _container_processes(host.system)
        if doomed:
            await host.system.run(("kill", "-9", *map(str, sorted(doomed))), timeout=_COMMAND_SECONDS)
        return Look(doomed, f"{len(doomed)} processes of containers end" if doomed else "")

    killed = await wait_until(host, look, Bounds(_STOP_SECONDS, 0.2, may_stop=False), change.id)
    if not killed.is_done:
        raise ContractError(
            Failure(
                "k3s.containers-left",
                "processes of containers cannot be killed",
                ", ".join(map(str, sorted(killed.found))),
                "see what they wait for (ps -o stat,wchan), or restart the host, then run it again",
            )
        )


async def _container_processes(system: System) -> Set[int]:
    parents: Dict[int, int] = {}
    shims: List[int] = []
    for name in await system.list_directory("/proc"):
        if not name.isdigit():
            continue
        stat = await system.read(f"/proc/{name}/stat") or b""
        fields = stat.rpartition(b") ")[2].split()
        if len(fields) < 2 or fields[0] == b"Z":
            continue
        parents[int(name)] = int(fields[1])
        command = (await system.read(f"/proc/{name}/cmdline") or b"").split(b"\0")[0].decode(errors="replace")
        if command.startswith(f"{paths.DATA}/data/") and "/bin/containerd-shim" in command:
            shims.append(int(name))
    return _with_descendants(shims, parents)


def _with_descendants(roots: List[int], parents: Mapping[int, int]) -> Set[int]:
    """PURE: return the processes and everything that descends from them."""
    found = set(roots)
    while True:
        more = {child for child, parent in parents.items() if parent in found and child not in found}
        if not more:
            return found
        found |= more


async def _unmount(host: Host, _: Change) -> None:
    text = (await host.system.read("/proc/self/mounts") or b"").decode(errors="replace")
    for point in mounts_below(text):
        done = await host.system.run(("umount", point), timeout=_COMMAND_SECONDS)
        if done.returncode != 0:
            await host.system.run(("umount", "--lazy", point), timeout=_COMMAND_SECONDS)


def mounts_below(mounts: str) -> Tuple[str, ...]:
    """PURE: return the mount points of pods and containers in /proc/self/mounts, the deepest first."""
    points = [line.split()[1].encode().decode("unicode_escape") for line in mounts.splitlines() if " " in line]
    return tuple(sorted((point for point in points if point.startswith(_MOUNTS_BELOW)), reverse=True))


async def _remove_network(host: Host, _: Change) -> None:
    system = host.system
    for name in await system.list_directory("/run/netns"):
        if name.startswith("cni-"):
            await system.run(("ip", "netns", "delete", name), timeout=_COMMAND_SECONDS)
    there = await system.list_directory("/sys/class/net")
    for name in there:
        master = await system.stat(f"/sys/class/net/{name}/master")
        if master is not None and master.link.rpartition("/")[2] == "cni0":
            await system.run(("ip", "link", "delete", name), timeout=_COMMAND_SECONDS)
    for name in _INTERFACES:
        if name in there:
            await system.run(("ip", "link", "delete", name), timeout=_COMMAND_SECONDS)
    # With the backend host-gw the ways to the other nodes' pods are routes on the host's own interface: they would
    # stay, and be in the way of the next cluster here.
    told = await system.read(_FLANNEL)
    for family in ("-4", "-6") if told else ():
        listed = await system.run(("ip", "-json", family, "route", "show"), timeout=_COMMAND_SECONDS)
        for words in routes_to_pods(listed.stdout, (told or b"").decode(errors="replace")):
            await system.run(("ip", family, "route", "delete", *words), timeout=_COMMAND_SECONDS)


def routes_to_pods(listed: str, told: str) -> Tuple[Tuple[str, ...], ...]:
    """PURE: return what `ip route delete` takes for the routes through other nodes into flannel's networks."""
    said = environment(told)
    texts = ",".join(said.get(key, "") for key in ("FLANNEL_NETWORK", "FLANNEL_IPV6_NETWORK")).split(",")
    networks = [found for found in map(_network, texts) if found is not None]
    try:
        routes = json.loads(listed or "[]")
    except ValueError:
        return ()
    return tuple(
        (str(route["dst"]), "via", str(route["gateway"]))
        for route in routes
        if route.get("gateway") and _is_within(_network(str(route.get("dst", ""))), networks)
    )


def _network(text: str) -> Optional[_Network]:
    try:
        return ipaddress.ip_network(text.strip(), strict=False)
    except ValueError:
        return None


def _is_within(inner: Optional[_Network], networks: Sequence[_Network]) -> bool:
    return any(
        inner is not None and inner.version == outer.version and inner.subnet_of(outer)  # type: ignore[arg-type]
        for outer in networks
    )


async def _remove_rules(host: Host, _: Change) -> None:
    """Rewrite the rules of both families without those of Kubernetes, CNI plugins and flannel."""
    for family in ("iptables", "ip6tables"):
        saved = await host.system.run((f"{family}-save",), timeout=_COMMAND_SECONDS)
        if saved.returncode != 0:
            continue
        kept = rules_of_others(saved.stdout)
        if kept != saved.stdout:
            await host.system.run((f"{family}-restore",), timeout=_COMMAND_SECONDS, stdin=kept.encode())


def rules_of_others(saved: str) -> str:
    """PURE: return what iptables-save printed, without the lines of Kubernetes, CNI plugins and flannel."""
    lines = saved.splitlines(keepends=True)
    return "".join(line for line in lines if not ("KUBE-" in line or "CNI-" in line or "flannel" in line.lower()))


async def _remove_files(host: Host, _: Change) -> None:
    """Remove what K3s and this program left. What is mounted below the data directory stays, and so does its path."""
    system = host.system
    for unit in ("k3s", "k3s-agent"):
        for path in (paths.unit_file(unit), paths.environment_file(unit), paths.uninstall_script(unit)):
            await system.remove(path)
    await service.systemctl(system, "daemon-reload")
    # A unit that failed once would be listed as "not-found failed" for ever.
    await system.run(("systemctl", "reset-failed", "k3s", "k3s-agent"), timeout=_COMMAND_SECONDS)
    for name in paths.LINKS:
        found = await system.stat(f"{paths.BINARY_DIRECTORY}/{name}")
        if found is not None and found.kind == "link" and found.link in ("k3s", paths.BINARY):
            await system.remove(f"{paths.BINARY_DIRECTORY}/{name}")
    # The kubelet's cgroups are empty now; they slow down the next start here.
    await system.run(
        ("find", "/sys/fs/cgroup", "-depth", "-type", "d", "-path", "*/kubepods*", "-exec", "rmdir", "{}", ";"),
        timeout=_COMMAND_SECONDS,
    )
    for path in (*paths.LEFT_BY_K3S, paths.RUN_DIRECTORY):
        await system.remove_tree(path)
    for path in (paths.BINARY, paths.BINARY + ".partial", paths.KILLALL):
        await system.remove(path)
    await _remove_container_state(system)
    for path in paths.SHARED_DIRECTORIES:
        if not await system.list_directory(path):
            await _remove_if_unused(system, path)
    await system.remove_tree(paths.PROGRAM_DIRECTORY)


async def _remove_names(host: Host, change: Change) -> None:
    await write_block(host.system, change.target, ())


async def _remove_container_state(system: System) -> None:
    """Remove what runc and the shims noted of pods. Another containerd's (Docker's) lies beside it, and lives on."""
    await system.remove_tree(f"{paths.CONTAINERD_STATE}/runc/k8s.io")
    alive = (await system.read("/proc/net/unix") or b"").decode(errors="replace").split()
    for name in await system.list_directory(f"{paths.CONTAINERD_STATE}/s"):
        path = f"{paths.CONTAINERD_STATE}/s/{name}"
        if path not in alive:
            await system.remove(path)


async def _remove_if_unused(system: System, path: str) -> None:
    try:
        await system.remove(path)
    except OSError:
        # A mount point, or filled in this moment: it belongs to somebody else then.
        return


_EFFECTS: Mapping[Action, Callable[[Host, Change], Awaitable[None]]] = {
    "stop-unit": _stop_unit,
    "kill-containers": _kill_containers,
    "unmount": _unmount,
    "remove-network": _remove_network,
    "remove-rules": _remove_rules,
    "remove-files": _remove_files,
    "remove-hosts": _remove_names,
}
