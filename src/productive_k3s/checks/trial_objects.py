"""PURE: the objects of a trial: on every node a pod that answers and asks, and a Service before each.

The endpoints of the Services and the account of the pods are made here too, so that nothing waits for controllers.
A Service for each pod, not one for all: which pod answers behind a shared one is chance, and the question is whether
every node reaches every node, itself too. All pods keep to the restricted pod security standard, so that a hardened
cluster takes them, and have a deadline, so that a trial whose program was killed leaves nothing that runs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

LABEL, PURPOSE = "productive-k3s.io/purpose", "validate"
MADE_ON, ENDS = "productive-k3s.io/made-on", "productive-k3s.io/ends"
PREFIX = "productive-k3s-validate-"
PORT = 8080
ACCOUNT = "trial"
_NOBODY = 65534
_ENDS_SECONDS = 120

# Every round leaves its report in the log between these lines: the shell writes there too, of what it ends.
BEGIN, END = "begin of report", "end of report"

# Process 1 gets no signal that it did not ask for, hence the trap. wget's own -T ends busybox 1.35 with a segmentation
# fault, and its `timeout` counts in whole seconds. Where a name does not resolve the address is asked, so that DNS and
# the way to the other node are two findings. Only what failed is asked again. In the first seconds, in which pods and
# the rules of their Services come up, a lost packet is not waited for (a connection sends its next one after 1 s), and
# after one failure the others are not asked: it would be the same. Later a round asks all it has time for, those first
# that the last one did not come to.
SCRIPT = rf"""
trap 'exit 0' TERM
www="${{PLACE:-/trial}}/www"
mkdir -p "$www" && printf %s "$NODE" > "$www/index.html" && httpd -f -p {PORT} -h "$www" &
bounded() {{
  "$@" 2>&1 & job=$!
  {{ sleep "$patience" && kill "$job"; }} > /dev/null 2>&1 & bound=$!
  wait "$job"; code=$?
  kill "$bound" 2> /dev/null; return "$code"
}}
fetch() {{ bounded wget -q -O - "http://$1:{PORT}/"; }}
resolves() {{ bounded nslookup "$1" | grep -qwF -- "$2"; }}
started=$(date +%s)
while [ -n "$TARGETS" ]; do
  failed='' later='' report='' patience=0.3 round=$(date +%s)
  [ $((round - started)) -lt 15 ] || patience=2
  for target in $TARGETS; do
    if [ -n "$failed" ] && [ "$patience" = 0.3 ]; then later="$later $target"; continue; fi
    index="${{target%%=*}}" rest="${{target#*=}}"
    node="${{rest%%=*}}" address="${{rest#*=}}" name="answer-$index.$DOMAIN."
    if [ $(($(date +%s) - round)) -ge 20 ]; then later="$later $target" report="$report$index late\n"; continue; fi
    host="$address" why=''
    case "$host" in *:*) host="[$host]" ;; esac
    if [ -n "$DNS" ]; then
      if resolves "$name" "$address"; then host="$name"; else why="$index dns\n"; fi
    fi
    # From 128 on it was killed, and what is said is the shell's own word for that.
    said="$(fetch "$host")" || [ $? -lt 128 ] || said=''
    [ "$said" = "$node" ] || why="$why$index answer $(printf %s "$said" | head -c 60 | tr '\n%\\' '   ')\n"
    [ -z "$why" ] || failed="$failed $target" report="$report$why"
  done
  printf "{BEGIN}\n${{report:-ok}}\n{END}\n"
  TARGETS="$later$failed"
  [ -z "$TARGETS" ] || sleep 0.1 || sleep 1
done
wait
"""


@dataclass(frozen=True)
class Trial:
    """One trial: where, on which nodes, with what. `dns` False: the cluster has no DNS to try.

    `dns_is_expected`: this K3s deploys one. `may_pull`: the nodes reach a registry.
    `seconds` bounds the asking, which is waited for once all nodes are Ready or, after `nodes_seconds`, those that are.
    """

    namespace: str
    made_on: str
    nodes: Tuple[str, ...]
    seconds: float
    nodes_seconds: float = 0.0
    cluster_domain: str = "cluster.local"
    dns: bool = True
    dns_is_expected: bool = True
    may_pull: bool = True

    @property
    def ends_seconds(self) -> int:
        """After how long nothing of it runs any more, whatever became of who made it."""
        return int(self.nodes_seconds + self.seconds) + _ENDS_SECONDS


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


def account_path(trial: Trial) -> str:
    """Return the API path of the pods' account."""
    return f"{namespace_path(trial.namespace)}/serviceaccounts/{ACCOUNT}"


def account(trial: Trial) -> Dict[str, Any]:
    """Return the account of the pods: pods are refused until there is one, and that of each namespace comes later."""
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": ACCOUNT, "namespace": trial.namespace},
        "automountServiceAccountToken": False,
    }


def service(trial: Trial, index: int) -> Dict[str, Any]:
    """Return the Service before the pod of one node. It selects nothing: its endpoints are ours."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": f"answer-{index}", "namespace": trial.namespace},
        "spec": {"ports": [{"name": "http", "port": PORT, "protocol": "TCP", "targetPort": PORT}]},
    }


def endpoints_path(trial: Trial, index: int) -> str:
    """Return the API path of a Service's endpoints."""
    return f"/apis/discovery.k8s.io/v1/namespaces/{trial.namespace}/endpointslices/answer-{index}"


def endpoints(trial: Trial, index: int, address: str) -> Dict[str, Any]:
    """Return the endpoints of a Service: the one pod behind it (kubernetes.io, Services without selectors)."""
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": f"answer-{index}",
            "namespace": trial.namespace,
            "labels": {
                "kubernetes.io/service-name": f"answer-{index}",
                "endpointslice.kubernetes.io/managed-by": "productive-k3s.io",
            },
        },
        "addressType": "IPv6" if ":" in address else "IPv4",
        "endpoints": [{"addresses": [address], "conditions": {"ready": True}, "nodeName": trial.nodes[index]}],
        "ports": [{"name": "http", "port": PORT, "protocol": "TCP"}],
    }


def pod(trial: Trial, index: int, addresses: Sequence[str], image: str) -> Dict[str, Any]:
    """Return the pod of one node: it answers over HTTP with the node's name, and asks all such pods.

    `addresses` are those of the Services, in the order of the nodes. What it found is in its log: `ok`, or lines
    `<index> <cause>` for the nodes that were not reached.
    """
    values = {
        "TARGETS": " ".join(f"{at}={node}={addresses[at]}" for at, node in enumerate(trial.nodes)),
        "DOMAIN": f"{trial.namespace}.svc.{trial.cluster_domain}",
        "DNS": "yes" if trial.dns else "",
    }
    environment: List[Dict[str, Any]] = [{"name": name, "value": value} for name, value in values.items()]
    environment.append({"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}})
    made = _pod(trial, pod_name(index), trial.nodes[index], image, environment)
    made["spec"]["containers"][0]["ports"] = [{"containerPort": PORT, "protocol": "TCP"}]
    return made


def pod_name(index: int) -> str:
    """Return the name of the pod on one node."""
    return f"trial-{index}"


def _pod(trial: Trial, name: str, node: str, image: str, environment: Sequence[Mapping[str, Any]]) -> Dict[str, Any]:
    container = {
        "name": "trial",
        "image": image,
        # Where nobody can pull, an image that is not there is an answer at once, and no wait.
        "imagePullPolicy": "IfNotPresent" if trial.may_pull else "Never",
        "command": ["sh", "-c", SCRIPT],
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
            "serviceAccountName": ACCOUNT,
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


def reported(log: str) -> Optional[str]:
    """Return what a pod found in its last whole round, from its log; None if there was none yet."""
    before, end, _ = log.rpartition(f"\n{END}\n")
    _, begin, report = before.rpartition(f"{BEGIN}\n")
    return report if begin and end else None


def ended(pod: Optional[Mapping[str, Any]]) -> str:
    """Return how a pod ended that never ends by itself, '' if it did not."""
    for container in (pod or {}).get("status", {}).get("containerStatuses", ()):
        state = container.get("state", {}).get("terminated")
        if state is not None:
            return str(state.get("message") or f"ended with {state.get('exitCode')} without a word")
    return ""
