"""The pods of a full validation: their objects, the script that asks, and how its findings are judged."""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from productive_k3s.checks import of_trial, trial_objects
from productive_k3s.checks.trial_objects import ASK, Trial, choose_image, leftovers

TRIAL = Trial("productive-k3s-validate-1", "s1", ("s1", "a1"), "img", 120.0)
HELPER_POD = """
apiVersion: v1
kind: Pod
spec:
  containers:
    - name: helper-pod
      image: "registry.example/rancher/mirrored-library-busybox:1.37.0"
      imagePullPolicy: IfNotPresent
"""


@pytest.mark.parametrize(
    ("wanted", "registry", "helper", "image"),
    [
        ("", "", "", "docker.io/rancher/mirrored-library-busybox:1.36.1"),
        ("", "registry.example", "", "registry.example/rancher/mirrored-library-busybox:1.36.1"),
        ("", "", HELPER_POD, "registry.example/rancher/mirrored-library-busybox:1.37.0"),
        ("mine:1", "registry.example", HELPER_POD, "mine:1"),
    ],
)
def test_the_image_is_the_one_that_k3s_brings_along(wanted: str, registry: str, helper: str, image: str) -> None:
    assert choose_image(wanted, registry, helper) == image


def namespace(name: str, made_on: str = "s1", ends: str = "500", purpose: str = "validate") -> dict[str, Any]:
    notes = {trial_objects.MADE_ON: made_on, trial_objects.ENDS: ends}
    return {"metadata": {"name": name, "labels": {trial_objects.LABEL: purpose}, "annotations": notes}}


@pytest.mark.parametrize(
    ("item", "is_left"),
    [
        (namespace("productive-k3s-validate-a"), True),
        (namespace("productive-k3s-validate-a", made_on="s2"), False),
        (namespace("productive-k3s-validate-a", made_on="s2", ends="99"), True),
        (namespace("productive-k3s-validate-a", made_on="s2", ends="soon"), True),
        ({"metadata": {**namespace("productive-k3s-validate-a")["metadata"], "deletionTimestamp": "now"}}, False),
        (namespace("somebody-elses"), False),
        (namespace("productive-k3s-validate-a", purpose="other"), False),
        ({"metadata": {"name": "productive-k3s-validate-a"}}, False),
    ],
)
def test_what_counts_as_left_over(item: dict[str, object], is_left: bool) -> None:
    assert bool(leftovers((item,), "s1", 100.0)) == is_left


def test_our_own_namespace_would_be_found_again() -> None:
    made = trial_objects.namespace(TRIAL, 1000.0)
    assert leftovers((made,), "s1", 1001.0) == (TRIAL.namespace,)
    assert leftovers((made,), "s2", 1001.0) == ()
    assert leftovers((made,), "s2", 1000.0 + TRIAL.seconds + 121.0) == (TRIAL.namespace,)


@pytest.mark.parametrize("pod", [trial_objects.answer(TRIAL, 1), trial_objects.ask(TRIAL, 1, ("10.43.0.5", "fd::6"))])
def test_pods_keep_to_the_restricted_standard_and_to_their_node(pod: dict[str, dict[str, object]]) -> None:
    spec = pod["spec"]
    assert spec["nodeName"] == "a1"
    assert spec["securityContext"]["runAsNonRoot"] is True  # type: ignore[index]
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}  # type: ignore[index]
    (container,) = spec["containers"]  # type: ignore[misc,attr-defined]
    assert container["securityContext"] == {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(spec)
    assert spec["tolerations"] == [{"operator": "Exists"}]
    assert spec["activeDeadlineSeconds"] == 240


STUBS = {
    # A clock that goes one second with every look, so that no test waits.
    "date": 'n=$(($(cat "$BOX/clock") + 1)); echo $n > "$BOX/clock"; echo $n\n',
    # Between two rounds it takes no time; what bounds a question takes its time.
    "sleep": '[ "$1" = 0.2 ] || exec /bin/sleep "$1"\n',
    "nslookup": 'echo "Address: 10.43.0.10:53"; cat "$BOX/dns-$1" 2>/dev/null\n',
    # wget -q -O - http://HOST:8080/ : the host's file is its answer; a list of answers is used up line by line.
    "wget": '[ ! -e "$BOX/hangs" ] || { echo Terminated; exit 143; }\n'
    'h="${4#http://}"; f="$BOX/web-${h%:8080/}"; [ -s "$f" ] || { echo "refused"; exit 1; }\n'
    'printf %s "$(head -n 1 "$f")"; [ "$(wc -l < "$f")" -lt 2 ] || sed -i 1d "$f"\n',
}


def asked(tmp_path: Path, *, trial: Trial = TRIAL, dns: dict[str, str], web: dict[str, str]) -> str:
    """Run the asking script in a real shell, in a world of stubs; return its report."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "clock").write_text("1000\n")
    for name, text in STUBS.items():
        program = tmp_path / "bin" / name
        program.write_text(f"#!/bin/sh\n{text}")
        program.chmod(0o755)
    for name, text in dns.items():
        (tmp_path / f"dns-{name}").write_text(f"Address: {text}\n")
    for name, text in web.items():
        (tmp_path / f"web-{name}").write_text(f"{text}\n")
    pod = trial_objects.ask(trial, 0, ("10.43.0.5", "fd00::6"))
    (container,) = pod["spec"]["containers"]
    environment = {item["name"]: item["value"] for item in container["env"]}
    subprocess.run(
        container["command"],
        env={
            **environment,
            "PATH": f"{tmp_path}/bin:{os.environ['PATH']}",
            "BOX": str(tmp_path),
            "REPORT": f"{tmp_path}/report",
        },
        check=True,
        timeout=60,
    )
    return (tmp_path / "report").read_text()


NAMES = tuple(f"answer-{index}.{TRIAL.namespace}.svc.cluster.local." for index in (0, 1))
DNS = {NAMES[0]: "10.43.0.5", NAMES[1]: "fd00::6"}


def test_asking_where_everybody_answers(tmp_path: Path) -> None:
    assert asked(tmp_path, dns=DNS, web={NAMES[0]: "s1", NAMES[1]: "a1"}) == "ok"


def test_asking_again_until_a_late_one_answers(tmp_path: Path) -> None:
    assert asked(tmp_path, dns=DNS, web={NAMES[0]: "s1", NAMES[1]: "starting\nstarting\na1"}) == "ok"


def test_asking_ends_and_names_the_causes(tmp_path: Path) -> None:
    report = asked(tmp_path, dns={NAMES[0]: "10.43.0.5"}, web={NAMES[0]: "a1"})
    assert report == "0 answer a1\n1 dns\n1 answer refused\n"


def test_a_name_that_does_not_resolve_is_asked_by_its_address(tmp_path: Path) -> None:
    web = {NAMES[0]: "s1", "[fd00::6]": "a1"}
    assert asked(tmp_path, dns={NAMES[0]: "10.43.0.5"}, web=web) == "1 dns\n"


def test_what_is_said_cannot_spoil_the_report(tmp_path: Path) -> None:
    web = {NAMES[0]: r"50% \off\n1 dns", NAMES[1]: "a1"}
    assert asked(tmp_path, dns=DNS, web=web) == "0 answer 50   off n1 dns\n"


def test_a_node_that_hangs_says_nothing(tmp_path: Path) -> None:
    (tmp_path / "hangs").touch()
    assert asked(tmp_path, dns=DNS, web={}) == "0 answer \n1 answer \n"


def test_a_name_that_leads_elsewhere_does_not_count(tmp_path: Path) -> None:
    dns = {**DNS, NAMES[0]: "10.43.0.55"}
    assert asked(tmp_path, dns=dns, web={"10.43.0.5": "s1", NAMES[1]: "a1"}) == "0 dns\n"


def test_without_a_dns_the_addresses_are_asked(tmp_path: Path) -> None:
    trial = replace(TRIAL, dns=False)
    assert asked(tmp_path, trial=trial, dns={}, web={"10.43.0.5": "s1", "[fd00::6]": "a1"}) == "ok"


def test_the_script_is_no_more_than_a_pod_may_carry() -> None:
    assert len(ASK) < 4000


def ended(message: str | None, code: int = 0) -> dict[str, object]:
    state = {"terminated": {"exitCode": code, "message": message}}
    return {"status": {"phase": "Succeeded", "containerStatuses": [{"name": "trial", "state": state}]}}


RUNS = {"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}}
PENDING = {"status": {"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "True"}]}}
WELL = {"answer-0": RUNS, "answer-1": RUNS, "ask-0": ended("ok"), "ask-1": ended("ok")}


def bad(
    pods: dict[str, dict[str, object]], trial: Trial = TRIAL, warnings: dict[str, str] | None = None
) -> dict[str, str]:
    checks = of_trial.judge_trial(trial, pods, warnings or {}, 120.0)
    return {f"{check.id} {check.subject}": check.evidence or check.severity for check in checks if not check.passed}


@pytest.mark.parametrize(
    ("differs", "wrong"),
    [
        ({}, {}),
        ({"answer-1": PENDING}, {"pod.runs a1": "Pending, not ready"}),
        ({"ask-0": ended("1 dns\n")}, {"pod.dns s1": "the Services before a1"}),
        ({"ask-0": ended("1 answer\n")}, {"pod.reaches s1": "a1: no answer"}),
        ({"ask-0": ended("1 answer s1")}, {"pod.reaches s1": "a1: 's1' instead of its name"}),
        (
            {"ask-1": ended("0 dns\n1 late")},
            {"pod.dns a1": "the Services before s1", "pod.reaches a1": "a1: not asked before the time was up"},
        ),
        (
            {"ask-1": ended("0 dns\n1 dns")},
            {"pod.dns a1": "the Services before s1, a1"},
        ),
        (
            {"ask-1": ended("0 dns\n0 answer\n")},
            {"pod.dns a1": "the Services before s1", "pod.reaches a1": "s1: no answer"},
        ),
        ({"ask-0": ended("sh: not found", 127)}, {"pod.reaches s1": "s1: sh: not found; a1: sh: not found"}),
        (
            {"ask-0": ended(None, 137)},
            {"pod.reaches s1": "s1: ended with 137 without a word; a1: ended with 137 without a word"},
        ),
        ({"ask-1": PENDING}, {"pod.reaches a1": "Pending, not ready"}),
    ],
)
def test_findings_are_judged_node_by_node(differs: dict[str, dict[str, object]], wrong: dict[str, str]) -> None:
    assert bad({**WELL, **differs}) == wrong


def test_pods_that_are_not_there() -> None:
    assert bad({}) == {
        "pod.runs s1": "the pod is not there",
        "pod.reaches s1": "the pod is not there",
        "pod.runs a1": "the pod is not there",
        "pod.reaches a1": "the pod is not there",
    }


def test_a_warning_tells_more_than_the_pod_that_waits() -> None:
    found = bad({**WELL, "answer-1": PENDING}, warnings={"answer-1": "FailedMount: no disk", "ask-1": "not asked for"})
    assert found == {"pod.runs a1": "FailedMount: no disk (Pending, not ready)"}


def test_a_cluster_without_dns_is_told_so_and_not_blamed() -> None:
    checks = of_trial.judge_trial(replace(TRIAL, dns=False), WELL, {}, 1.0)
    assert {check.severity for check in checks if not check.passed} == {"info"}


def test_only_those_that_still_ask_are_waited_for() -> None:
    assert of_trial.pending(TRIAL, WELL) == ()
    assert of_trial.pending(TRIAL, {**WELL, "ask-1": PENDING}) == ("a1",)
    assert of_trial.pending(TRIAL, {}) == ("s1", "a1")
