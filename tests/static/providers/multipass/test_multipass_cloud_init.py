"""The user data of a new instance: what cloud-init will do with it, and that nobody sees the key in it."""

from __future__ import annotations

import yaml

from multipass_stub.user_data import read_user_data
from static.providers.multipass.user_data import HOST_KEY, HOST_PUBLIC_KEY, PUBLIC_KEY, RULE, USER_DATA


def test_it_says_who_logs_in_and_which_key_is_shown() -> None:
    found = read_user_data(USER_DATA.unmask())
    assert (found.hostname, found.user, found.sudo) == ("edge-agent-1", "pk3s", RULE)
    assert (found.authorized_key, found.host_key, found.host_public_key) == (PUBLIC_KEY, HOST_KEY, HOST_PUBLIC_KEY)
    assert found.files == {
        "/etc/productive-k3s-machine": "made by: pk3s\ncluster: edge\nnode: agent-1\nid: 0123456789abcdef\n"
    }


def test_multipass_itself_still_gets_in_and_others_lines_in_hosts_stay() -> None:
    """Multipass enters as the image's own user, whose key it gives itself: a list of keys of ours would replace it."""
    document = yaml.safe_load(USER_DATA.unmask())
    assert document["users"][0] == "default"
    assert "ssh_authorized_keys" not in document
    assert document["manage_etc_hosts"] == "localhost"
    assert (document["ssh_deletekeys"], set(document["ssh_keys"])) == (True, {"ed25519_private", "ed25519_public"})


def test_every_text_survives_a_reader_that_forgets_quotes() -> None:
    """Multipass reads the YAML and writes it anew (yaml-cpp), where a quoted number may come out as a number."""
    document = yaml.safe_load(USER_DATA.unmask())
    texts = [text for text in _texts(document) if "\n" not in text]
    assert texts
    assert [text for text in texts if text[:1].isdigit() or text in {"yes", "no", "true", "false", "null"}] == []


def _texts(document: object) -> list[str]:
    if isinstance(document, dict):
        return [text for value in document.values() for text in _texts(value)]
    if isinstance(document, list):
        return [text for value in document for text in _texts(value)]
    return [document] if isinstance(document, str) else []


def test_it_is_a_secret_as_a_whole() -> None:
    assert "PRIVATE" not in f"{USER_DATA} {USER_DATA!r}"
    assert USER_DATA.unmask().startswith("#cloud-config\n")
