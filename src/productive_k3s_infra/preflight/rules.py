"""PURE: preflight. Every question about every host is asked before anything is changed, and all answers are given."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from productive_k3s.contract.events import CheckResult
from productive_k3s_infra.cluster_file.model import ClusterSpec
from productive_k3s_infra.inventory.model import Inventory
from productive_k3s_infra.inventory.observed import Listening, Observed, Probe
from productive_k3s_infra.plan.host_network import is_ip, registration_address
from productive_k3s_infra.plan.model import ClusterRecord, Refusal
from productive_k3s_infra.plan.requests import api_port
from productive_k3s_infra.preflight import fleet, hosts, network, software
from productive_k3s_infra.preflight.ports import needed_ports
from productive_k3s_infra.preflight.rule import Finding, PreflightContext, Rule, each_host, runs_k3s

_REQUIREMENTS = "K3s requirements page"
_HERE = "this project"

RULES: tuple[Rule, ...] = (
    Rule(
        "host.reachable",
        ("error",),
        "the host answers over SSH, shows the host key known for it, and runs the host program through sudo",
        _HERE,
        "look up the failure code at the beginning of the evidence",
        fleet.judge_reachable,
    ),
    Rule(
        "host.init",
        ("error",),
        "PID 1 is systemd",
        _HERE,
        "use K3s' install script on this system",
        each_host(hosts.judge_init),
    ),
    Rule(
        "host.os",
        ("warning",),
        "Debian 12 or 13, Ubuntu 22.04, 24.04 or 26.04",
        "the systems that this project lists",
        "it may work; K3s' install script supports more systems",
        each_host(hosts.judge_os),
    ),
    Rule(
        "host.architecture",
        ("error",),
        "amd64, arm64 or arm",
        "assets of the K3s releases",
        "use a host of one of these architectures",
        each_host(hosts.judge_architecture),
    ),
    Rule(
        "host.python",
        ("error",),
        "Python 3.9 or newer",
        "floor of the host program",
        "install a newer python3",
        each_host(hosts.judge_python),
    ),
    Rule(
        "host.memory",
        ("error", "warning"),
        "server: 2 GB (error below 1 GB); agent: 512 MB (error below 256 MB); 7 % less passes, which the kernel keeps",
        f"{_REQUIREMENTS}; the error limits are this project's",
        "give the host more memory",
        each_host(hosts.judge_memory),
    ),
    Rule(
        "host.cpus",
        ("warning",),
        "server: 2; agent: 1",
        _REQUIREMENTS,
        "give the host more CPUs",
        each_host(hosts.judge_cpus),
    ),
    Rule(
        "host.disk",
        ("error", "warning"),
        "5 GB free for /var/lib/rancher (error below 1 GB); where K3s is installed, 1 GB (warning)",
        _HERE,
        "free some space, or mount a larger disk at /var/lib/rancher",
        each_host(hosts.judge_disk),
    ),
    Rule(
        "host.writable",
        ("error",),
        "no file system that pk3s or K3s writes to is read-only",
        _HERE,
        "mount it read-write",
        each_host(hosts.judge_read_only),
    ),
    Rule(
        "host.exec",
        ("error",),
        "programs can be run below /var/lib/rancher and /usr/local/bin: no mount option noexec",
        f"{_HERE}: K3s unpacks its programs into its data directory and runs them there",
        "mount it without noexec (/etc/fstab, then mount -o remount,exec)",
        each_host(software.judge_exec),
    ),
    Rule(
        "host.cloud-init",
        ("error", "warning"),
        "cloud-init has finished, or has nothing to do (error while it runs: it installs packages, changes names and "
        "restarts the network; a warning if it ended with an error)",
        "docs.cloud-init.io, boot stages",
        "wait on the host with: cloud-init status --wait; errors are in /var/log/cloud-init.log",
        each_host(software.judge_cloud_init),
    ),
    Rule(
        "host.apparmor",
        ("warning",),
        "apparmor_parser is installed if the kernel has AppArmor",
        "containerd, pkg/apparmor; k3s check-config; k3s-io/k3s issue 3406",
        "install the package apparmor: without it containers are not confined, pods that name a profile do not "
        "start, and with an older containerd no pod does",
        each_host(software.judge_apparmor),
    ),
    Rule(
        "host.nameserver",
        ("warning",),
        "/etc/resolv.conf, or that of systemd-resolved, names only DNS servers that pods can reach: none "
        "on loopback; not checked with the flag resolv-conf, or if the machines have no internet access",
        "k3s-io/k3s, pkg/agent/config: otherwise K3s gives pods 8.8.8.8",
        "name a server that is not on loopback, or set the flag resolv-conf to a file that does",
        each_host(software.judge_nameserver),
    ),
    Rule(
        "host.cgroup-version",
        ("error",),
        "cgroup v2; v1 below Kubernetes 1.35, or if the kubelet is configured to allow it",
        "kubelet, failCgroupV1 (KEP-5573)",
        "boot with systemd.unified_cgroup_hierarchy=1, or set kubelet-arg: [fail-cgroupv1=false] under spec.k3s.server "
        "and under spec.k3s.agent",
        each_host(hosts.judge_cgroup_version),
    ),
    Rule(
        "host.cgroup-controllers",
        ("error",),
        "v2: cpu, cpuset, memory, pids; v1: memory, pids",
        "k3s-io/k3s, pkg/cgroups and pkg/daemons/agent",
        "enable them on the kernel's command line (cgroup_enable=memory) and restart the host",
        each_host(hosts.judge_cgroup_controllers),
    ),
    Rule(
        "host.xtables",
        ("warning",),
        "the kernel has the iptables match modules",
        "kube-proxy and flannel; k3s check-config",
        "install the kernel's modules (x_tables), or set kube-proxy-arg: [proxy-mode=nftables]",
        each_host(hosts.judge_xtables),
    ),
    Rule(
        "host.swap",
        ("warning",),
        "no swap",
        "k3s check-config",
        "run swapoff -a, and remove it from /etc/fstab; memory limits of pods are not exact with swap",
        each_host(hosts.judge_swap),
    ),
    Rule(
        "host.selinux",
        ("info",),
        "SELinux is not enforcing",
        "K3s documentation, advanced: SELinux",
        "install container-selinux and k3s-selinux, and set selinux: true",
        each_host(hosts.judge_selinux),
    ),
    Rule(
        "host.other-kubernetes",
        ("error", "warning"),
        "no other Kubernetes; beside an installed K3s it is a warning",
        _HERE,
        "remove it first: two kubelets on one host interfere with each other",
        each_host(hosts.judge_other_kubernetes),
    ),
    Rule(
        "host.machine-id",
        ("error",),
        "each host has a machine-id, and no two have the same",
        "systemd, MACAddressPolicy=persistent: virtual interfaces of clones get one MAC",
        "on all but one: remove /etc/machine-id, run systemd-machine-id-setup, and restart the host",
        fleet.judge_machine_ids,
    ),
    Rule(
        "host.hostname",
        ("warning",),
        "a name by RFC 1123 of at most 63 characters, and not localhost",
        _REQUIREMENTS,
        "set it with hostnamectl set-hostname",
        fleet.judge_hostnames,
    ),
    Rule(
        "host.hostname-unique",
        ("error",),
        "no two hosts have the same hostname, in any case of letters",
        _REQUIREMENTS,
        "set another one with hostnamectl set-hostname",
        fleet.judge_unique_hostnames,
    ),
    Rule(
        "host.clock",
        ("error", "warning"),
        f"no two hosts are certainly more than {fleet.CLOCK_WARNING_SECONDS:g} s apart "
        f"(error above {fleet.CLOCK_ERROR_SECONDS:g} s)",
        "etcd warns above 1 s; the error limit is this project's: a host "
        "whose clock is behind refuses new certificates",
        "synchronise both with one time server (systemd-timesyncd or chrony)",
        fleet.judge_clocks,
    ),
    Rule(
        "host.clock-here",
        ("warning",),
        f"no host is certainly more than {fleet.CLOCK_ERROR_SECONDS:g} s away from this computer",
        f"{_HERE}: this computer verifies the API's certificate",
        "correct the clock that is wrong",
        fleet.judge_clock_here,
    ),
    Rule(
        "node.name",
        ("error",),
        "a name by RFC 1123 of at most 63 characters, and no two the same, in any case of letters",
        "Kubernetes, names and label values; K3s lowers names",
        "correct the name in the cluster file",
        fleet.judge_node_names,
    ),
    Rule(
        "node.cluster",
        ("error",),
        "a host that is already a member belongs to this cluster: its CA is the one in cluster.lock",
        _HERE,
        "uninstall K3s from the host that belongs to another cluster, or correct cluster.lock",
        fleet.judge_cluster,
    ),
    Rule(
        "net.address",
        ("error",),
        "an interface that is up has the declared address; for a name: the host has an address to choose",
        _REQUIREMENTS,
        "correct the declared address, or give the host that address",
        each_host(network.judge_address),
    ),
    Rule(
        "net.default-route",
        ("error",),
        "a default route",
        "K3s documentation, air-gapped installation",
        "add a default route; a dummy interface is enough if there is no internet access",
        each_host(network.judge_default_route),
    ),
    Rule(
        "net.overlap",
        ("error",),
        "the pods' and services' networks (10.42.0.0/16 and 10.43.0.0/16, or cluster-cidr and service-cidr) hold "
        "no address of a host or node, and no route but the default one where K3s is not installed",
        "K3s documentation, cli/server; k3s check-config",
        "choose other networks with cluster-cidr and service-cidr before the first start",
        each_host(network.judge_networks),
    ),
    Rule(
        "net.ports-free",
        ("error", "warning"),
        "tcp 10250, loopback 10010, 10248, 10249, 10256; udp 8472 with vxlan, 51820 and 51821 with "
        "wireguard-native. Agents: loopback lb-server-port (6444). Servers: tcp https-listen-port (6443), loopback "
        "the one after it, 10257 to 10259; with etcd tcp 2379, 2380, loopback 2381, 2382. A warning if K3s is "
        "installed and stopped; not checked if it runs",
        _REQUIREMENTS,
        "stop what listens there",
        each_host(network.judge_free_ports),
    ),
    Rule(
        "net.web-ports",
        ("warning",),
        "tcp 80 and 443 are free, unless traefik or servicelb is disabled; not checked if K3s runs",
        "K3s documentation, networking services: ServiceLB takes them on every node",
        "stop what listens there, or disable traefik",
        each_host(network.judge_web_ports),
    ),
    Rule(
        "net.reach",
        ("error", "warning", "info"),
        "each host reaches https-listen-port (tcp/6443) of servers, tcp/10250 of all hosts (a warning), and flannel's "
        "port of all hosts: udp/8472, with wireguard-native udp/51820 and 51821. Agents reach the registration "
        "address. Info if it was not tested",
        _REQUIREMENTS,
        "open the port between these hosts, in firewalls and in the network",
        network.judge_reach,
    ),
    Rule(
        "net.firewall",
        ("warning",),
        "no active firewall",
        _REQUIREMENTS,
        "open the ports between the nodes, and let the pods' and services' networks through",
        each_host(network.judge_firewall),
    ),
)

# A host's veto that asks what a rule asks: it is left out where the rule has failed on that host.
_ASKED_TWICE = {
    "host.no-systemd": "host.init",
    "host.cgroup-v1": "host.cgroup-version",
    "host.read-only": "host.writable",
    "host.other-kubernetes": "host.other-kubernetes",
    "host.no-default-route": "net.default-route",
    "host.address-missing": "net.address",
    "k3s.port-in-use": "net.ports-free",
    "k3s.ca-mismatch": "node.cluster",
}


def preflight_checks(
    spec: ClusterSpec,
    inventory: Inventory,
    observed: Observed,
    probes: tuple[Probe, ...] | None,
    record: ClusterRecord | None = None,
    *,
    refusals: Iterable[Refusal] = (),
) -> tuple[CheckResult, ...]:
    """Judge all hosts by all rules, and add the vetoes of the plan (`refusals`) as errors with their own codes.

    `probes` None means that nobody tried the ports between hosts; a result says so.
    """
    look = PreflightContext(spec, inventory, observed, probes, record)
    results = [_result(rule, finding) for rule in RULES for finding in rule.judge(look)]
    return (*results, *_vetoes(results, refusals))


def _result(rule: Rule, finding: Finding) -> CheckResult:
    severity = rule.severities[0] if finding.passed else finding.severity or rule.severities[0]
    remedy = "" if finding.passed else finding.remedy or rule.remedy
    return CheckResult(rule.id, finding.subject, finding.passed, severity, finding.message, finding.evidence, remedy)


def _vetoes(results: Iterable[CheckResult], refusals: Iterable[Refusal]) -> Iterator[CheckResult]:
    failed = {(check.id, name) for check in results if not check.passed for name in check.subject.split(", ")}
    for refusal in refusals:
        failure = refusal.failure
        if (_ASKED_TWICE.get(failure.code, ""), refusal.host) not in failed:
            yield CheckResult(
                failure.code, refusal.host, False, "error", failure.what, failure.evidence, failure.remedy
            )


def to_probe(spec: ClusterSpec, inventory: Inventory, observed: Observed) -> dict[str, tuple[str, ...]]:
    """Say which ports are to be tried on which hosts: those of hosts without a running K3s that nobody listens on."""
    facts = observed.facts
    found: dict[str, tuple[str, ...]] = {}
    for host in inventory.hosts:
        if host.name not in facts or runs_k3s(facts[host.name]):
            continue
        taken = {f"{item.protocol}/{item.port}" for item in facts[host.name].host.listeners}
        ports = tuple(port for port in needed_ports(spec, host.role) if port not in taken)
        if ports:
            found[host.name] = ports
    return found


def already_listening(spec: ClusterSpec, inventory: Inventory, observed: Observed) -> tuple[Listening, ...]:
    """Say what else hosts that are to join shall try: servers that run, and the registration address.

    Nobody has to listen where K3s does already; before the first start somebody listens on the first server. The
    registration address is tried by agents, unless it is the first server's own or a name that the hosts are yet to be
    told of, which leads there too.
    """
    address, port = registration_address(spec, inventory), f"tcp/{api_port(spec)}"
    first, facts = inventory.founder, observed.facts
    coming = [host for host in inventory.hosts if host.name in facts and not runs_k3s(facts[host.name])]
    running = [host for host in inventory.servers if host.name in facts and runs_k3s(facts[host.name])]
    names = tuple(host.name for host in coming)
    doors = tuple(Listening(host.address, port, names, host.name) for host in running if names)
    agents = tuple(host.name for host in coming if host.role == "agent")
    known = address == first.address or (spec.hosts_file and not is_ip(address))
    return doors if known or not agents or first.name not in facts else (*doors, Listening(address, port, agents))


def table_lines() -> Iterator[str]:
    """Return the rules as the table of docs/preflight.md."""
    yield "| check | a failure is | wanted | source | remedy |"
    yield "|---|---|---|---|---|"
    for rule in RULES:
        yield f"| `{rule.id}` | {' or '.join(rule.severities)} | {rule.wants} | {rule.source} | {rule.remedy} |"
