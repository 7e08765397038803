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


def test_evidence_is_what_was_said() -> None:
    assert diagnosis.message_of('time="a" level=info msg="it \\"said\\" so" x=y') == 'it \\"said\\" so'
    assert diagnosis.last_words(["level=info msg=one", 'level=fatal msg="two"', "three"]) == "two"
