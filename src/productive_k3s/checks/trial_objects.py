"""PURE: the objects of a trial: on every node a pod that answers and one that asks, and a Service before each answer.

A Service for each answering pod, not one for all: which pod answers behind a shared one is chance, and the question is
whether every node reaches every node. All pods keep to the restricted pod security standard, so that a hardened cluster
takes them, and end by themselves, so that a trial whose program was killed leaves nothing that runs.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Dict, Mapping, Optional, Sequence, Tuple

LABEL, PURPOSE = "productive-k3s.io/purpose", "validate"
MADE_ON, ENDS = "productive-k3s.io/made-on", "productive-k3s.io/ends"
PREFIX = "productive-k3s-validate-"
PORT = 8080
# K3s brings this image along for its local storage provisioner (k3s-io/k3s, manifests/local-storage.yaml).
_IMAGE = "rancher/mirrored-library-busybox:1.36.1"
_NOBODY = 65534
_ENDS_SECONDS = 120

# Process 1 gets no signal that it did not ask for: httpd in its place would be killed only after the grace period.
ANSWER = f"""
trap 'exit 0' TERM
mkdir -p /trial/www && printf %s "$NODE" > /trial/www/index.html && httpd -f -p {PORT} -h /trial/www &
wait
"""

# wget's own -T ends busybox 1.35 with a segmentation fault, and its `timeout` counts in whole seconds. Where a name does not resolve the
# address is asked, so that DNS and the way to the other node are two findings. Only what failed is asked again. In the
# first seconds, in which pods and the rules of their Services come up, a lost packet is not waited for (a connection
# sends its next one after 1 s), and after one failure the others are not asked: it would be the same.
ASK = rf"""
bounded() {{
  "$@" 2>&1 & job=$!
  {{ sleep "$patience" && kill "$job"; }} > /dev/null 2>&1 & bound=$!
  wait "$job"; code=$?
  kill "$bound" 2> /dev/null; return "$code"
}}
fetch() {{ bounded wget -q -O - "http://$1:{PORT}/"; }}
resolves() {{ bounded nslookup "$1" | grep -qwF -- "$2"; }}
began=$(date +%s) before=''
ends=$((began + LIMIT))
while :; do
  left='' report='' patience=2
  [ $(($(date +%s) - began)) -gt 3 ] || patience=0.4
  for target in $TARGETS; do
    if [ -n "$left" ] && [ "$patience" != 2 ]; then left="$left $target"; continue; fi
    index="${{target%%=*}}" rest="${{target#*=}}"
    node="${{rest%%=*}}" address="${{rest#*=}}" name="answer-$index.$DOMAIN."
    if [ "$(date +%s)" -ge "$ends" ]; then
      # What the last round found says more than that this one came to no end.
      [ -z "$before" ] || {{ report="$before"; break 2; }}
      left="$left $target" report="$report$index late\n"
      continue
    fi
    host="$address" why=''
    case "$host" in *:*) host="[$host]" ;; esac
    if [ -n "$DNS" ]; then
      if resolves "$name" "$address"; then host="$name"; else why="$index dns\n"; fi
    fi
    # From 128 on it was killed, and what is said is the shell's own word for that.
    said="$(fetch "$host")" || [ $? -lt 128 ] || said=''
    [ "$said" = "$node" ] || why="$why$index answer $(printf %s "$said" | head -c 60 | tr '\n%\\' '   ')\n"
    [ -z "$why" ] || left="$left $target" report="$report$why"
  done
  [ -n "$left" ] && [ "$(date +%s)" -lt "$ends" ] || break
  TARGETS="$left" before="$report"
  sleep 0.2 || sleep 1
done
printf "${{report:-ok}}" | head -c 3500 > "${{REPORT:-/dev/termination-log}}"
"""


@dataclass(frozen=True)
class Trial:
    """One trial: where, on which nodes, with what. `dns` False: the cluster has no DNS to try.

    `seconds` bounds the asking, which begins once all nodes are Ready or, after `nodes_seconds`, with those that are.
    """

    namespace: str
    made_on: str
    nodes: Tuple[str, ...]
    image: str
    seconds: float
    nodes_seconds: float = 0.0
    cluster_domain: str = "cluster.local"
    dns: bool = True

    @property
    def ends_seconds(self) -> int:
        """After how long nothing of it runs any more, whatever became of who made it."""
        return int(self.nodes_seconds + self.seconds) + _ENDS_SECONDS


def choose_image(wanted: str, registry: str, helper_pod: str) -> str:
    """Return the image to run: the one that is asked for, the one this K3s names for its helper pod, or the usual one.

    `helper_pod` is the text of that pod in ConfigMap local-path-config; `registry` is system-default-registry.
    """
    named = re.search(r"^\s*image:\s*[\"']?([^\s\"']+)", helper_pod, re.MULTILINE)
    return wanted or (named.group(1) if named else f"{registry or 'docker.io'}/{_IMAGE}")


def namespace_path(name: str) -> str:
    """Return the API path of a namespace."""
    return f"/api/v1/namespaces/{name}"


def namespace(trial: Trial, now: float) -> Dict[str, Any]:
    """Return the namespace that holds all the rest. It says who made it and when it has ended for sure."""
    ends = str(int(now) + trial.ends_seconds)
    return {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {
            "name": trial.namespace,
            "labels": {LABEL: PURPOSE},
            "annotations": {MADE_ON: trial.made_on, ENDS: ends},
        },
    }


def leftovers(namespaces: Sequence[Mapping[str, Any]], made_on: str, now: float) -> Tuple[str, ...]:
    """Return the namespaces of trials that nobody drives any more.

    Whoever calls this holds the host's lock for trials, so what was made on this host is left over; what another host
    made is so only when its time is up. One that is being deleted already needs nobody.
    """
    names = []
    for item in namespaces:
        metadata = item.get("metadata", {})
        notes = metadata.get("annotations", {})
        ours = metadata.get("labels", {}).get(LABEL) == PURPOSE and metadata.get("name", "").startswith(PREFIX)
        ends = notes.get(ENDS, "")
        over = not ends.isdigit() or int(ends) < now
        ends_already = bool(metadata.get("deletionTimestamp"))
        if ours and not ends_already and (notes.get(MADE_ON) == made_on or over):
            names.append(metadata["name"])
    return tuple(names)


def service(trial: Trial, index: int) -> Dict[str, Any]:
    """Return the Service before one answering pod."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": f"answer-{index}", "namespace": trial.namespace},
        "spec": {
            "selector": {"answer": str(index)},
            "ports": [{"name": "http", "port": PORT, "protocol": "TCP", "targetPort": PORT}],
        },
    }


def answer(trial: Trial, index: int) -> Dict[str, Any]:
    """Return the pod that answers over HTTP with the name of its node, as the kubelet tells it."""
    node: Dict[str, Any] = {"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}
    pod = _pod(trial, f"answer-{index}", trial.nodes[index], ANSWER, [node])
    pod["metadata"]["labels"] = {"answer": str(index)}
    pod["spec"]["containers"][0]["ports"] = [{"containerPort": PORT, "protocol": "TCP"}]
    return pod


def ask(trial: Trial, index: int, addresses: Sequence[str]) -> Dict[str, Any]:
    """Return the pod that asks every answering pod; `addresses` are the Services', in the order of the nodes.

    What it found is its termination message: `ok`, or lines `<index> <cause>` for the nodes that were not reached.
    """
    targets = " ".join(f"{at}={node}={addresses[at]}" for at, node in enumerate(trial.nodes))
    environment = {
        "TARGETS": targets,
        "DOMAIN": f"{trial.namespace}.svc.{trial.cluster_domain}",
        "DNS": "yes" if trial.dns else "",
        "LIMIT": str(max(5, int(trial.seconds / 2))),
    }
    values = [{"name": name, "value": value} for name, value in environment.items()]
    return _pod(trial, f"ask-{index}", trial.nodes[index], ASK, values)


def _pod(trial: Trial, name: str, node: str, script: str, environment: Sequence[Mapping[str, Any]]) -> Dict[str, Any]:
    container = {
        "name": "trial",
        "image": trial.image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["sh", "-c", script],
        "env": list(environment),
        "volumeMounts": [{"name": "trial", "mountPath": "/trial"}],
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": trial.namespace},
        "spec": {
            # Set here, past the scheduler: a cordoned node is tried as well.
            "nodeName": node,
            "tolerations": [{"operator": "Exists"}],
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "terminationGracePeriodSeconds": 1,
            "activeDeadlineSeconds": trial.ends_seconds,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": _NOBODY,
                "runAsGroup": _NOBODY,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [container],
            "volumes": [{"name": "trial", "emptyDir": {}}],
        },
    }


def message(pod: Optional[Mapping[str, Any]]) -> Optional[str]:
    """Return what an asking pod found, None as long as it asks."""
    for container in (pod or {}).get("status", {}).get("containerStatuses", ()):
        ended = container.get("state", {}).get("terminated")
        if ended is not None:
            return str(ended.get("message") or f"ended with {ended.get('exitCode')} without a word")
    return None
