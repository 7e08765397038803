"""What `ssh -G` prints, and what becomes of each keyword."""

from __future__ import annotations

import subprocess

import pytest

from productive_k3s_infra.hosts.ssh import client_config
from productive_k3s_infra.hosts.ssh.client_config import ClientConfig, Jump, Unusable, configured, parse
from productive_k3s_infra.hosts.ssh.tokens import Person, Tokens, UnknownToken, tokens_of

LISTS = (client_config.REFUSED, client_config.HONOURED, client_config.NOT_TRIED, client_config.WITHOUT_EFFECT)
UNSET = parse("user me\nhostname one\nport 22\nciphers a,b\npubkeyauthentication true\nstricthostkeychecking ask\n")


def read(text: str) -> ClientConfig:
    return configured({**UNSET, **parse(text)}, UNSET)


def test_every_keyword_of_this_ssh_is_in_one_list() -> None:
    done = subprocess.run(("ssh", "-G", "-F", "none", "x"), capture_output=True, text=True, check=True)
    printed = set(parse(done.stdout))
    assert len(printed) > 60
    assert printed - set().union(*LISTS) == set()
    assert sum(map(len, LISTS)) == len(set().union(*LISTS))


@pytest.mark.parametrize(
    "line",
    [
        "knownhostscommand /bin/x",
        "bindinterface lo",
        "pubkeyauthentication false",
        "anewerkeyword yes",
        "proxyjump [::1",
    ],
)
def test_what_cannot_be_honoured_is_named(line: str) -> None:
    with pytest.raises(Unusable) as caught:
        read(line)
    assert line in str(caught.value)


def test_what_nobody_set_is_of_no_interest() -> None:
    defaults = {**UNSET, **parse("revokedhostkeys none\nanewerkeyword yes\n")}
    assert configured(defaults, defaults).algorithms == ()


def test_only_algorithms_that_somebody_set_count() -> None:
    assert read("ciphers a,b").listed("ciphers") == ()
    assert read("ciphers b").listed("ciphers") == ("b",)


@pytest.mark.parametrize(
    ("text", "jumps"),
    [
        ("gate", (Jump("gate"),)),
        ("me@gate:2222", (Jump("gate", "me", 2222),)),
        ("a,b@[fd00::1]:22", (Jump("a"), Jump("fd00::1", "b", 22))),
        ("ssh://me@gate:22", (Jump("gate", "me", 22),)),
        ("user@realm@gate", (Jump("gate", "user@realm"),)),
        ("fd00::1", (Jump("fd00::1"),)),
    ],
)
def test_jump_hosts(text: str, jumps: tuple[Jump, ...]) -> None:
    assert read(f"proxyjump {text}").jumps == jumps


def test_further_ways_to_log_in_are_remembered() -> None:
    assert read("gssapiauthentication yes\npasswordauthentication no").not_tried == ("gssapiauthentication yes",)


TOKENS = tokens_of(
    Person("me", "/home/me", 1000, "desk.example"),
    {"DIR": "/keys"},
    original="one",
    hostname="10.0.0.1",
    port=2222,
    user="ops",
    alias="the-one",
)


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("~/.ssh/id_%h", "/home/me/.ssh/id_10.0.0.1"),
        ("~", "/home/me"),
        ("~other/x", "~other/x"),
        ("${DIR}/%n-%p-%r", "/keys/one-2222-ops"),
        ("%d/%u/%i/%l/%L/%k", "/home/me/me/1000/desk.example/desk/the-one"),
        ("/a%%b", "/a%b"),
    ],
)
def test_tokens(text: str, path: str) -> None:
    assert TOKENS.path(text) == path


@pytest.mark.parametrize("text", ["%C", "${NONE}", "%"])
def test_what_has_no_value_is_said(text: str) -> None:
    with pytest.raises(UnknownToken) as caught:
        TOKENS.path(text)
    assert str(caught.value) == text


def test_a_command_is_the_shells_but_for_its_tokens() -> None:
    tokens = Tokens({"h": "one", "p": "22"}, {}, "/home/me")
    assert tokens.command("nc ~ ${X} %h %p 100%%") == "nc ~ ${X} one 22 100%"
