"""The machine as facts: from its kernel's files, with and without iproute2 and systemd."""

from __future__ import annotations

import json

import pytest

from productive_k3s.contract.codec import decode, encode
from productive_k3s.contract.facts import Facts, Listener
from productive_k3s.contract.failure import ContractError
from productive_k3s.doors.system import Space
from productive_k3s.facts import host, network
from static.contract_program.simulated import ADDRESSES, NOW, Machine

ROUTE_TABLE = """Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
eth0\t00000000\t0100000A\t0003\t0\t0\t100\t00000000\t0\t0\t0
wlan0\t00000000\t0101A8C0\t0003\t0\t0\t600\t00000000\t0\t0\t0
eth0\t0000000A\t00000000\t0001\t0\t0\t100\t00FFFFFF\t0\t0\t0
wlan0\t0001A8C0\t00000000\t0001\t0\t0\t50\t00FFFFFF\t0\t0\t0
"""
FIB_TRIE = """Main:
  +-- 0.0.0.0/0 3 0 5
     |-- 10.0.0.0
        /24 link UNICAST
     |-- 10.0.0.11
        /32 host LOCAL
     |-- 127.0.0.1
        /32 host LOCAL
Local:
     |-- 10.0.0.11
        /32 host LOCAL
     |-- 10.0.0.255
        /32 link BROADCAST
"""


def test_a_machine_without_k3s() -> None:
    facts = Machine().facts()
    machine = facts.host
    assert (machine.time, machine.hostname, machine.init) == (NOW, "Node-1", "systemd")
    assert (machine.os.id, machine.os.version_id, machine.os.kernel, machine.os.arch) == (
        "debian",
        "12",
        "6.1.0-31-arm64",
        "arm64",
    )
    assert (machine.cpus, machine.memory_bytes, machine.swap_bytes) == (4, 4096000 * 1024, 1024 * 1024)
    assert (machine.cgroup_version, machine.cgroup_controllers) == (2, ("cpu", "cpuset", "io", "memory", "pids"))
    assert machine.interfaces[1].addresses == ("10.0.0.11/24",)
    assert machine.default_interface == "eth0"
    assert machine.routes == ("default via 10.0.0.1 dev eth0", "10.0.0.0/24 dev eth0")
    assert (machine.active_firewalls, machine.other_kubernetes, machine.selinux) == ((), (), "")
    assert (facts.k3s.role, facts.k3s.units, facts.k3s.on_disk, facts.cluster) == (None, (), None, None)
    assert (facts.k3s.installed_by, facts.k3s.leftovers) == ("", ())


def test_facts_survive_the_wire() -> None:
    facts = Machine().facts()
    assert decode(Facts, json.loads(json.dumps(encode(facts))), "facts") == facts


def test_one_look_starts_few_processes() -> None:
    machine = Machine()
    machine.facts()
    assert sorted({command.argv[0] for command in machine.system.commands}) == ["ip", "ss", "systemctl"]
    assert len(machine.system.commands) == 4


def test_without_iproute2_the_kernel_says_the_same() -> None:
    machine = Machine()
    machine.system.script("ip", returncode=127)
    machine.system.script("ip", "-json", "addr", returncode=127)
    machine.system.script("ip", "-json", "route", returncode=127)
    machine.system.script("ss", returncode=127)
    machine.system.put(
        {
            "/proc/net/route": ROUTE_TABLE,
            "/proc/net/fib_trie": FIB_TRIE,
            "/proc/net/if_inet6": "fd000000000000000000000000000011 02 40 00 80     eth0\n"
            "fe800000000000000000000000000011 02 40 20 80     eth0\n",
            "/sys/class/net/eth0/operstate": "up\n",
            "/sys/class/net/eth0/address": "52:54:00:00:00:01\n",
            "/sys/class/net/lo/operstate": "unknown\n",
            "/sys/class/net/lo/address": "00:00:00:00:00:00\n",
            "/proc/net/tcp": "  sl  local_address rem_address   st\n"
            "   0: 00000000:192B 00000000:0000 0A 0\n   1: 0B00000A:0016 0100000A:D431 01 0\n",
            "/proc/net/udp6": "  sl  local_address rem_address   st\n"
            "   0: 00000000000000000000000001000000:2118 00000000000000000000000000000000:0000 07 0\n",
        }
    )  # fmt: skip
    found = machine.facts().host
    assert found.default_interface == "eth0"
    assert found.routes[0] == "default via 10.0.0.1 dev eth0"
    by_name = {item.name: item for item in found.interfaces}
    assert by_name["eth0"].addresses == ("10.0.0.11/24", "fd00::11/64")
    assert (by_name["eth0"].mac, by_name["eth0"].up, by_name["lo"].mac) == ("52:54:00:00:00:01", True, "")
    assert by_name["lo"].addresses == ("127.0.0.1/8",)
    assert found.listeners == (Listener("tcp", "0.0.0.0", 6443), Listener("udp", "::1", 8472))


def test_the_default_route_with_the_lowest_metric() -> None:
    routes = [{"dst": "default", "dev": "eth0", "metric": 100}, {"dst": "default", "dev": "wlan0", "metric": 50}]
    assert network.default_of(routes) == "wlan0"
    assert network.default_of([{"dst": "default", "nexthops": [{"dev": "bond0"}]}]) == "bond0"
    assert network.default_of([]) is None


def test_an_ipv6_only_machine_has_a_default_route() -> None:
    machine = Machine()
    machine.system.script("ip", "-json", "route", stdout="[ ]")
    machine.system.script("ip", "-6", stdout=json.dumps([{"dst": "default", "dev": "eth1", "gateway": "fd00::1"}]))
    assert machine.facts().host.default_interface == "eth1"


def test_listeners_with_their_programs() -> None:
    text = (
        'tcp   LISTEN 0      128      0.0.0.0:22    0.0.0.0:*    users:(("sshd",pid=1,fd=3),("sshd",pid=2,fd=3))\n'
        'tcp   LISTEN 0      4096               *:6443            *:*    users:(("k3s-server",pid=9,fd=3))\n'
        "udp   UNCONN 0      0      127.0.0.54%lo:53        0.0.0.0:*\n"
        "tcp   LISTEN 0      128             [::1]:631          [::]:*\n"
    )
    assert network.parse_ss(text) == (
        Listener("tcp", "0.0.0.0", 22, "sshd"),
        Listener("tcp", "*", 6443, "k3s-server"),
        Listener("udp", "127.0.0.54", 53, ""),
        Listener("tcp", "::1", 631, ""),
    )


def test_file_systems_are_those_of_the_nearest_parent() -> None:
    machine = Machine()
    machine.system.put({"/var/lib/rancher/x": ""})
    machine.system.disk = Space(5, 10, read_only=True)
    machine.system.put(
        {"/proc/self/mountinfo": "22 1 254:1 / / rw - ext4 /dev/vda1 rw\n"
         "30 22 0:5 / /var/lib\\040x rw shared:1 - xfs /dev/b rw\n31 22 0:6 / /var/lib rw shared:1 - btrfs /dev/c rw\n"}
    )  # fmt: skip
    found = {item.path: item for item in machine.facts().host.file_systems}
    assert found["/var/lib/rancher"].type == "btrfs"
    assert found["/usr/local/bin"].type == "ext4"
    assert (found["/etc"].free_bytes, found["/etc"].total_bytes, found["/etc"].read_only) == (5, 10, True)
    assert host.parse_mounts("30 22 0:5 / /a\\040b rw - xfs /dev/b rw\n") == {"/a b": "xfs"}


def test_cgroup_v1() -> None:
    machine = Machine()
    before = machine.system.snapshot()
    machine.system._entries = {path: entry for path, entry in before.items() if "cgroup" not in path}
    machine.system.put(
        {"/proc/cgroups": "#subsys_name\thierarchy\tnum_cgroups\tenabled\ncpu\t1\t2\t1\nmemory\t0\t1\t0\n"}
    )
    found = machine.facts().host
    assert (found.cgroup_version, found.cgroup_controllers) == (1, ("cpu",))


def test_firewalls_that_filter() -> None:
    machine = Machine()
    machine.units.set("firewalld", LoadState="loaded", ActiveState="active")
    machine.system.put({"/etc/ufw/ufw.conf": "# ENABLED=yes\nENABLED=no\n"})
    assert machine.facts().host.active_firewalls == ("firewalld",)
    machine.system.put({"/etc/ufw/ufw.conf": "ENABLED=yes\nLOGLEVEL=low\n"})
    assert machine.facts().host.active_firewalls == ("ufw", "firewalld")


def test_another_kubernetes_that_runs_or_will() -> None:
    machine = Machine()
    machine.units.set("rke2-agent", LoadState="loaded", ActiveState="inactive", UnitFileState="disabled")
    assert machine.facts().host.other_kubernetes == ()
    machine.units.set("rke2-agent", UnitFileState="enabled")
    machine.units.set("kubelet", LoadState="loaded", ActiveState="active")
    assert machine.facts().host.other_kubernetes == ("kubelet", "rke2")


def test_a_further_k3s_service_is_foreign() -> None:
    machine = Machine()
    machine.system.put({"/etc/systemd/system/k3s-lab.service": "", "/etc/systemd/system/k3s-agent.service": ""})
    assert machine.facts().host.other_kubernetes == ("k3s-lab",)


def test_a_kubelet_of_a_container_is_not_this_hosts() -> None:
    machine = Machine()
    machine.system.put({"/proc/500/comm": "kubelet\n"})
    machine.system.put_link("/proc/self/ns/mnt", "mnt:[1]")
    machine.system.put_link("/proc/500/ns/mnt", "mnt:[2]")
    assert machine.facts().host.other_kubernetes == ()
    machine.system.put_link("/proc/500/ns/mnt", "mnt:[1]")
    assert machine.facts().host.other_kubernetes == ("kubelet",)


def test_a_kernel_without_xtables() -> None:
    machine = Machine()
    machine.system._entries.pop("/proc/net/ip_tables_names")
    assert machine.facts().host.has_xtables
    machine.system.put({"/lib/modules/6.1.0-31-arm64/modules.dep": "kernel/net/ipv4/ip_gre.ko:\n"})
    assert not machine.facts().host.has_xtables
    machine.system.put({"/lib/modules/6.1.0-31-arm64/modules.dep": "kernel/net/netfilter/x_tables.ko.xz:\n"})
    assert machine.facts().host.has_xtables


def test_a_host_without_systemd_is_told_of() -> None:
    machine = Machine()
    machine.system.put({"/proc/1/comm": "init\n"})
    machine.system.script_process(("systemctl", "show"), lambda _: _completed())
    found = machine.facts()
    assert found.host.init == "init"
    assert found.k3s.units == ()


def _completed() -> object:
    from productive_k3s.doors.system import Completed

    return Completed(127, "", "No such file or directory")


def test_selinux_and_processors() -> None:
    machine = Machine()
    machine.system.put({"/sys/fs/selinux/enforce": "1"})
    assert machine.facts().host.selinux == "enforcing"
    assert host.count_cpus("0-3,5,8-9\n") == 7
    assert host.parse_os_release('# x\nID=\'arch\'\nNAME="A \\"B\\""\nBROKEN=\'\n') == {
        "ID": "arch",
        "NAME": 'A "B"',
        "BROKEN": "'",
    }


@pytest.mark.parametrize(("user", "code", "exit_code"), [(1000, "host.not-root", 4), (0, "host.denied", 5)])
def test_who_may_not_look_is_told_so(monkeypatch: pytest.MonkeyPatch, user: int, code: str, exit_code: int) -> None:
    """To be root is no remedy for root."""
    monkeypatch.setattr("os.geteuid", lambda: user)
    machine = Machine()

    async def denied(_: str, __: int = 0) -> bytes:
        raise PermissionError(13, "Permission denied", "/var/lib/rancher/k3s/server")

    machine.system.read = denied  # type: ignore[method-assign]
    with pytest.raises(ContractError) as caught:
        machine.facts()
    assert (caught.value.failure.code, caught.value.failure.exit_code) == (code, exit_code)


def test_link_local_addresses_are_left_out() -> None:
    found = network.parse_addresses(ADDRESSES)
    assert [item.mac for item in found] == ["", "52:54:00:00:00:01"]
    assert not any("fe80" in address for item in found for address in item.addresses)


@pytest.mark.parametrize(
    ("files", "seen"),
    [
        ({}, ("", "")),
        ({"disabled": ""}, ("", "")),
        ({"enabled": ""}, ("running", "")),
        ({"enabled": "", "status.json": '{"v1": {"stage": "modules-config"}}'}, ("running", "")),
        ({"enabled": "", "result.json": '{"v1": {"datasource": "DataSourceNoCloud", "errors": []}}'}, ("done", "")),
        ({"enabled": "", "result.json": '{"v1": {"datasource": null, "errors": ["(\'ssh\',\\n KeyError())", "x"]}}'},
         ("error", "('ssh', KeyError())")),
        ({"enabled": "", "result.json": '{"v1": {"datas'}, ("running", "")),
    ],
)  # fmt: skip
def test_cloud_init_as_its_files_show_it(files: dict[str, str], seen: tuple[str, str]) -> None:
    machine = Machine()
    machine.system.put({f"/run/cloud-init/{name}": text for name, text in files.items()})
    found = machine.facts().host
    assert (found.cloud_init, found.cloud_init_error) == seen


_NO_EXEC = """22 1 254:1 / / rw,relatime - ext4 /dev/vda1 rw
23 22 254:2 / /var/lib/rancher rw,nosuid,noexec,relatime - ext4 /dev/vdb1 rw
24 22 254:3 / /usr/local rw,relatime - ext4 /dev/vdc1 rw,noexec
"""


def test_where_no_program_may_be_run_is_seen_by_the_mount_that_holds_it() -> None:
    machine = Machine()
    machine.system.put({"/proc/self/mountinfo": _NO_EXEC, "/var/lib/rancher/k3s/x": "", "/usr/local/bin/x": ""})
    found = {item.path: item.no_exec for item in machine.facts().host.file_systems}
    assert found == {"/var/lib/rancher": True, "/usr/local/bin": False, "/etc": False}


@pytest.mark.parametrize(
    ("files", "state"),
    [
        ({}, ""),
        ({"/sys/module/apparmor/parameters/enabled": "N\n"}, ""),
        ({"/sys/module/apparmor/parameters/enabled": "Y\n"}, "no-parser"),
        ({"/sys/module/apparmor/parameters/enabled": "Y\n", "/sbin/apparmor_parser": ""}, "enabled"),
        ({"/sys/module/apparmor/parameters/enabled": "Y\n", "/usr/sbin/apparmor_parser": ""}, "enabled"),
    ],
)
def test_apparmor_and_its_program(files: dict[str, str], state: str) -> None:
    machine = Machine()
    machine.system.put(files)
    assert machine.facts().host.apparmor == state


STUB = "nameserver 127.0.0.53\noptions edns0\n"


@pytest.mark.parametrize(
    ("files", "found"),
    [
        ({}, None),
        ({"/etc/resolv.conf": "# nobody\nsearch example\n"}, ()),
        ({"/etc/resolv.conf": "search example\nnameserver 10.0.0.1\nnameserver fd00::1\n"}, ("10.0.0.1", "fd00::1")),
        ({"/etc/resolv.conf": STUB}, ()),
        ({"/etc/resolv.conf": STUB, "/run/systemd/resolve/resolv.conf": "nameserver 10.0.0.2\n"}, ("10.0.0.2",)),
        # K3s takes a file only if all that it names can be asked.
        ({"/etc/resolv.conf": "nameserver 10.0.0.1\nnameserver ::1\n"}, ()),
        ({"/etc/resolv.conf": "nameserver fe80::1%eth0\n"}, ()),
    ],
)
def test_the_name_servers_that_pods_will_ask(files: dict[str, str], found: tuple[str, ...] | None) -> None:
    machine = Machine()
    machine.system.put(files)
    assert machine.facts().host.nameservers == found
