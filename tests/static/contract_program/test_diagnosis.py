"""Causes read from K3s' own log lines (seen on v1.34.3)."""

from __future__ import annotations

import pytest

from productive_k3s.waits import diagnosis

_LINES = [
    (
        "k3s.token-mismatch",
        (
            'time="x" level=info msg="Waiting to retrieve agent configuration; server is not ready: failed to retrieve '
            'configuration from server: not authorized"'
        ),
    ),
    (
        "k3s.token-mismatch",
        'time="x" level=fatal msg="Error: preparing server: failed to bootstrap cluster data: not authorized"',
    ),
    (
        "k3s.ca-mismatch",
        (
            'time="x" level=error msg="Failed to validate connection to cluster at https://10.77.0.21:6443: '
            'token CA hash does not match the Cluster CA certificate hash: 1 != 2"'
        ),
    ),
    (
        "k3s.unreachable-server",
        (
            'time="x" level=error msg="Failed to validate connection to cluster at https://10.77.0.29:6443: '
            'failed to get CA certs: Get \\"https://127.0.0.1:6444/cacerts\\": read tcp: connection reset by peer"'
        ),
    ),
    (
        "k3s.node-password",
        "Node password rejected, duplicate hostname or contents of '/etc/rancher/node/password' may not match server",
    ),
    ("k3s.unknown-flag", "Incorrect Usage: flag provided but not defined: -no-such-flag"),
    (
        "k3s.port-in-use",
        (
            'time="x" level=fatal msg="Error: preparing server: failed to start supervisor listener: listen tcp :6443: '
            'bind: address already in use"'
        ),
    ),
    ("k3s.no-token", "Error: --token is required"),
    (
        "k3s.token-changed",
        "Failed to reconcile with temporary etcd: bootstrap data already found and encrypted with different token",
    ),
    ("k3s.duplicate-name", "etcd cluster join failed: duplicate node name found, please use a unique name"),
    (
        "k3s.token-changed",
        (
            'time="x" level=fatal msg="Error: preparing server: failed to bootstrap cluster data: failed to reconcile '
            'with local datastore: bootstrap data already found and encrypted with different token"'
        ),
    ),
    (
        "host.cgroup-v1",
        (
            'time="x" level=error msg="Shutdown request received: \\"kubelet exited: failed to validate kubelet '
            "configuration, error: kubelet is configured to not run on a host using cgroup v1. cgroup v1 support is "
            'unsupported and will be removed in a future release, path: &TypeMeta{Kind:,APIVersion:,}\\""'
        ),
    ),
    (
        "k3s.encryption-off",
        (
            'W1128 17:00:00.000000 77 reflector.go:561] "cacher (secrets): unexpected ListAndWatch error: failed to '
            'list: identity transformer tried to read encrypted data"'
        ),
    ),
    ("k3s.cgroups", 'time="x" level=fatal msg="failed to find memory cgroup (v2)"'),
    ("host.disk-full", 'time="x" level=error msg="write /var/lib/rancher/k3s/server/db/x: no space left on device"'),
    (
        "host.clock-skew",
        'time="x" level=error msg="x509: certificate has expired or is not yet valid: current time is before"',
    ),
    ("k3s.image-pull", 'E1128 17:00:00.000000 77 log.go:32] "failed to pull image \\"x\\": not found"'),
    ("k3s.critical-mismatch", "failed to validate server configuration: critical configuration value mismatch between"),
]


@pytest.mark.parametrize(("code", "line"), _LINES)
def test_each_line_names_its_cause(code: str, line: str) -> None:
    assert [failure.code for failure in diagnosis.causes([line, "something else"])] == [code]


def test_an_unreachable_server_may_come_back() -> None:
    assert diagnosis.final_cause([_LINES[3][1]]) is None
    assert diagnosis.final_cause([_LINES[0][1]]) is not None


def test_the_better_cause_comes_first() -> None:
    found = diagnosis.causes([_LINES[3][1], _LINES[2][1]])
    assert [failure.code for failure in found] == ["k3s.ca-mismatch", "k3s.unreachable-server"]


def test_harmless_words_are_no_cause() -> None:
    lines = ['level=warning msg="Skipping cluster configuration validation: not authorized"']
    assert diagnosis.causes(lines) == ()


# Every start of an etcd server logs these, before etcd is up (v1.36.3).
_STARTING = (
    (
        'time="x" level=error msg="Failed to check local etcd status for learner management: rpc error: code = '
        'Unavailable desc = connection error: desc = \\"transport: Error while dialing: dial tcp 127.0.0.1:2379: '
        'connect: connection refused\\""'
    ),
    'time="x" level=error msg="Sending HTTP/1.1 503 response to 127.0.0.1:40042: runtime core not ready"',
    (
        'time="x" level=info msg="Waiting for API server: Get \\"https://127.0.0.1:6444/readyz\\": '
        'dial tcp 127.0.0.1:6444: connect: connection refused"'
    ),
)


def test_a_slow_start_is_not_blamed_on_the_network() -> None:
    assert diagnosis.causes(_STARTING) == ()
    assert [failure.code for failure in diagnosis.causes((*_STARTING, _LINES[3][1]))] == ["k3s.unreachable-server"]


def test_an_agents_way_to_its_server_begins_at_its_own_port() -> None:
    line = (
        'time="x" level=error msg="Failed to validate connection to cluster at https://10.77.0.29:6443: failed to get '
        'CA certs: Get \\"https://127.0.0.1:6444/cacerts\\": dial tcp 127.0.0.1:6444: connect: connection refused"'
    )
    assert [failure.code for failure in diagnosis.causes([line])] == ["k3s.unreachable-server"]


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (('level=error msg="the cause"', *_STARTING), "the cause"),
        (('level=error msg="kubelet exited: why"', 'level=error msg="later"', *_STARTING), "kubelet exited: why"),
        (('level=fatal msg="why"', "k3s.service: Main process exited, code=exited, status=1/FAILURE"), "why"),
        (("E1128 17:00:00.000000 77 run.go:72] why", "level=info msg=busy"), "E1128 17:00:00.000000 77 run.go:72] why"),
        (("level=info msg=busy", "Starting k3s.service - Lightweight Kubernetes..."), "level=info msg=busy"),
        ((_STARTING[0],), "Failed to check local etcd status for learner management"),
        ((), ""),
    ],
)
def test_the_reason_beats_what_every_start_says(lines: tuple[str, ...], said: str) -> None:
    assert diagnosis.last_words(lines).startswith(said)
    assert bool(diagnosis.last_words(lines)) == bool(said)


def test_evidence_is_what_was_said() -> None:
    assert diagnosis.message_of('time="a" level=info msg="it \\"said\\" so" x=y') == 'it \\"said\\" so'
    assert diagnosis.last_words(["level=info msg=one", 'level=fatal msg="two"', "three"]) == "two"
