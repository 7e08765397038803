"""K3s as facts: what lies there, by whom, what runs; and that no secret is among it."""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import json

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from productive_k3s.contract.codec import encode
from productive_k3s.contract.facts import ClusterFacts
from productive_k3s.contract.failure import ContractError
from productive_k3s.contract.secret import secret_digest, value_digest
from productive_k3s.effects.start import running_record
from productive_k3s.facts import k3s, start
from productive_k3s.k3s import paths
from productive_k3s.plan import uninstall
from productive_k3s.plan.changes import assess
from static.contract_program.hosts import CA, TOKEN, server
from static.contract_program.simulated import NOW, STARTED_SECONDS, LiveMachine, Machine

INSTALL_SCRIPT_UNIT = """[Unit]
Description=Lightweight Kubernetes
[Service]
Type=notify
EnvironmentFile=-/etc/default/%N
EnvironmentFile=-/etc/systemd/system/k3s-agent.service.env
ExecStart=/usr/local/bin/k3s \\
    agent \\
\t'--node-label' \\
\t'a=b' \\
\t'--token' \\
\t'hidden-on-the-unit' \\

"""


def everything(machine: Machine) -> str:
    return json.dumps(encode(machine.facts()))


def record(machine: Machine) -> None:
    """Note the start as the program does after it."""
    facts = machine.facts()
    assert facts.k3s.on_disk
    document = running_record("i1", facts.k3s.on_disk)
    document["large_files"] = start.large_files(facts.k3s, facts.host.time)
    machine.system.put({paths.running_record("k3s"): json.dumps(document)})


def test_a_live_server() -> None:
    machine = LiveMachine()
    found = machine.facts().k3s
    unit = found.units[0]
    assert (found.role, found.installed_by, found.binary_version) == ("server", "productive-k3s", "v1.34.4+k3s1")
    assert (unit.name, unit.active_state, unit.enabled, unit.main_pid, unit.restarts) == ("k3s", "active", True, 77, 2)
    assert (unit.started, unit.active_since) == (STARTED_SECONDS, STARTED_SECONDS)
    assert (unit.arguments, unit.drop_ins, unit.need_daemon_reload) == (("server",), (), False)
    assert [item.path for item in unit.environment_files] == [paths.environment_file("k3s")]
    assert found.written_by.startswith("# Written by productive-k3s")
    assert found.config["node-name"] == ["node-1"]
    assert found.config_sources["node-name"] == paths.CONFIG
    assert found.binary
    assert found.binary.sha256 == hashlib.sha256(b"the binary").hexdigest()
    assert found.leftovers == ()


def test_the_cluster_is_asked_on_a_live_server_only() -> None:
    machine = LiveMachine()
    assert machine.facts().cluster == ClusterFacts(True, "", "v1.34.4+k3s1", ())
    assert machine.asked == [paths.ADMIN_KUBECONFIG]
    machine.units.set("k3s", ActiveState="activating")
    assert machine.facts().cluster is None


def test_what_runs_if_nothing_changed_since_the_start() -> None:
    found = LiveMachine().facts().k3s
    assert found.running
    assert (found.running.source, found.running.digests) == ("unchanged", found.on_disk)


@pytest.mark.parametrize(
    "path",
    [
        paths.BINARY,
        paths.CONFIG,
        paths.environment_file("k3s"),
        paths.unit_file("k3s"),
        paths.REGISTRIES,
        f"{paths.CONFIG}.d/late.yaml",
    ],
)
def test_what_runs_is_unknown_once_a_file_changed(path: str) -> None:
    machine = LiveMachine()
    machine.system.put({path: "node-name: node-1\n"}, changed=STARTED_SECONDS + 1)
    found = machine.facts().k3s
    assert found.running
    assert (found.running.source, found.running.digests) == ("unknown", None)


def test_a_drop_in_that_was_removed_after_the_start() -> None:
    machine = LiveMachine()
    machine.system.put({f"{paths.CONFIG}.d/x.txt": ""})
    found = machine.facts().k3s
    assert found.running
    assert found.running.source == "unknown"


def test_what_runs_is_what_was_recorded_for_this_invocation() -> None:
    machine = LiveMachine()
    record(machine)
    before = machine.facts().k3s
    machine.system.put({paths.CONFIG: "node-name: node-1\ndebug: true\n"})
    found = machine.facts().k3s
    assert found.running
    assert found.on_disk
    assert (found.running.source, found.running.digests) == ("recorded", before.on_disk)
    assert found.on_disk.config != found.running.digests.config  # type: ignore[union-attr]
    machine.units.set("k3s", InvocationID="i2")
    later = machine.facts().k3s.running
    assert later
    assert later.source == "unknown"


@pytest.mark.parametrize("text", ["", "no json", "[]", '{"schema": 2}', '{"schema": 1, "invocation_id": "i1"}'])
def test_a_record_that_says_nothing_is_none(text: str) -> None:
    machine = LiveMachine()
    machine.system.put({paths.running_record("k3s"): text})
    found = machine.facts().k3s.running
    assert found
    assert found.source == "unchanged"


def test_nothing_runs_between_two_tries() -> None:
    machine = LiveMachine()
    machine.units.set("k3s", ActiveState="activating", SubState="auto-restart", MainPID="0")
    assert machine.facts().k3s.running is None


def test_large_files_are_read_once_and_the_binary_is_asked_once() -> None:
    machine = LiveMachine()
    machine.system.put({f"{paths.IMAGES}/images.tar": b"images"}, changed=NOW - 7200)
    record(machine)
    read: list[str] = []
    sha256 = machine.system.sha256

    async def counted(path: str) -> str | None:
        read.append(path)
        return await sha256(path)

    machine.system.sha256 = counted  # type: ignore[method-assign]
    machine.system.commands.clear()
    found = machine.facts().k3s
    assert read == []
    assert not any(command.argv[0] == paths.BINARY for command in machine.system.commands)
    assert (found.binary_version, found.images[0].sha256) == ("v1.34.4+k3s1", hashlib.sha256(b"images").hexdigest())
    machine.system.put({paths.BINARY: b"another"})
    machine.system.script(paths.BINARY, "--version", stdout="k3s version v1.35.0+k3s1 (x)\n")
    found = machine.facts().k3s
    assert read == [paths.BINARY]
    assert found.binary_version == "v1.35.0+k3s1"


@pytest.mark.parametrize("content", [b"", b"another architecture's"])
def test_a_binary_that_cannot_be_run_can_be_replaced_and_removed(content: bytes) -> None:
    """An empty file after a loss of power, or one of another architecture: exec says ENOEXEC."""
    machine = LiveMachine()
    machine.system.put({paths.BINARY: content}, mode=0o755)
    machine.system.script(paths.BINARY, "--version", returncode=126, stderr="Exec format error")
    facts = machine.facts()
    assert (facts.k3s.binary is not None, facts.k3s.binary_version) == (True, "")
    found = assess(server(), facts)
    assert found.vetoes == ()
    assert ("binary", "install-binary") in [(change.id, change.action) for change in found.changes]


def test_a_file_that_is_too_young_is_not_noted() -> None:
    machine = LiveMachine()
    machine.system.put({paths.BINARY: b"young"})
    facts = machine.facts()
    assert start.large_files(facts.k3s, facts.host.time)["files"] == []


def test_an_agent_of_the_install_script() -> None:
    machine = Machine()
    unit = paths.unit_file("k3s-agent")
    machine.system.put(
        {
            unit: INSTALL_SCRIPT_UNIT,
            paths.environment_file(
                "k3s-agent"
            ): "K3S_TOKEN='hidden-in-the-environment'\nK3S_URL='https://10.0.0.11:6443'\n",
            paths.uninstall_script("k3s-agent"): "#!/bin/sh\nset -x\n",
            f"{paths.DATA}/agent/server-ca.crt": "the CA\n",
            f"{paths.NODE_PASSWORD_DIRECTORY}/password": "hidden",
        }
    )
    machine.units.set("k3s-agent", LoadState="loaded", ActiveState="active", MainPID="5", FragmentPath=unit)
    found = machine.facts().k3s
    assert (found.role, found.installed_by, found.written_by) == ("agent", "install-script", "")
    assert found.units[0].arguments == ("agent", "--node-label", "a=b", "--token", "***")
    assert (found.config["node-label"], found.config["token"]) == (["a=b"], [value_digest("hidden-on-the-unit")])
    assert found.config_sources["token"] == "unit"
    assert found.ca_hash == hashlib.sha256(b"the CA\n").hexdigest()
    assert found.has_node_password
    assert found.units[0].environment_files[0].text == "K3S_TOKEN=***\nK3S_URL=https://10.0.0.11:6443\n"
    assert "hidden" not in everything(machine)


def test_no_secret_of_any_file_is_among_the_facts() -> None:
    machine = LiveMachine()
    machine.system.put(
        {
            f"{paths.CONFIG}.d/a.yaml": "token: hidden1\n# agent-token: hidden2\ndatastore-endpoint: >-\n  postgres://u:hidden3@h\n",
            f"{paths.CONFIG}.d/b.yaml": "etcd-s3-secret-key: {x: hidden4}\nmy-password: hidden5\n",
            "/etc/default/k3s": "K3S_TOKEN=hidden6\nHTTP_PROXY=http://u:hidden7@h:1\nOTHER='hidden8'\n",
            "/etc/systemd/system/k3s.service.d/x.conf": "[Service]\nEnvironment=K3S_AGENT_TOKEN=hidden9 A=b\n",
            paths.REGISTRIES: "configs:\n  x: {auth: {password: hidden0}}\n",
            paths.SERVER_TOKEN: "hidden-token\n",
        }
    )
    machine.units.set("k3s", DropInPaths="/etc/systemd/system/k3s.service.d/x.conf")
    text = everything(machine)
    assert "hidden" not in text
    assert "K3S_AGENT_TOKEN=***" in text
    assert "http://***@h:1" in text


def test_a_unit_whose_secret_cannot_be_taken_out_is_not_shown() -> None:
    machine = LiveMachine()
    machine.system.put({paths.unit_file("k3s"): "[Service]\nExecStart=/usr/local/bin/k3s server --token 'a''b'\n"})
    fragment = machine.facts().k3s.units[0].fragment
    assert fragment
    assert fragment.text is None


def test_configuration_that_cannot_be_read() -> None:
    machine = LiveMachine()
    machine.system.put({f"{paths.CONFIG}.d/bad.yaml": "token: hidden\nnode-ip: [1\n"})
    facts = machine.facts()
    assert facts.k3s.config_error.startswith(f"{paths.CONFIG}.d/bad.yaml:3:1: ")
    assert "hidden" not in everything(machine)
    assert "config.unreadable" in [failure.code for failure in assess(server(), facts).vetoes]
    machine = Machine()
    machine.system.put({f"{paths.CONFIG}/oops": ""})
    assert machine.facts().k3s.config_error == f"{paths.CONFIG}: is a directory"


def test_drop_ins_in_order_and_what_k3s_does_not_read() -> None:
    machine = LiveMachine()
    machine.system.put(
        {
            f"{paths.CONFIG}.d/20.yml": "tls-san+: [b]\n",
            f"{paths.CONFIG}.d/10.yaml": "tls-san: [a]\n",
            f"{paths.CONFIG}.d/30.yaml.off": "tls-san: [c]\n",
        }
    )
    found = machine.facts().k3s
    assert found.config["tls-san"] == ["a", "b"]
    assert [item.path.rpartition("/")[2] for item in found.config_files] == ["config.yaml", "10.yaml", "20.yml"]


def test_tokens_by_what_is_no_secret_of_them() -> None:
    machine = LiveMachine()
    machine.system.put({paths.AGENT_TOKEN: f"{TOKEN}\n", paths.SERVER_TOKEN: "short"}, mode=0o600)
    machine.system.put({f"{paths.CONFIG}.d/t.yaml": "token-file: /root/elsewhere\n", "/root/elsewhere": TOKEN})
    found = {item.path: item for item in machine.facts().k3s.tokens}
    assert (found[paths.AGENT_TOKEN].ca_hash, found[paths.AGENT_TOKEN].user) == (CA, "node")
    assert (found[paths.SERVER_TOKEN].ca_hash, found[paths.SERVER_TOKEN].mode) == ("", 0o600)
    # A line break at the end makes no difference to K3s.
    assert found["/root/elsewhere"].sha256 == found[paths.AGENT_TOKEN].sha256 == secret_digest(TOKEN)


def test_commands_that_path_has_count_as_links() -> None:
    machine = Machine()
    machine.system.put({"/usr/bin/ctr": "", "/usr/local/bin/crictl": ""})
    machine.system.put_link("/usr/local/bin/kubectl", "k3s")
    assert machine.facts().k3s.links == {
        "/usr/local/bin/kubectl": "k3s",
        "/usr/local/bin/crictl": "/usr/local/bin/crictl",
        "/usr/local/bin/ctr": "/usr/bin/ctr",
    }


def test_the_datastore_on_disk() -> None:
    machine = LiveMachine()
    assert machine.facts().k3s.datastore is None
    machine.system.put({f"{paths.CONFIG}.d/e.yaml": "datastore-endpoint: postgres://x\n"})
    assert machine.facts().k3s.datastore is None
    machine.system.put({f"{paths.DATA}/server/tls/server-ca.crt": "ca"})
    assert machine.facts().k3s.datastore == "external"
    machine.system.put({f"{paths.DATA}/server/db/state.db": ""})
    assert machine.facts().k3s.datastore == "sqlite"
    machine.system.put({f"{paths.DATA}/server/db/etcd/name": "n"})
    assert machine.facts().k3s.datastore == "etcd"


def certificate(name: str) -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "system:nodes"),
            x509.NameAttribute(NameOID.COMMON_NAME, name, _validate=False),
        ]
    )
    now = dt.datetime(2027, 1, 1, tzinfo=dt.UTC)
    built = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "k3s-client-ca@1795538293")]))
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(now)
        .not_valid_after(now + dt.timedelta(days=365))
        .sign(key, hashes.SHA256())
    )
    return built.public_bytes(serialization.Encoding.PEM)


# Go, and so K3s, writes names longer than the standard has it.
@pytest.mark.filterwarnings("ignore:Attribute's length")
@pytest.mark.parametrize("name", ["a", "node-1.example.org", "n" * 110])
def test_the_nodes_name_is_that_of_its_certificate(name: str) -> None:
    assert k3s.common_name_of_node(certificate(f"system:node:{name}")) == name
    machine = LiveMachine()
    machine.system.put({f"{paths.DATA}/agent/client-kubelet.crt": certificate(f"system:node:{name}")})
    assert machine.facts().k3s.node_name == name


def test_before_a_first_start_a_node_has_no_name() -> None:
    machine = LiveMachine()
    assert machine.facts().k3s.node_name == ""
    machine.system.put({f"{paths.DATA}/server/tls/server-ca.crt": "ca"})
    assert machine.facts().k3s.node_name == "node-1"
    broken = b"-----BEGIN CERTIFICATE-----\n" + base64.b64encode(b"nothing") + b"\n-----END CERTIFICATE-----\n"
    assert k3s.common_name_of_node(broken) == ""
    assert k3s.common_name_of_node(b"") == ""


def test_what_was_staged_is_known_by_its_folder() -> None:
    machine = Machine()
    machine.system.put({paths.staged("f" * 64, "k3s"): b"x", paths.staged("f" * 64, "k3s.partial"): b"x"})
    assert [(item.path, item.sha256) for item in machine.facts().k3s.staged] == [
        (paths.staged("f" * 64, "k3s"), "f" * 64)
    ]


def test_leftovers_are_what_only_k3s_makes() -> None:
    machine = Machine()
    machine.system.put({"/var/lib/kubelet/x": "", f"{paths.DATA}/agent/x": "", paths.environment_file("k3s"): ""})
    assert machine.facts().k3s.leftovers == (paths.DATA, paths.environment_file("k3s"))


@pytest.mark.parametrize(
    "placed",
    [
        f"{paths.IMAGES}/k3s-airgap-images-amd64.tar.zst",
        f"{paths.KUBELET_DROP_INS}/50-cgroup-v1.conf",
        f"{paths.CONTAINERD_CONFIG}/config-v3.toml.tmpl",
        f"{paths.CONTAINERD_CONFIG}/config-v3.toml.d/10-mine.toml",
        f"{paths.DATA}/server/manifests/mine.yaml",
        f"{paths.DATA}/server/manifests/traefik.yaml.skip",
        f"{paths.FILES}/audit.yaml",
    ],
)
def test_what_is_placed_before_a_first_start_is_left_by_nobody(placed: str) -> None:
    machine = Machine()
    machine.system.put({placed: "kind: KubeletConfiguration\n"})
    assert machine.facts().k3s.leftovers == ()
    assert not [note for note in assess(server(), machine.facts()).notes if note.startswith("left by")]
    assert uninstall.changes(machine.facts()) == ()
    # One that ran has left more.
    machine.system.put({f"{paths.DATA}/agent/client-ca.crt": "", f"{paths.DATA}/server/cred/passwd": ""})
    assert machine.facts().k3s.leftovers == (paths.DATA,)


def test_an_environment_file_alone_is_seen_and_gives_no_role() -> None:
    machine = Machine()
    machine.system.put({paths.environment_file("k3s"): "CONTAINERD_LOG_LEVEL=debug\n"})
    found = machine.facts().k3s
    assert found.role is None
    assert [item.path for item in found.units[0].environment_files] == [paths.environment_file("k3s")]


def test_systemd_that_is_too_old_for_microseconds() -> None:
    machine = LiveMachine()
    show = machine.units.show

    def old(command: object) -> object:
        from productive_k3s.doors.system import Completed

        if "--timestamp=us" in command.argv:  # type: ignore[attr-defined]
            return Completed(1, "", "systemctl: unrecognized option '--timestamp=us'")
        machine.units.set("k3s", ExecMainStartTimestamp="Fri 2027-01-15 07:00:00 UTC")
        return show(command)  # type: ignore[arg-type]

    machine.system.script_process(("systemctl", "show"), old)  # type: ignore[arg-type]
    assert machine.facts().k3s.units[0].started == STARTED_SECONDS - 0.25


def test_a_disk_that_cannot_be_read_is_a_failure_with_its_cause() -> None:
    machine = LiveMachine()

    async def broken(_: str) -> str:
        raise OSError(5, "Input/output error", paths.BINARY)

    machine.system.sha256 = broken  # type: ignore[method-assign]
    with pytest.raises(ContractError) as caught:
        machine.facts()
    assert caught.value.failure.code == "host.file-failed"
    assert paths.BINARY in caught.value.failure.evidence
