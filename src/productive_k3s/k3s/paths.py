"""Where things lie on a host. Names and places are those of K3s' install script (k3s-io/k3s, install.sh)."""

from __future__ import annotations

BINARY_DIRECTORY = "/usr/local/bin"
BINARY = BINARY_DIRECTORY + "/k3s"
LINKS = ("kubectl", "crictl", "ctr")
KILLALL = BINARY_DIRECTORY + "/k3s-killall.sh"

CONFIG_DIRECTORY = "/etc/rancher/k3s"
CONFIG = CONFIG_DIRECTORY + "/config.yaml"
REGISTRIES = CONFIG_DIRECTORY + "/registries.yaml"
SERVER_TOKEN = CONFIG_DIRECTORY + "/server.token"
AGENT_TOKEN = CONFIG_DIRECTORY + "/agent.token"
ADMIN_KUBECONFIG = CONFIG_DIRECTORY + "/k3s.yaml"
# Files that flags point to, each by its name in the request.
FILES = CONFIG_DIRECTORY + "/files"
NODE_PASSWORD_DIRECTORY = "/etc/rancher/node"  # noqa: S105 - a place

SYSTEMD_DIRECTORY = "/etc/systemd/system"
DATA = "/var/lib/rancher/k3s"
IMAGES = DATA + "/agent/images"
KUBELET_KUBECONFIG = DATA + "/agent/kubelet.kubeconfig"
CLUSTER_SERVER_TOKEN = DATA + "/server/token"
CLUSTER_AGENT_TOKEN = DATA + "/server/agent-token"

CONTAINERD_CONFIG = DATA + "/agent/etc/containerd"
# K3s makes containerd's configuration of the one for its version (docs.k3s.io, advanced: Configuring containerd).
CONTAINERD_TEMPLATES = ("config.toml.tmpl", "config-v3.toml.tmpl")
KUBELET_DROP_INS = DATA + "/agent/etc/kubelet.conf.d"
ENCRYPTION_CONFIG = DATA + "/server/cred/encryption-config.json"

KUBELET = "/var/lib/kubelet"
CNI = "/var/lib/cni"
# What K3s and its kubelet leave in all, the deepest first where one lies in another.
LEFT_BY_K3S = (
    CONFIG_DIRECTORY,
    NODE_PASSWORD_DIRECTORY,
    "/run/k3s",
    "/run/flannel",
    KUBELET,
    CNI,
    "/var/log/pods",
    "/var/log/containers",
    DATA,
)
# Folders of the data directory in which only K3s writes, and which people put on other disks; the deepest first.
WRITTEN_BY_K3S = (DATA + "/server/db", DATA + "/server", DATA + "/agent/containerd", DATA + "/agent", DATA + "/data")
CONTAINERD_STATE = "/run/containerd"
# Where containerd 2 listens for plugins, by the name that it binds.
NRI_STATE = "/run/nri"
NRI_BOUND = "/var/run/nri"
# Removed only when nothing else is in them, the deepest first.
SHARED_DIRECTORIES = (
    "/etc/rancher",
    "/var/lib/rancher",
    CONTAINERD_STATE + "/runc",
    CONTAINERD_STATE + "/s",
    CONTAINERD_STATE,
    NRI_STATE,
    "/run/netns",
)

HOSTS = "/etc/hosts"
CLOUD_INIT_TEMPLATES = "/etc/cloud/templates"

PROGRAM_DIRECTORY = "/usr/local/lib/productive-k3s"
STAGED = PROGRAM_DIRECTORY + "/artifacts"
RUN_DIRECTORY = "/run/productive-k3s"
# Locks lie where nobody but root can put or hold anything.
LOCK = RUN_DIRECTORY + "/lock"
TRIAL_LOCK = RUN_DIRECTORY + "/trial.lock"


def unit_file(unit: str) -> str:
    """Return where the unit lies."""
    return f"{SYSTEMD_DIRECTORY}/{unit}.service"


def environment_file(unit: str) -> str:
    """Return where the unit's environment file lies."""
    return f"{SYSTEMD_DIRECTORY}/{unit}.service.env"


def uninstall_script(unit: str) -> str:
    """Return where the uninstall script lies."""
    return f"{BINARY_DIRECTORY}/{unit}-uninstall.sh"


def staged(sha256: str, name: str) -> str:
    """Return where a staged artefact lies."""
    return f"{STAGED}/{sha256}/{name}"


def file_for_flags(name: str) -> str:
    """Return where a file of the request lies: all in one place, but templates of containerd's where K3s looks."""
    return f"{CONTAINERD_CONFIG if name in CONTAINERD_TEMPLATES else FILES}/{name}"


def running_record(unit: str) -> str:
    """Return where it is noted what the running process was started with."""
    return f"{RUN_DIRECTORY}/{unit}.json"
