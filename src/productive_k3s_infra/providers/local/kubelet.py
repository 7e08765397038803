"""What the kubelets of machines are told of this computer's kernel, which is theirs.

Kubelets of 1.35 and newer refuse cgroup v1 unless their configuration says that it will do (KEP-5573, failCgroupV1).
A machine cannot have other control groups than this computer has, so the one who makes it says so; K3s hands its
kubelet the folder (docs.k3s.io, advanced: kubelet configuration drop-ins). A host of others is never told.
"""

from __future__ import annotations

from productive_k3s_infra.providers.local.store import MachineFolder

DROP_IN = "k3s/agent/etc/kubelet.conf.d/50-cgroup-v1.conf"
"""Below /var/lib/rancher. Whoever takes K3s' data off the machine takes it along."""
_TEXT = """\
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
failCgroupV1: false
"""


def allow_cgroup_v1(folder: MachineFolder) -> None:
    """Say it to a machine, from outside: it need not run, and may be read-only to itself."""
    path = folder.rancher / DROP_IN
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(_TEXT)
