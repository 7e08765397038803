"""Facts as values: what a host looked like at one moment. Nothing here knows how they were found."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, Mapping, Optional, Tuple

SCHEMA = 1


@dataclass(frozen=True)
class OperatingSystem:
    """`/etc/os-release`'s ID and VERSION_ID, and what uname says. `arch` is the release asset's word (amd64, arm64)."""

    id: str
    version_id: str
    pretty_name: str
    kernel: str
    arch: str


@dataclass(frozen=True)
class Interface:
    """A network interface; `addresses` in CIDR form, without link-local ones."""

    name: str
    up: bool
    mac: str
    addresses: Tuple[str, ...]


@dataclass(frozen=True)
class Listener:
    """A listening socket. `process` is the program's name where root can see it."""

    protocol: Literal["tcp", "udp"]
    address: str
    port: int
    process: str = ""


@dataclass(frozen=True)
class FileSystem:
    """The file system that holds `path` (or its nearest existing parent); `no_exec`: no program may be run there."""

    path: str
    type: str
    free_bytes: int
    total_bytes: int
    read_only: bool
    no_exec: bool = False


@dataclass(frozen=True)
class HostsFile:
    """/etc/hosts, or the template from which cloud-init writes it anew at each boot.

    `block` has the lines between this program's marks, None without marks. Other lines are nobody's business.
    """

    path: str
    block: Optional[Tuple[str, ...]] = None


@dataclass(frozen=True)
class HostFacts:
    """The machine without K3s. `time` is Unix seconds on the host's own clock; sizes are bytes.

    `cloud_init` is how far cloud-init came at this boot: '' where it has nothing to do, else `running`, `done` or
    `error` (it ended, and not everything went well; `cloud_init_error` is the first of its errors). `apparmor` is ''
    where the kernel has none, `enabled`, or `no-parser`. `nameservers` are those that K3s hands to pods: () if no file
    names one that pods can ask, None if that is not known.
    """

    time: float
    hostname: str
    machine_id: str
    os: OperatingSystem
    python: str
    init: str
    cpus: int
    memory_bytes: int
    swap_bytes: int
    cgroup_version: int
    cgroup_controllers: Tuple[str, ...]
    interfaces: Tuple[Interface, ...]
    default_interface: Optional[str]
    routes: Tuple[str, ...]
    listeners: Tuple[Listener, ...]
    file_systems: Tuple[FileSystem, ...]
    active_firewalls: Tuple[str, ...]
    other_kubernetes: Tuple[str, ...]
    has_xtables: bool = True
    selinux: str = ""
    cloud_init: str = ""
    cloud_init_error: str = ""
    hosts_files: Tuple[HostsFile, ...] = (HostsFile("/etc/hosts"),)
    apparmor: str = ""
    nameservers: Optional[Tuple[str, ...]] = None


@dataclass(frozen=True)
class FileFact:
    """A file on disk. `schema` is that of the program of this name that wrote it, 0 for everybody else's files.

    `text` is there for files that may be shown (config.yaml, units), secret values masked in it. It is for people, in
    diffs: what a file says stands in values of their own.
    """

    path: str
    sha256: str
    mode: int
    uid: int
    changed: float
    text: Optional[str] = None
    schema: int = 0


@dataclass(frozen=True)
class TokenFact:
    """A token file: its digest, and what is no secret of the secure form. `ca_hash` is '' for the short form.

    `password` is the digest of what proves who asks (`k3s.token.password_digest`): the same in both forms.
    """

    path: str
    sha256: str
    mode: int
    ca_hash: str
    user: str
    password: str


@dataclass(frozen=True)
class Directive:
    """A line of a unit or of one of its drop-ins, in the order in which systemd reads them.

    Secrets in `value` (of a command line, of Environment=) are digests.
    """

    path: str
    section: str
    key: str
    value: str


@dataclass(frozen=True)
class UnitFact:
    """A systemd unit as systemd knows it and as it lies on disk. Times are Unix seconds, 0.0 if never started.

    `arguments` are those of ExecStart after the binary; `environment_files` exist and are read by it. `directives` are
    the lines of unit and drop-ins, `variables` what each environment file sets, by its path; secrets are digests.
    """

    name: str
    load_state: str
    active_state: str
    sub_state: str
    enabled: bool
    main_pid: int
    restarts: int
    invocation_id: str
    started: float
    active_since: float
    fragment: Optional[FileFact]
    drop_ins: Tuple[FileFact, ...]
    arguments: Tuple[str, ...]
    environment_files: Tuple[FileFact, ...]
    need_daemon_reload: bool
    directives: Tuple[Directive, ...]
    variables: Mapping[str, Mapping[str, str]]


@dataclass(frozen=True)
class Digests:
    """What a start of K3s depends on, by content. Comments and order make no difference to `config`.

    `tokens` is of the passwords in the token files that the configuration names, `files` of the content of other files
    that its flags name below /etc/rancher/k3s, and of the containerd template.
    """

    binary: str
    config: str
    environment: str
    unit: str
    registries: str
    tokens: str
    files: str


@dataclass(frozen=True)
class Running:
    """What the running process was started with. `source` says how that is known.

    recorded: this program noted the digests with the unit's invocation id; unchanged: no file changed since the
    start, so what is on disk runs; unknown: files changed after a start that nobody recorded.
    """

    source: Literal["recorded", "unchanged", "unknown"]
    digests: Optional[Digests]


@dataclass(frozen=True)
class NodeFact:
    """A Node as the API shows it.

    `own_labels` are the keys of labels that this program has set through the API, `own_taints` the taints, each as
    `key:effect`; None where it never noted any. `own_cordon`: an apply cordoned it, and not a person.
    """

    name: str
    uid: str
    ready: bool
    schedulable: bool
    roles: Tuple[str, ...]
    version: str
    internal_ip: str
    heartbeat: float
    labels: Mapping[str, str] = field(default_factory=dict)
    taints: Tuple[str, ...] = ()
    etcd_voter: Optional[bool] = None
    pod_cidr: str = ""
    own_labels: Tuple[str, ...] = ()
    own_taints: Optional[Tuple[str, ...]] = None
    own_cordon: bool = False


@dataclass(frozen=True)
class ClusterFacts:
    """The cluster as seen from a live server. `reachable` False: the API did not answer, `evidence` says how."""

    reachable: bool
    evidence: str = ""
    version: str = ""
    nodes: Tuple[NodeFact, ...] = ()


@dataclass(frozen=True)
class K3sFacts:
    """K3s on this host. `role` is None where there is no unit of it.

    `config` is what config.yaml, its drop-ins, the unit's arguments and its environment file say together by K3s'
    rules, secret values as digests; `config_sources` says what gave each key last: a file, `unit` or `environment`.
    `own_config` is what config.yaml says alone. `files` are those that flags point to: of this program, below
    /etc/rancher/k3s/files, and containerd's templates. `ca_hash` is the CA's as tokens carry it: a
    server's own, or of the CA that an agent trusts. `datastore` is what lies on disk. `installed_by` is
    'productive-k3s', 'install-script' or 'unknown'. `fail_cgroup_v1` is what drop-ins of the kubelet's own
    configuration say, None where they are silent. `encrypts_secrets` is what K3s' encryption configuration says of new
    secrets, None without one. `wrong_label` is the SELinux type of the binary where the policy says another one.
    """

    role: Optional[Literal["server", "agent"]]
    units: Tuple[UnitFact, ...]
    binary: Optional[FileFact]
    binary_version: str
    links: Mapping[str, str]
    scripts: Tuple[FileFact, ...]
    config_files: Tuple[FileFact, ...]
    config: Mapping[str, Any]
    own_config: Mapping[str, Any]
    config_sources: Mapping[str, str]
    config_error: str
    registries: Optional[FileFact]
    tokens: Tuple[TokenFact, ...]
    images: Tuple[FileFact, ...]
    staged: Tuple[FileFact, ...]
    on_disk: Optional[Digests]
    running: Optional[Running]
    datastore: Optional[Literal["etcd", "sqlite", "external"]]
    ca_hash: str
    node_name: str
    has_node_password: bool
    installed_by: str
    written_by: str = ""
    leftovers: Tuple[str, ...] = ()
    files: Tuple[FileFact, ...] = ()
    fail_cgroup_v1: Optional[bool] = None
    encrypts_secrets: Optional[bool] = None
    wrong_label: str = ""


def no_k3s() -> K3sFacts:
    """Return the facts of a host on which there never was a K3s."""
    return K3sFacts(
        role=None,
        units=(),
        binary=None,
        binary_version="",
        links={},
        scripts=(),
        config_files=(),
        config={},
        own_config={},
        config_sources={},
        config_error="",
        registries=None,
        tokens=(),
        images=(),
        staged=(),
        on_disk=None,
        running=None,
        datastore=None,
        ca_hash="",
        node_name="",
        has_node_password=False,
        installed_by="",
    )


@dataclass(frozen=True)
class Facts:
    """Everything one call of `facts` returns."""

    host: HostFacts
    k3s: K3sFacts
    cluster: Optional[ClusterFacts] = None
    program: str = ""
    schema: int = SCHEMA
