"""What shows no secret: every look of one, in whatever text it stands, in a time that grows with the text alone."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from productive_k3s.contract.redaction import REDACTED, redact
from productive_k3s_infra.workspace.directory import Workspace
from productive_k3s_infra.workspace.journal import open_journal
from static.contract_program.hosts import CA

# A password as machines make them; what people write in quotes may hold blanks and brackets too.
_PASSWORDS = st.text("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+-_.~!%^", min_size=12, max_size=40)
_QUOTED = st.text(st.characters(codec="utf-8", exclude_characters="\"'\\\n", exclude_categories=["C"]), min_size=12)
# Between words there is something that is no part of them.
_AROUND = st.text("abc xyz\n\t:;,(){}[]<>#", max_size=30)
_NAMES = st.sampled_from(
    [
        *("token", "K3S_TOKEN", "agent-token", "password", "db_passwd", "etcd-s3-secret-key", "client.secret"),
        *("AWS_SECRET_ACCESS_KEY", "aws_session_token", "credentials", "api_key", "private-key", "passphrase"),
    ]
)
_FORMS = [
    lambda name, value: f"{name}={value}",
    lambda name, value: f"{name} = {value}",
    lambda name, value: f'"{name}": "{value}"',
    lambda name, value: json.dumps({"said": json.dumps({name: value})}),
    lambda name, value: f"--{name} {value}",
    lambda name, value: f"--{name}={value}",
    lambda name, value: f"\n{name}: {value}",
    lambda name, value: f"\n  - {name}: '{value}'",
    lambda _, value: f"http://me:{value}@proxy.example:3128/path",
    lambda _, value: f"HTTPS_PROXY=http://me:{value}@[fd00::1]:3128",
    lambda _, value: f"postgres://:{value}@db/k3s?sslmode=verify-full",
    lambda _, value: f"K10{CA}::server:{value}",
    lambda _, value: f"Authorization: {value}",
    lambda _, value: f"Authorization: Basic {base64.b64encode(value.encode()).decode()}",
    lambda _, value: f'proxy-authorization: "{value}"',
    lambda _, value: f"-H 'Bearer {base64.urlsafe_b64encode(value.encode()).decode()}'",
    lambda _, value: f"-----BEGIN OPENSSH PRIVATE KEY-----\n{value}\n-----END OPENSSH PRIVATE KEY-----",
    lambda _, value: f"-----BEGIN PRIVATE KEY-----\n{value}",
    lambda _, value: "key: " + base64.b64encode(f"-----BEGIN RSA PRIVATE KEY-----\n{value}".encode()).decode(),
]


@given(_AROUND, _NAMES, _PASSWORDS, st.sampled_from(_FORMS), _AROUND)
def test_no_secret_gets_through_whatever_stands_around_it(
    before: str, name: str, value: str, form: object, after: str
) -> None:
    value = f"s{value}"  # what begins as a path or a variable is none
    text = form(name, value)  # type: ignore[operator]
    found = redact(f"{before} {text} {after}")
    for shown in (value, base64.b64encode(value.encode()).decode(), base64.urlsafe_b64encode(value.encode()).decode()):
        assert shown not in found
    assert REDACTED in found


@pytest.mark.parametrize("after", ["", " :", " and more"])
def test_a_header_without_a_known_scheme_is_the_secret_itself(after: str) -> None:
    assert "queen" not in redact(f"Authorization: queenbee{after}")
    assert "queen" not in redact(f"Authorization: Hawk queenbee{after}")
    assert redact("Authorization: Bearer queenbee").startswith("Authorization: Bearer [")


@given(_NAMES, _QUOTED, st.sampled_from("\"'"))
def test_in_quotes_all_of_it_goes(name: str, value: str, quote: str) -> None:
    value = f"s{value}"
    assert redact(f"{name}={quote}{value}{quote}") == f"{name}={quote}{REDACTED}{quote}"
    assert f"rest={quote}shown{quote}" in redact(f"{name}={quote}{value}{quote} rest={quote}shown{quote}")


@pytest.mark.parametrize("key", ["AKIAIOSFODNN7EXAMPLE", "ASIAIOSFODNN7EXAMPLE"])
def test_ids_of_access_keys_go(key: str) -> None:
    assert redact(f"signed by {key}.") == f"signed by {REDACTED}."


@pytest.mark.parametrize(
    "text",
    [
        "ssh://ops@10.0.0.11:22 answers",
        "https://mirror.example:8443/k3s/v1.34.4%2Bk3s1?mail=a@example",
        "token = $K3S_TOKEN, password: ${PASSWORD}",
        "agent token of server-1: <agent token of server-1>",
        'password="***"',
        f"sha256 {'a' * 64}, K10",
    ],
)
def test_what_is_none_stays(text: str) -> None:
    assert redact(text) == text


# Each of these takes minutes to hours where the time grows with the square of the length; all together take seconds.
_LONG = 100_000
_PIECES = (
    *("a", "token", "a-", "token-", "token.", "token=", '"token"', "token: ", "--token", "--token ", "-- ", "secret\\"),
    *(" ", "\n", "\t", " \n", "'", '"', "\\", ":", "//", "//a:", "a:", "@", "//a:b@", "/", "K10", "LS0t", "bearer "),
    *("-----BEGIN ", "-----BEGIN A PRIVATE KEY", "-----END ", "A ", "- ", "- token", "authorization: ", "AKIA", "a.b"),
)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("head", ["", "token", "//", "-----BEGIN ", "-----BEGIN PRIVATE KEY-----", "bearer", 'token="'])
def test_the_time_grows_with_the_length_alone(head: str) -> None:
    for piece in _PIECES:
        redact(head + piece * (_LONG // len(piece)))


def test_a_journal_shows_no_more_than_the_host(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "cluster.yaml", "edge")
    with open_journal(workspace, "apply", pytest.fail) as journal:
        journal.record(
            "said", text="proxy http://me:decoy-1@proxy:3128", more=["Bearer decoy-2-decoy", "token=decoy-3"]
        )
        assert journal.path is not None
        assert "decoy" not in journal.path.read_text()
