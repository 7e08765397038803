"""The verb `logs`: what the units said, and no secret of it."""

from __future__ import annotations

import pytest

from productive_k3s.contract.failure import ContractError
from productive_k3s.contract.redaction import REDACTED, redact
from productive_k3s.doors.host import run_to_end
from productive_k3s.k3s import paths
from productive_k3s.verbs import logs
from static.contract_program.hosts import CA, TOKEN
from static.contract_program.simulated import LiveMachine

PEM = "-----BEGIN EC PRIVATE KEY-----\nMHcCAQEEIDecoy0000\n-----END EC PRIVATE KEY-----"


@pytest.mark.parametrize(
    "text",
    [
        f"joining with K10{CA}::server:decoy-000 now",
        "bootstrap token abc123.0123456789decoy0 made",
        f"key:\n{PEM}\n",
        "-----BEGIN PRIVATE KEY-----\ndecoy-000",
        "client-key-data: LS0tLS1CRUdJTiBFQyBQUklWQVRFdecoy0000",
        "proxy http://user:decoy-000@proxy.example:3128",
        "Authorization: Bearer decoy-0000",
        "K3S_TOKEN=decoy-000 k3s agent",
        'msg="started" token="decoy-000"',
        '{"password": "decoy-000", "user": "me"}',
        r'msg="{\"secret-access-key\":\"decoy-000\"}"',
        "k3s server --agent-token decoy-000 --disable traefik",
        "k3s server --etcd-s3-secret-key=decoy-000",
        "auth:\n  password: decoy-000\n",
    ],
)
def test_what_looks_like_a_secret_goes(text: str) -> None:
    found = redact(text)
    assert "decoy" not in found
    assert REDACTED in found


@pytest.mark.parametrize(
    "text",
    [
        "Node token is available at /var/lib/rancher/k3s/server/token",
        "token-file: /etc/rancher/k3s/server.token",
        "k3s server --token-file /etc/rancher/k3s/server.token --disable traefik",
        "https://10.0.0.11:6443/cacerts answers",
        "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----",
        "failed to get token: not authorized",
    ],
)
def test_what_helps_stays(text: str) -> None:
    assert redact(text) == text


def test_known_secrets_go_wherever_they_stand_and_words_stay() -> None:
    assert redact("the word hunter22 and its hunter2 in a word", ["hunter22", "word"]) == (
        f"the word {REDACTED} and its hunter2 in a word"
    )


def machine_with_secrets() -> LiveMachine:
    machine = LiveMachine()
    machine.system.put(
        {
            paths.SERVER_TOKEN: "decoy-server-token\n",
            paths.CLUSTER_AGENT_TOKEN: TOKEN.replace("secret", "decoy-agent-token"),
            f"{paths.NODE_PASSWORD_DIRECTORY}/password": "decoy-node-password",
            paths.environment_file(
                "k3s"
            ): "K3S_DATASTORE_ENDPOINT='decoy-endpoint'\nHTTPS_PROXY=http://u:decoy-p@p:1\n",
            f"{paths.CONFIG}.d/50-s3.yaml": "etcd-s3-secret-key: decoy-s3-key\n",
            paths.REGISTRIES: "configs: {r.example: {auth: {username: me-myself, password: decoy-registry}}}\n",
        }
    )
    return machine


SECRETS = ("decoy-server-token", "decoy-agent-token", "decoy-node-password", "decoy-endpoint", "decoy-s3-key")
MORE = ("decoy-registry", "http://u:decoy-p@p:1")


def test_the_verb_takes_out_what_the_host_knows() -> None:
    machine = machine_with_secrets()
    said = "\n".join(f"a line with {secret} in it" for secret in (*SECRETS, *MORE)) + "\nme-myself\n"
    machine.system.script("journalctl", "-u", "k3s.service", "-n", "7", stdout=said)
    result = run_to_end(logs.run(machine.host(), 7))
    assert result.outcome == "done"
    assert result.data is not None
    text = result.data["k3s"]
    assert "decoy" not in text
    assert text.count(REDACTED) == len((*SECRETS, *MORE))
    assert "me-myself" in text


@pytest.mark.parametrize("since", [1_000_000, -600])
def test_what_was_said_before_a_time_is_left_out(since: int) -> None:
    """A negative time is counted back from the host's own clock, not from that of whoever asks."""
    machine = machine_with_secrets()
    now = int(run_to_end(machine.system.now()))
    wanted = since if since > 0 else now + since
    machine.system.script("journalctl", "-u", "k3s.service", f"--since=@{wanted}", stdout="late decoy-server-token\n")
    result = run_to_end(logs.run(machine.host(), 7, since))
    assert result.data == {"k3s": f"late {REDACTED}\n"}


def test_a_journal_that_cannot_be_read_is_a_note() -> None:
    machine = LiveMachine()
    machine.system.script("journalctl", returncode=1, stderr="no journal here\n")
    result = run_to_end(logs.run(machine.host(), 7))
    assert (result.outcome, result.data) == ("done", {"k3s": ""})
    assert result.notes == ("the journal of k3s cannot be read: no journal here",)


@pytest.mark.parametrize("lines", [0, 20_001])
def test_a_number_of_lines_out_of_range_is_refused(lines: int) -> None:
    with pytest.raises(ContractError) as raised:
        run_to_end(logs.run(LiveMachine().host(), lines))
    assert raised.value.failure.code == "request.flag"
