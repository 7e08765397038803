"""What a running cluster of K3s looks like: a server and two agents; nothing here changes it for others.

Sources are pages of docs.k3s.io, or "observed, SECTION": what a K3s v1.34.3 did; v1.36.3 where that is said.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from datetime import UTC, datetime, timedelta

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

import lab_bed
from lab_bed import Machine

pytestmark = pytest.mark.contract

K = "/var/lib/rancher/k3s"
LEAF_LIFE, CA_LIFE = timedelta(days=365), timedelta(days=3650)
# What the server's agent, controllers and components present, and to whom: file to (common name, organisations).
CLIENTS = {
    "client-admin": ("system:admin", ["system:masters"]),
    "client-controller": ("system:kube-controller-manager", []),
    "client-scheduler": ("system:kube-scheduler", []),
    "client-kube-apiserver": ("system:apiserver", ["system:masters"]),
}


def lines(text: str) -> list[str]:
    return text.splitlines()


def leaf_of(text: str) -> x509.Certificate:
    """Return the first certificate of a chain; those behind it are not read: K3s' authorities have serial number 0."""
    return x509.load_pem_x509_certificate(text.partition(_END)[0].encode() + _END.encode())


_END = "-----END CERTIFICATE-----"


def certificate(cluster, path: str, machine: Machine | None = None) -> x509.Certificate:
    return leaf_of(cluster.on(f"cat {path}", machine))


def is_issued_by(cluster, leaf: x509.Certificate, authority: str) -> bool:
    """Whether a certificate is signed by the authority in a file; openssl on the machine judges."""
    command = f"openssl verify -partial_chain -CAfile {authority} /dev/stdin"
    done = cluster.bed.try_ssh(cluster.server, command, data=leaf.public_bytes(Encoding.PEM))
    return done.returncode == 0


def name_of(certificate: x509.Certificate) -> tuple[str, list[str]]:
    def values(kind: x509.ObjectIdentifier) -> list[str]:
        return [str(one.value) for one in certificate.subject.get_attributes_for_oid(kind)]

    return values(x509.NameOID.COMMON_NAME)[0], values(x509.NameOID.ORGANIZATION_NAME)


def moment(text: str) -> datetime:
    return datetime.strptime(text, "%b %d %H:%M:%S %Y %Z").replace(tzinfo=UTC)


def life_of(certificate: x509.Certificate) -> timedelta:
    return certificate.not_valid_after_utc - certificate.not_valid_before_utc


# --- the command and the unit


def test_version(cluster):
    """`k3s --version`: two lines, the first names version and commit. Source: observed, Commands."""
    first, second = lines(cluster.on("k3s --version"))
    assert re.fullmatch(r"k3s version v\d+\.\d+\.\d+\+\w+ \([0-9a-f]{8}\)", first)
    assert first.split()[2] == cluster.release.version
    assert re.fullmatch(r"go version go\S+", second)


def test_programs_are_unpacked_once_per_version(cluster):
    """data/<hash>/bin holds the programs and data/current names it.

    Source: observed, Commands; install.sh (killall).
    """
    current = cluster.on(f"readlink -f {K}/data/current")
    assert re.fullmatch(rf"{K}/data/[0-9a-f]{{64}}", current)
    assert {"containerd", "runc"} <= set(lines(cluster.on(f"ls {current}/bin")))


def test_shims_run_from_the_data_directory(cluster):
    """Containers hang on shims named <data>/data/<hash>/bin/containerd-shim*. Source: install.sh, killall."""
    assert re.search(rf"{K}/data/[0-9a-f]{{64}}/bin/containerd-shim", cluster.on("ps axww -o args"))


@pytest.mark.parametrize(
    ("role", "line"), [("server", "k3s is up and running"), ("agent", "k3s agent is up and running")]
)
def test_ready_is_notified_when_it_is_up(cluster, role, line):
    """systemd says active only after READY, which K3s sends when it is up and says so. Source: observed, systemd."""
    machine, unit = (cluster.server, "k3s") if role == "server" else (cluster.agents[0], "k3s-agent")
    said = cluster.on(f"journalctl -u {unit} -o cat --no-pager", machine)
    starting, up, active = (said.index(text) for text in (f"Starting {unit}.service", line, f"Started {unit}.service"))
    assert starting < up < active
    assert "StatusText=\n" in cluster.on(f"systemctl show {unit} -p StatusText -p Type", machine) + "\n"


# --- config.yaml


def test_config_and_drop_ins_merge(cluster):
    """Drop-ins in order of their names: the last wins, `key+` appends; only .yaml is read.

    Source: installation/configuration.
    """
    labels = cluster.node("server-1")["metadata"]["labels"]
    assert [labels.get(key) for key in ("first", "second", "third", "not")] == ["1", "2", "3", None]
    arguments = json.loads(cluster.node("server-1")["metadata"]["annotations"]["k3s.io/node-args"])
    assert "k3s.example" in arguments
    assert not {"replaced.example", "dropped.example"} & set(arguments)


def test_a_server_skips_an_unknown_key(cluster):
    """An unknown key in config.yaml is a warning on a server. Source: observed, Log lines."""
    said = lab_bed.log(cluster.bed, cluster.server, "k3s")
    assert "Unknown flag --no-such-flag found in config.yaml, skipping" in said


def test_node_args_name_token_files_and_no_token(cluster):
    """With token-file the annotation shows paths only. Source: observed, what follows for this project."""
    for name in ("server-1", "agent-1"):
        text = cluster.node(name)["metadata"]["annotations"]["k3s.io/node-args"]
        assert json.loads(text)[0] == name.partition("-")[0]
        assert lab_bed.AGENT_TOKEN in text
        assert "-password" not in text


# --- tokens


def test_token_files(cluster):
    """server/token and agent-token are K10<sha256 of the CA file>::<user>:<password>; a newline in the file given does
    no harm. node-token is a link to token. Source: cli/token; observed, Other findings."""
    ca = hashlib.sha256(cluster.on(f"cat {K}/server/tls/server-ca.crt; echo x").removesuffix("x").encode()).hexdigest()
    assert cluster.on(f"cat {K}/server/token") == f"K10{ca}::server:server-password"
    assert cluster.on(f"cat {K}/server/agent-token") == f"K10{ca}::node:agent-password"
    assert cluster.on(f"readlink {K}/server/node-token") == f"{K}/server/token"
    rows = lines(cluster.on(f"cat {K}/server/cred/passwd"))
    assert rows == ["agent-password,node,node,k3s:agent", "server-password,server,server,k3s:server"]


def test_cacerts_answers_everybody(cluster):
    """GET /cacerts is the server's CA, without credentials, on 6443 and through an agent's own 6444.

    Source: cli/token.
    """
    ca = cluster.on(f"cat {K}/server/tls/server-ca.crt")
    assert cluster.on("curl -sk https://127.0.0.1:6443/cacerts") == ca
    assert cluster.on("curl -sk https://127.0.0.1:6444/cacerts", cluster.agents[0]) == ca


@pytest.mark.parametrize(
    ("path", "who", "code"),
    [
        ("/readyz", "", "401"),
        ("/api/v1/nodes", "", "401"),
        ("/v1-k3s/config", "", "403"),
        ("/v1-k3s/config", "-u node:wrong", "401"),
        ("/v1-k3s/config", "-u node:agent-password", "200"),
    ],
)
def test_what_a_stranger_is_answered(cluster, path, who, code):
    """The API says 401, the supervisor 403, and 401 to a wrong password. Source: cli/token; k3s-io/k3s
    pkg/server/auth/auth.go; observed with v1.36.3."""
    url = f"https://{cluster.server.address}:6443{path}"
    assert cluster.on(f"curl -sk {who} -o /dev/null -w '%{{http_code}}' {url}", cluster.agents[0]) == code


# --- certificates


@pytest.mark.parametrize("name", ["server-ca", "client-ca", "request-header-ca"])
def test_authorities(cluster, name):
    """CAs live ten years, are named k3s-<kind>-ca@<unix time> and have the serial number 0.

    Source: cli/certificate; observed, Files and modes; the serial number with v1.36.3.
    """
    words = "-noout -serial -subject -startdate -enddate -nameopt multiline"
    shown = cluster.on(f"openssl x509 -in {K}/server/tls/{name}.crt {words}")
    assert re.search(rf"commonName += k3s-{name}@\d+$", shown, re.MULTILINE)
    begins, ends = (moment(text) for text in re.findall(r"(?:Before|After)=(.*)", shown))
    assert abs(ends - begins - CA_LIFE) < timedelta(days=1)
    # Python's cryptography warns of it, and will refuse it: whoever reads these authorities has to know.
    assert "serial=00" in shown.splitlines()


@pytest.mark.parametrize("name", [*CLIENTS, "serving-kube-apiserver", "etcd/server-client", "etcd/peer-server-client"])
def test_leaves(cluster, name):
    """Leaves live 365 days, and the file holds the CA behind the leaf. Source: cli/certificate; observed, Commands."""
    chain = cluster.on(f"cat {K}/server/tls/{name}.crt")
    leaf, behind = leaf_of(chain), chain.partition(_END)[2].strip()
    authority = {
        "client": "client-ca",
        "serving": "server-ca",
        "etcd/server": "etcd/server-ca",
        "etcd/peer": "etcd/peer-ca",
    }
    path = f"{K}/server/tls/{authority[name.partition('-')[0]]}.crt"
    assert behind == cluster.on(f"cat {path}")
    assert is_issued_by(cluster, leaf, path)
    assert leaf.serial_number > 0
    assert abs(life_of(leaf) - LEAF_LIFE) < timedelta(days=1)
    if name in CLIENTS:
        assert name_of(leaf) == CLIENTS[name]


def test_what_is_presented_on_6443(cluster):
    """The certificate on 6443 is signed by the server's CA and holds the node's name and address, loopback, the
    in-cluster names, the first service address and every tls-san. Source: k3s-io/k3s pkg/cluster and cli/server."""
    shown = cluster.on(f"openssl s_client -connect {cluster.server.address}:6443 -showcerts </dev/null 2>/dev/null")
    leaf = leaf_of("-----BEGIN CERTIFICATE-----" + shown.partition("-----BEGIN CERTIFICATE-----")[2])
    assert is_issued_by(cluster, leaf, f"{K}/server/tls/server-ca.crt")
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert {"server-1", "localhost", "kubernetes", "kubernetes.default.svc.cluster.local", "k3s.example"} <= set(
        names.get_values_for_type(x509.DNSName)
    )
    assert {"127.0.0.1", "::1", "10.43.0.1", "192.0.2.7", cluster.server.address} <= {
        str(address) for address in names.get_values_for_type(x509.IPAddress)
    }


def test_an_agents_certificates(cluster):
    """The kubelet presents its node's name, and is the user system:node:<name>. Source: observed, Files and modes."""
    agent = cluster.agents[0]
    client = certificate(cluster, f"{K}/agent/client-kubelet.crt", agent)
    assert name_of(client) == ("system:node:agent-1", ["system:nodes"])
    assert abs(life_of(client) - LEAF_LIFE) < timedelta(days=1)
    assert name_of(certificate(cluster, f"{K}/agent/serving-kubelet.crt", agent))[0] == "agent-1"


# --- files


def test_modes_on_a_server(cluster):
    """Source: observed, Files and modes."""
    wanted = {
        f"{K}": "755",
        f"{K}/server": "700",
        f"{K}/server/token": "600",
        f"{K}/server/agent-token": "600",
        f"{K}/server/cred/passwd": "600",
        f"{K}/server/cred/admin.kubeconfig": "600",
        f"{K}/server/db": "700",
        f"{K}/server/db/etcd": "700",
        f"{K}/server/db/etcd/name": "600",
        f"{K}/server/manifests": "700",
        f"{K}/server/manifests/rolebindings.yaml": "600",
        f"{K}/server/tls": "700",
        f"{K}/server/tls/etcd": "755",
        f"{K}/server/tls/server-ca.crt": "644",
        f"{K}/server/tls/server-ca.key": "600",
        f"{K}/server/tls/service.key": "600",
        "/etc/rancher/k3s/k3s.yaml": "600",
        "/etc/rancher/node/password": "600",
    }
    found = dict(line.split() for line in lines(cluster.on(f"stat -c '%n %a' {' '.join(wanted)}")))
    assert found == wanted
    assert set(lines(cluster.on(f"stat -c %U:%G {' '.join(wanted)}"))) == {"root:root"}


def test_modes_on_an_agent(cluster):
    """Source: observed, Files and modes."""
    wanted = {
        f"{K}/agent/client-kubelet.crt": "600",
        f"{K}/agent/client-kubelet.key": "600",
        f"{K}/agent/kubelet.kubeconfig": "600",
        f"{K}/agent/etc/k3s-agent-load-balancer.json": "644",
        f"{K}/agent/etc/containerd/config.toml": "644",
        f"{K}/agent/etc/cni/net.d/10-flannel.conflist": "644",
        f"{K}/agent/pod-manifests": "750",
        "/etc/rancher/node/password": "600",
        "/run/flannel/subnet.env": "644",
        "/run/k3s": "711",
        "/run/k3s/containerd/containerd.sock": "660",
    }
    found = cluster.on(f"stat -c '%n %a' {' '.join(wanted)}", cluster.agents[0])
    assert dict(line.split() for line in lines(found)) == wanted
    assert cluster.on("test -e /etc/rancher/k3s/k3s.yaml || echo none", cluster.agents[0]) == "none"


def test_an_agent_remembers_its_servers(cluster):
    """k3s-agent-load-balancer.json lists the servers' addresses. Source: architecture; observed, Files and modes."""
    document = json.loads(cluster.on(f"cat {K}/agent/etc/k3s-agent-load-balancer.json", cluster.agents[0]))
    assert f"{cluster.server.address}:6443" in document["ServerAddresses"]


def test_the_kubeconfig(cluster):
    """k3s.yaml leads to 127.0.0.1:6443 with the CA and an administrator's certificate; all names in it are "default".
    Source: cluster-access."""
    config = yaml.safe_load(cluster.on("cat /etc/rancher/k3s/k3s.yaml"))
    (entry,) = config["clusters"]
    assert entry["cluster"]["server"] == "https://127.0.0.1:6443"
    ca = base64.b64decode(entry["cluster"]["certificate-authority-data"]).decode().strip()
    assert ca == cluster.on(f"cat {K}/server/tls/server-ca.crt")
    user = base64.b64decode(config["users"][0]["user"]["client-certificate-data"])
    assert name_of(leaf_of(user.decode())) == CLIENTS["client-admin"]
    assert [entry["name"], config["users"][0]["name"], config["current-context"]] == ["default"] * 3


def test_ports(cluster):
    """6443 and 10250 are open to all; the components answer on loopback. Source: observed, Files and modes."""
    server = set(lines(cluster.on("ss -Hltn | awk '{print $4}'")))
    assert {"*:6443", "*:10250"} <= server
    assert {
        f"127.0.0.1:{port}" for port in (2379, 2380, 2381, 2382, 6444, 10010, 10248, 10249, 10256, 10257, 10259)
    } <= server
    assert {f"{cluster.server.address}:{port}" for port in (2379, 2380)} <= server
    agent = set(lines(cluster.on("ss -Hltn | awk '{print $4}'", cluster.agents[0])))
    assert {"*:10250", "127.0.0.1:6444", "127.0.0.1:10010", "127.0.0.1:10248"} <= agent
    assert not any(address.endswith(":6443") for address in agent)


def test_etcds_doors(cluster):
    """2379 speaks gRPC only, JSON is on 2382 with a client certificate, health on 2381 for everybody on the host.
    Source: k3s-io/k3s pkg/etcd/etcd.go."""
    tls = f"{K}/server/tls/etcd"
    ask = f"curl -sS -m 5 --cacert {tls}/server-ca.crt --cert {tls}/client.crt --key {tls}/client.key -X POST -d '{{}}'"
    path = "v3/maintenance/status"
    assert json.loads(cluster.on(f"{ask} https://127.0.0.1:2382/{path}"))["leader"]
    answer = cluster.bed.try_ssh(cluster.server, f"{ask} https://127.0.0.1:2379/{path}")
    assert "leader" not in answer.stdout
    without = f"curl -sS -m 5 --cacert {tls}/server-ca.crt -X POST -d '{{}}' https://127.0.0.1:2382/{path}"
    assert cluster.bed.try_ssh(cluster.server, without).returncode != 0
    assert json.loads(cluster.on("curl -sS -m 5 http://127.0.0.1:2381/health"))["health"] == "true"


# --- nodes and pods


def test_labels_of_nodes(cluster):
    """A server has the roles control-plane and etcd, an agent none; both say k3s. Source: observed, Node object."""
    found = {name: cluster.node(name)["metadata"]["labels"] for name in ("server-1", "agent-1", "agent-2")}
    roles = {name: {key for key in labels if key.startswith("node-role.")} for name, labels in found.items()}
    both = {"node-role.kubernetes.io/control-plane", "node-role.kubernetes.io/etcd"}
    assert roles == {"server-1": both, "agent-1": set(), "agent-2": set()}
    assert {labels["node.kubernetes.io/instance-type"] for labels in found.values()} == {"k3s"}
    assert [labels.get("disk") for labels in found.values()] == [None, "ssd", "ssd"]


@pytest.mark.parametrize("name", ["server-1", "agent-1"])
def test_what_a_node_says_of_itself(cluster, name):
    """providerID k3s://<name>, the address and name that were given, the version. Source: observed, Node object."""
    node = cluster.node(name)
    address = {machine.name: machine.address for machine in (cluster.server, *cluster.agents)}[name]
    assert node["spec"]["providerID"] == f"k3s://{name}"
    assert {"type": "InternalIP", "address": address} in node["status"]["addresses"]
    assert node["status"]["nodeInfo"]["kubeletVersion"] == cluster.release.version
    notes = node["metadata"]["annotations"]
    assert [notes["k3s.io/internal-ip"], notes["k3s.io/hostname"]] == [address, name]


def test_a_servers_node_becomes_a_voter(cluster):
    """EtcdIsVoter shows up within half a minute, on servers only. Source: observed, Node object."""
    lab_bed.until(lambda: lab_bed.conditions(cluster.node("server-1")).get("EtcdIsVoter") == "True", 30, "a voter")
    assert "EtcdIsVoter" not in lab_bed.conditions(cluster.node("agent-1"))


def test_kubectl_on_both(cluster):
    """`k3s kubectl` uses k3s.yaml on a server; on an agent it has none and ends with 1. Source: observed, Commands."""
    assert cluster.on("k3s kubectl get --raw /readyz") == "ok"
    assert cluster.bed.try_ssh(cluster.agents[0], "k3s kubectl get nodes").returncode == 1


def test_images_of_the_folder_are_imported(cluster):
    """What lies in agent/images is imported at start. Source: installation/airgap."""
    for machine in (cluster.server, *cluster.agents):
        assert set(cluster.release.image_names) <= set(lines(cluster.on("k3s ctr -n k8s.io images ls -q", machine)))


def test_the_releases_list_of_images(cluster):
    """k3s-images.txt names an image by line, with its registry. Source: installation/airgap; observed with v1.36.3."""
    names = cluster.release.image_names
    assert all(re.fullmatch(r"docker\.io/rancher/[a-z0-9-]+:[\w.-]+", name) for name in names)
    assert {"mirrored-pause", "mirrored-library-busybox", "mirrored-coredns-coredns", "klipper-lb"} <= {
        name.rpartition("/")[2].partition(":")[0] for name in names
    }


def test_a_manifest_is_deployed_and_skip_keeps_one_back(cluster):
    """What is put into server/manifests is applied; <file>.skip holds it back.

    Source: installation/packaged-components.
    """
    body = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: NAME, namespace: default}\n"
    folder = f"{K}/server/manifests"
    cluster.bed.put(cluster.server, f"{folder}/a-kept.yaml.skip", "")
    cluster.bed.put(cluster.server, f"{folder}/a-kept.yaml", body.replace("NAME", "kept"))
    cluster.bed.put(cluster.server, f"{folder}/b-sent.yaml", body.replace("NAME", "sent"))
    lab_bed.until(lambda: cluster.on("k3s kubectl get configmap sent"), 30, "the manifest is applied")
    assert cluster.bed.try_ssh(cluster.server, "k3s kubectl get configmap kept").returncode == 1
    assert "coredns" in cluster.on("k3s kubectl -n kube-system get deployment coredns -o name")


WEB = """
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
        - name: web
          image: IMAGE
          command: [sh, -c, "echo serving; mkdir /www; echo hello > /www/index.html; exec httpd -f -p 80 -h /www"]
          readinessProbe: {tcpSocket: {port: 80}, periodSeconds: 1}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80}]}
"""


@pytest.fixture(scope="module")
def web(cluster):
    """A pod that serves on every node: node name to pod name."""
    image = next(name for name in lines(cluster.on("k3s ctr -n k8s.io images ls -q")) if "busybox" in name)
    lab_bed.kubectl(cluster.bed, cluster.server, "apply -f -", data=WEB.replace("IMAGE", image).encode())
    cluster.on("k3s kubectl rollout status daemonset web --timeout=60s")
    cluster.on("k3s kubectl -n kube-system rollout status deployment coredns --timeout=60s")
    pods = cluster.get("pods -l app=web")["items"]
    return {pod["spec"]["nodeName"]: pod["metadata"]["name"] for pod in pods}


@pytest.mark.parametrize("node", ["server-1", "agent-1", "agent-2"])
def test_pods_reach_services_by_name_from_every_node(cluster, web, node):
    """Cluster DNS and Services work from a pod on each node; so do exec and logs.

    Source: networking/networking-services.
    """
    inside = f"k3s kubectl exec {web[node]} --"
    assert cluster.on(f"k3s kubectl logs {web[node]}") == "serving"
    assert "10.43.0.1" in cluster.on(f"{inside} nslookup kubernetes.default.svc.cluster.local")
    for _ in range(6):  # the Service leads to each of the three pods in turn
        assert cluster.on(f"{inside} wget -qO- http://web.default.svc.cluster.local/") == "hello"


def test_services_answer_on_every_host(cluster, web):
    """A ClusterIP answers from the hosts themselves: kube-proxy runs on each. Source: architecture."""
    address = cluster.get("service web")["spec"]["clusterIP"]
    for machine in (cluster.server, *cluster.agents):
        assert cluster.on(f"for i in 1 2 3 4 5 6; do curl -sS -m 5 http://{address}/; done", machine) == "\n".join(
            ["hello"] * 6
        )
