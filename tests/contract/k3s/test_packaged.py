"""The packaged components of a K3s in which nothing is disabled: a server and an agent."""

from __future__ import annotations

import pytest

import lab_bed

pytestmark = pytest.mark.contract

K = "/var/lib/rancher/k3s"
CLAIM = """
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: claim}
spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Mi}}}
---
apiVersion: v1
kind: Pod
metadata: {name: writer}
spec:
  terminationGracePeriodSeconds: 0
  containers:
    - name: writer
      image: IMAGE
      command: [sh, -c, "echo kept > /data/file; exec sleep 3600"]
      volumeMounts: [{name: data, mountPath: /data}]
  volumes: [{name: data, persistentVolumeClaim: {claimName: claim}}]
"""
BALANCED = """
apiVersion: v1
kind: Pod
metadata: {name: web, labels: {app: web}}
spec:
  terminationGracePeriodSeconds: 0
  containers:
    - name: web
      image: IMAGE
      command: [sh, -c, "mkdir /www; echo hello > /www/index.html; exec httpd -f -p 80 -h /www"]
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {type: LoadBalancer, selector: {app: web}, ports: [{port: 8080, targetPort: 80}]}
"""


def busybox(full) -> str:
    return next(name for name in full.release.image_names if "busybox" in name)


def apply(full, text: str) -> None:
    lab_bed.kubectl(full.bed, full.server, "apply -f -", data=text.replace("IMAGE", busybox(full)).encode())


def test_metrics(full):
    """metrics-server measures every node, and the API hands its figures on.

    Source: installation/packaged-components.
    """
    found = lab_bed.until(lambda: full.get("nodes.metrics.k8s.io")["items"], 120, "figures of nodes")
    assert {one["metadata"]["name"] for one in found} <= {"server-1", "agent-1"}
    lab_bed.until(lambda: len(full.get("nodes.metrics.k8s.io")["items"]) == 2, 60, "figures of both nodes")
    service = full.get("apiservice v1beta1.metrics.k8s.io")
    assert lab_bed.conditions(service)["Available"] == "True"


def test_a_volume(full):
    """local-path is the default class: a claim is bound when a pod wants it, and goes with its data.

    The helper pods' image is in ConfigMap local-path-config. Source: storage; installation/packaged-components.
    """
    settings = full.get("configmap local-path-config --namespace kube-system")["data"]
    assert busybox(full).removeprefix("docker.io/") in settings["helperPod.yaml"]
    apply(full, CLAIM)
    full.on("k3s kubectl wait pod writer --for=condition=Ready --timeout=90s")
    claim = full.get("persistentvolumeclaim claim")
    assert (claim["spec"]["storageClassName"], claim["status"]["phase"]) == ("local-path", "Bound")
    volume = full.get(f"persistentvolume {claim['spec']['volumeName']}")
    path = (volume["spec"].get("hostPath") or volume["spec"]["local"])["path"]
    assert path.startswith(f"{K}/storage/")
    node = full.get("pod writer")["spec"]["nodeName"]
    (machine,) = (one for one in (full.server, *full.agents) if one.name == node)
    lab_bed.until(lambda: full.on(f"cat {path}/file", machine) == "kept", 10, "the pod wrote")
    full.on("k3s kubectl delete pod writer --wait=true && k3s kubectl delete persistentvolumeclaim claim")
    gone = f"test ! -e {path} && echo gone"
    lab_bed.until(lambda: full.on(gone, machine) == "gone", 60, "the volume's folder is gone")


def test_a_balanced_service(full):
    """ServiceLB makes a DaemonSet svclb-* with host ports; every node's address is in the Service's status and answers.
    Source: networking/networking-services, Service Load Balancer."""
    apply(full, BALANCED)
    addresses = {machine.address for machine in (full.server, *full.agents)}

    def known() -> bool:
        status = full.get("service web")["status"]["loadBalancer"]
        return {one["ip"] for one in status.get("ingress", [])} == addresses

    lab_bed.until(known, 90, "both nodes' addresses")
    (made,) = full.get("daemonsets --namespace kube-system -l svccontroller.k3s.cattle.io/svcname=web")["items"]
    assert made["metadata"]["name"].startswith("svclb-web-")
    for address in addresses:
        ask = f"curl -sS -m 5 http://{address}:8080/"
        lab_bed.until(lambda ask=ask: full.on(ask, full.agents[0]) == "hello", 30, address)
    full.on("k3s kubectl delete service web && k3s kubectl delete pod web")
    sets = "daemonsets --namespace kube-system -l svccontroller.k3s.cattle.io/svcname=web"
    lab_bed.until(lambda: not full.get(sets)["items"], 30, "the DaemonSet is gone")


def test_what_is_disabled_goes(full):
    """A component that is disabled later is deleted at the next start, its manifest too; the others stay.

    Source: installation/packaged-components.
    """
    ask = "k3s kubectl -n kube-system get deployment --no-headers -o custom-columns=:metadata.name"
    restart_without(full, "metrics-server")
    try:
        lab_bed.until(lambda: "metrics-server" not in full.on(ask), 60, "metrics-server is gone")
        assert {"coredns", "local-path-provisioner"} <= set(full.on(ask).split())
        assert not full.on(f"find {K}/server/manifests -path '*metrics-server*' -type f")
    finally:
        restart_without(full)
    lab_bed.until(lambda: "metrics-server" in full.on(ask), 60, "metrics-server is there again")


def restart_without(full, *names: str) -> None:
    config = lab_bed.server_config(full.server, disable=list(names))
    lab_bed.configure(full.bed, full.server, "server", config, lab_bed.TOKENS)
    lab_bed.start(full.bed, full.server, "server", verb="restart")


def test_the_lab_says_that_traefik_is_missing(full):
    """Only of the lab K3s: in the log of each start, and in its list of images."""
    if not full.release.is_lab:
        pytest.skip("a released K3s has Traefik")
    said = lab_bed.log(full.bed, full.server, "k3s")
    assert "this is the lab K3s, not K3s: the packaged component traefik is missing" in said
    assert not any("traefik" in name for name in full.release.image_names)
