"""The kubeconfig: worked on as a document, so that nothing else changes."""

from __future__ import annotations

import copy
import stat
from pathlib import Path
from typing import Any

import pytest
import yaml

from productive_k3s_infra.errors import StepFailed
from productive_k3s_infra.workspace.directory import Workspace
from productive_k3s_infra.workspace.kubeconfig import rewrite_kubeconfig, write_kubeconfig

# The shape of /etc/rancher/k3s/k3s.yaml; the data spells "default" on purpose, which replacing words would spoil.
K3S: dict[str, Any] = {
    "apiVersion": "v1",
    "clusters": [
        {
            "cluster": {"certificate-authority-data": "defaultdefault==" * 100, "server": "https://127.0.0.1:6443"},
            "name": "default",
        }
    ],
    "contexts": [{"context": {"cluster": "default", "user": "default"}, "name": "default"}],
    "current-context": "default",
    "kind": "Config",
    "preferences": {},
    "users": [{"name": "default", "user": {"client-certificate-data": "default", "client-key-data": "a2V5default"}}],
}


def rewritten(document: dict[str, Any], address: str = "10.0.0.11", port: int = 6443) -> dict[str, Any]:
    text = rewrite_kubeconfig(yaml.safe_dump(document), address=address, port=port, context="edge")
    found: dict[str, Any] = yaml.safe_load(text)
    return found


def test_only_names_and_address_change() -> None:
    expected = copy.deepcopy(K3S)
    expected["clusters"][0]["name"] = expected["users"][0]["name"] = expected["contexts"][0]["name"] = "edge"
    expected["contexts"][0]["context"] = {"cluster": "edge", "user": "edge"}
    expected["current-context"] = "edge"
    expected["clusters"][0]["cluster"]["server"] = "https://10.0.0.11:6443"
    assert rewritten(K3S) == expected


def test_whatever_name_k3s_gave_it() -> None:
    """`write-kubeconfig-name` names cluster, user and context; `default` is only what K3s does without it."""
    named = yaml.safe_load(yaml.safe_dump(K3S).replace("name: default", "name: other"))
    named["contexts"][0]["context"] = {"cluster": "other", "user": "other"}
    named["current-context"] = "other"
    assert rewritten(named) == rewritten(K3S)


def test_doing_it_twice_changes_nothing() -> None:
    once = rewrite_kubeconfig(yaml.safe_dump(K3S), address="10.0.0.11", port=6443, context="edge")
    assert rewrite_kubeconfig(once, address="10.0.0.11", port=6443, context="edge") == once


@pytest.mark.parametrize(
    ("address", "server"),
    [
        ("fd00::11", "https://[fd00::11]:7443"),
        ("[fd00::11]", "https://[fd00::11]:7443"),
        ("k3s.example", "https://k3s.example:7443"),
    ],
)
def test_every_kind_of_address_gives_a_url(address: str, server: str) -> None:
    assert rewritten(K3S, address, 7443)["clusters"][0]["cluster"]["server"] == server


def test_other_entries_stay_and_follow_the_new_names() -> None:
    document = copy.deepcopy(K3S)
    document["contexts"][0]["context"]["namespace"] = "apps"
    document["contexts"].append({"context": {"cluster": "default", "user": "other"}, "name": "second"})
    document["users"].append({"name": "other", "user": {"token": "x"}})
    document["clusters"].append({"name": "far", "cluster": {"server": "https://far:1"}})
    document["extra"] = {"since": "2026-01-01", "on": True}
    found = rewritten(document)
    assert found["contexts"][0]["context"] == {"cluster": "edge", "user": "edge", "namespace": "apps"}
    assert found["contexts"][1] == {"context": {"cluster": "edge", "user": "other"}, "name": "second"}
    assert found["users"][1] == document["users"][1]
    assert found["clusters"][1] == document["clusters"][1]
    assert found["extra"] == document["extra"]


def _without(key: str) -> dict[str, Any]:
    return {name: value for name, value in copy.deepcopy(K3S).items() if name != key}


def _changed(section: str, entry: object) -> dict[str, Any]:
    return {**copy.deepcopy(K3S), section: entry}


@pytest.mark.parametrize(
    "document",
    [
        _without("clusters"),
        _without("users"),
        _without("contexts"),
        _without("current-context"),
        _without("kind"),
        _changed("kind", "Secret"),
        _changed("clusters", []),
        _changed("clusters", {"default": {}}),
        _changed("clusters", [{"name": "default", "cluster": {}}]),
        _changed("contexts", [{"name": "default", "context": None}]),
        _changed("users", [*K3S["users"], {"name": "edge", "user": {}}]),
    ],
)
def test_what_is_no_kubeconfig_is_refused_without_showing_it(document: dict[str, Any]) -> None:
    with pytest.raises(StepFailed) as caught:
        rewritten(document)
    assert caught.value.code == "kubeconfig.invalid"
    assert "a2V5" not in repr(vars(caught.value))


@pytest.mark.parametrize("text", ["", "hello", "[1]", "a: [client-key-data: a2V5", "a2V5: : :"])
def test_text_that_is_none_is_refused_without_showing_it(text: str) -> None:
    with pytest.raises(StepFailed) as caught:
        rewrite_kubeconfig(text, address="a", port=1, context="edge")
    assert "a2V5" not in repr(vars(caught.value))
    assert caught.value.__cause__ is None


def test_it_is_kept_for_its_owner_only(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "cluster.yaml", "edge")
    assert write_kubeconfig(workspace, "one")
    assert stat.S_IMODE(workspace.kubeconfig.stat().st_mode) == 0o600
    assert not write_kubeconfig(workspace, "one")
    assert write_kubeconfig(workspace, "two")
    assert workspace.kubeconfig.read_text() == "two"
