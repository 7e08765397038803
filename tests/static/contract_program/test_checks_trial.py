"""The pods of a full validation: their objects, the script that asks, and how its findings are judged."""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from productive_k3s.checks import trial_objects, trial_results
from productive_k3s.checks.trial_images import Known, choose, is_usable, of_helper_pod, of_node, of_release
from productive_k3s.checks.trial_objects import SCRIPT, Trial, leftovers

TRIAL = Trial("productive-k3s-validate-1", "s1", ("s1", "a1"), 120.0)
HELPER_POD = """
apiVersion: v1
kind: Pod
spec:
  containers:
    - name: helper-pod
      image: "registry.example/rancher/mirrored-library-busybox:1.37.0"
      imagePullPolicy: IfNotPresent
"""


OLD, NEW = "docker.io/rancher/mirrored-library-busybox:1.98.0", "docker.io/rancher/mirrored-library-busybox:1.99.0"
OTHER = "registry.example/rancher/klipper-helm:v0.13.3"
DIGEST = f"docker.io/rancher/mirrored-library-busybox@sha256:{'0' * 64}"


@pytest.mark.parametrize(
    ("image", "usable"),
    [
        (NEW, True),
        (DIGEST, True),
        ("busybox:1", True),
        ("localhost:5000/busybox:latest", True),
        (OTHER, False),
        ("docker.io/rancher/mirrored-library-busybox", False),
        ("docker.io/busybox/exporter:1", False),
        ("sha256:0123", False),
    ],
)
def test_what_can_be_run(image: str, usable: bool) -> None:
    assert is_usable(image) is usable


@pytest.mark.parametrize(
    ("known", "image"),
    [
        (Known(), ""),
        (Known(asked="mine:1", others=(NEW,)), "mine:1"),
        # What is there counts, whatever the release says.
        (Known(others=(NEW,), on_nodes={"a1": (OTHER, OLD)}), OLD),
        (Known(others=(NEW,), on_nodes={"a1": (OLD, NEW)}), NEW),
        (Known(on_nodes={"a1": (DIGEST, OLD)}), OLD),
        (Known(on_nodes={"a1": (DIGEST,)}), DIGEST),
        # This host's own list is of this host's node.
        (Known(host_node="a1", here=(OLD,), others=(NEW,)), OLD),
        (Known(host_node="s1", here=(OLD,), others=(NEW,)), NEW),
        # All nodes of a cluster get their images in the same way.
        (Known(host_node="s1", here=(OLD,)), OLD),
        (Known(on_nodes={"s1": (OLD,), "a1": ()}), OLD),
    ],
)
def test_an_image_that_is_there_before_one_that_may_be_had(known: Known, image: str) -> None:
    assert choose(known, "a1") == image


def test_what_did_not_start_on_a_node_is_not_taken_again() -> None:
    assert choose(Known(others=(NEW,), on_nodes={"a1": (OLD,)}), "a1", (NEW,)) == OLD
    assert choose(Known(others=(NEW,)), "a1", (NEW,)) == ""


def test_the_releases_list_names_what_its_registry_has() -> None:
    assert of_release((OTHER, f" {NEW}\n"), "") == (NEW,)
    moved = NEW.replace("docker.io", "registry.example")
    assert of_release((NEW, "rancher/mirrored-library-busybox:1.99.0"), "registry.example") == (moved, moved)


def test_other_places_that_name_images() -> None:
    assert of_helper_pod(HELPER_POD) == ("registry.example/rancher/mirrored-library-busybox:1.37.0",)
    assert of_helper_pod("") == ()
    assert of_node({"status": {"images": [{"names": [NEW, DIGEST]}, {"sizeBytes": 1}]}}) == (NEW, DIGEST)
    assert of_node({}) == ()


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


def test_a_pod_keeps_to_the_restricted_standard_and_to_its_node() -> None:
    spec = trial_objects.pod(TRIAL, 1, ("10.43.0.5", "fd::6"), "img")["spec"]
    assert spec["nodeName"] == "a1"
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    (container,) = spec["containers"]
    assert container["securityContext"] == {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(spec)
    assert spec["tolerations"] == [{"operator": "Exists"}]
    assert spec["activeDeadlineSeconds"] == 240


STUBS = {
    # A clock that goes one second with every look, so that no test waits.
    "date": 'n=$(($(cat "$BOX/clock") + 1)); echo $n > "$BOX/clock"; echo $n\n',
    # Between two rounds it takes no time, and ends the pod when nobody wants to hear more; a bound takes its time.
    "sleep": '[ "$1" = 0.1 ] || exec /bin/sleep "$1"\n'
    'echo x >> "$BOX/rounds"; [ "$(wc -l < "$BOX/rounds")" -lt "$ROUNDS" ] || kill -TERM $PPID\n',
    "httpd": "exit 0\n",
    "nslookup": 'echo "Address: 10.43.0.10:53"; cat "$BOX/dns-$1" 2>/dev/null\n',
    # wget -q -O - http://HOST:8080/ : the host's file is its answer; a list of answers is used up line by line.
    "wget": 'echo "$5" >> "$BOX/asked"; [ ! -e "$BOX/hangs" ] || { echo Terminated; exit 143; }\n'
    'h="${4#http://}"; f="$BOX/web-${h%:8080/}"; [ -s "$f" ] || { echo "refused"; exit 1; }\n'
    'printf %s "$(head -n 1 "$f")"; [ "$(wc -l < "$f")" -lt 2 ] || sed -i 1d "$f"\n',
}


def asked(
    tmp_path: Path, *, trial: Trial = TRIAL, dns: dict[str, str], web: dict[str, str], rounds: int = 12
) -> str | None:
    """Run a pod's script in a real shell, in a world of stubs, for some rounds at the most; return its last report."""
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
    addresses = [f"10.43.0.{5 + index}" if index != 1 else "fd00::6" for index in range(len(trial.nodes))]
    (container,) = trial_objects.pod(trial, 0, addresses, "img")["spec"]["containers"]
    environment = {item["name"]: item.get("value", "s1") for item in container["env"]}
    here = {"PATH": f"{tmp_path}/bin:{os.environ['PATH']}", "BOX": str(tmp_path), "PLACE": str(tmp_path)}
    done = subprocess.run(
        container["command"],
        env={**environment, **here, "ROUNDS": str(rounds)},
        check=True,
        timeout=60,
        capture_output=True,
        text=True,
    )
    assert (tmp_path / "www" / "index.html").read_text() == "s1"
    return trial_objects.reported(done.stdout)


def lines(report: str | None) -> list[str]:
    return sorted((report or "").splitlines())


NAMES = tuple(f"answer-{index}.{TRIAL.namespace}.svc.cluster.local." for index in (0, 1))
DNS = {NAMES[0]: "10.43.0.5", NAMES[1]: "fd00::6"}


def test_asking_where_everybody_answers(tmp_path: Path) -> None:
    assert asked(tmp_path, dns=DNS, web={NAMES[0]: "s1", NAMES[1]: "a1"}) == "ok"


def test_asking_again_until_a_late_one_answers(tmp_path: Path) -> None:
    assert asked(tmp_path, dns=DNS, web={NAMES[0]: "s1", NAMES[1]: "starting\nstarting\na1"}) == "ok"


def test_what_does_not_answer_is_named_with_its_causes(tmp_path: Path) -> None:
    report = asked(tmp_path, dns={NAMES[0]: "10.43.0.5"}, web={NAMES[0]: "a1"})
    assert lines(report) == ["0 answer a1", "1 answer refused", "1 dns"]


def test_a_name_that_does_not_resolve_is_asked_by_its_address(tmp_path: Path) -> None:
    web = {NAMES[0]: "s1", "[fd00::6]": "a1"}
    assert asked(tmp_path, dns={NAMES[0]: "10.43.0.5"}, web=web) == "1 dns\n"


def test_what_is_said_cannot_spoil_the_report(tmp_path: Path) -> None:
    web = {NAMES[0]: r"50% \off\n1 dns", NAMES[1]: "a1"}
    assert asked(tmp_path, dns=DNS, web=web) == "0 answer 50   off n1 dns\n"


def test_a_node_that_hangs_says_nothing(tmp_path: Path) -> None:
    (tmp_path / "hangs").touch()
    assert lines(asked(tmp_path, dns=DNS, web={})) == ["0 answer ", "1 answer "]


def test_a_name_that_leads_elsewhere_does_not_count(tmp_path: Path) -> None:
    dns = {**DNS, NAMES[0]: "10.43.0.55"}
    assert asked(tmp_path, dns=dns, web={"10.43.0.5": "s1", NAMES[1]: "a1"}) == "0 dns\n"


def test_without_a_dns_the_addresses_are_asked(tmp_path: Path) -> None:
    trial = replace(TRIAL, dns=False)
    assert asked(tmp_path, trial=trial, dns={}, web={"10.43.0.5": "s1", "[fd00::6]": "a1"}) == "ok"


def test_at_first_one_failure_stands_for_all(tmp_path: Path) -> None:
    assert asked(tmp_path, dns=DNS, web={}, rounds=1) == "0 answer refused\n"


def test_a_round_ends_in_time_and_the_next_begins_where_it_ended(tmp_path: Path) -> None:
    nodes = tuple(f"n{index}" for index in range(40))
    trial = replace(TRIAL, nodes=nodes, dns=False)
    web = {(f"10.43.0.{5 + index}" if index != 1 else "[fd00::6]"): f"n{index}" for index in range(40) if index != 7}
    report = asked(tmp_path, trial=trial, dns={}, web=web, rounds=20)
    assert report == "7 answer refused\n"


def test_the_script_is_no_more_than_a_pod_may_carry() -> None:
    assert len(SCRIPT) < 4000


def ended(message: str | None, code: int) -> dict[str, object]:
    state = {"terminated": {"exitCode": code, "message": message}}
    return {"status": {"phase": "Failed", "containerStatuses": [{"name": "trial", "state": state}]}}


def log(*reports: str) -> str:
    """What a pod wrote in some rounds, with the shell's own words between."""
    return "".join(f"Terminated\nbegin of report\n{report}\nend of report\n" for report in reports)


RUNS = {"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}}
PENDING = {"status": {"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "True"}]}}
PODS = {"trial-0": RUNS, "trial-1": RUNS}
LOGS = {"trial-0": log("ok"), "trial-1": log("ok")}


def bad(
    logs: dict[str, str],
    pods: dict[str, dict[str, object]] | None = None,
    warnings: dict[str, str] | None = None,
) -> dict[str, str]:
    there = {**PODS, **(pods or {})}
    found = trial_results.reports(TRIAL, there, {**LOGS, **logs})
    checks = trial_results.judge_trial(TRIAL, there, found, warnings or {}, 120.0)
    return {f"{check.id} {check.subject}": check.evidence or check.severity for check in checks if not check.passed}


@pytest.mark.parametrize(
    ("logs", "wrong"),
    [
        ({}, {}),
        ({"trial-0": log("1 answer\n", "ok")}, {}),
        ({"trial-0": log("1 dns\n")}, {"pod.dns s1": "the Services before a1"}),
        ({"trial-0": log("1 answer\n")}, {"pod.reaches s1": "a1: no answer"}),
        ({"trial-0": log("1 answer s1")}, {"pod.reaches s1": "a1: 's1' instead of its name"}),
        (
            {"trial-1": log("0 dns\n1 late")},
            {"pod.dns a1": "the Services before s1", "pod.reaches a1": "a1: not tested before the time ran out"},
        ),
        ({"trial-1": log("0 dns\n1 dns")}, {"pod.dns a1": "the Services before s1, a1"}),
        (
            {"trial-1": log("0 dns\n0 answer\n")},
            {"pod.dns a1": "the Services before s1", "pod.reaches a1": "s1: no answer"},
        ),
        ({"trial-1": ""}, {"pod.reaches a1": "the pod runs, but its log cannot be read or is empty"}),
        # A round that is not whole yet says nothing.
        ({"trial-1": log("0 dns\n") + "begin of report\nok"}, {"pod.dns a1": "the Services before s1"}),
    ],
)
def test_findings_are_judged_node_by_node(logs: dict[str, str], wrong: dict[str, str]) -> None:
    assert bad(logs) == wrong


@pytest.mark.parametrize(
    ("message", "cause"), [("sh: not found", "sh: not found"), (None, "ended with 137 without a word")]
)
def test_a_pod_that_ended_says_how_for_all(message: str | None, cause: str) -> None:
    found = bad({}, {"trial-0": ended(message, 137)})
    assert found["pod.reaches s1"] == f"s1: {cause}; a1: {cause}"
    assert "pod.runs s1" in found


def test_a_pod_that_does_not_start() -> None:
    found = bad({"trial-1": ""}, {"trial-1": PENDING})
    assert found == {"pod.runs a1": "Pending, not ready", "pod.reaches a1": "Pending, not ready"}


def test_pods_that_are_not_there() -> None:
    checks = trial_results.judge_trial(TRIAL, {}, {}, {}, 120.0)
    assert [(check.id, check.subject, check.evidence) for check in checks] == [
        ("pod.runs", "s1", "the pod does not exist"),
        ("pod.reaches", "s1", "the pod does not exist"),
        ("pod.runs", "a1", "the pod does not exist"),
        ("pod.reaches", "a1", "the pod does not exist"),
    ]


def test_a_warning_tells_more_than_the_pod_that_waits() -> None:
    found = bad({}, {"trial-1": PENDING}, warnings={"trial-1": "FailedMount: no disk"})
    assert found == {"pod.runs a1": "FailedMount: no disk (Pending, not ready)"}


@pytest.mark.parametrize(("expected", "severity"), [(True, "error"), (False, "warning")])
def test_names_that_were_not_tried_are_never_passed_over(expected: bool, severity: str) -> None:
    trial = replace(TRIAL, dns=False, dns_is_expected=expected)
    checks = trial_results.judge_trial(trial, PODS, {"s1": "ok", "a1": "ok"}, {}, 1.0)
    assert [(check.id, check.severity) for check in checks if not check.passed] == [("pod.dns", severity)] * 2


def test_those_are_waited_for_that_have_not_reached_all() -> None:
    assert trial_results.asking(TRIAL, {"s1": "ok", "a1": "ok\n"}) == ()
    assert trial_results.asking(TRIAL, {"s1": "ok", "a1": "1 dns"}) == ("a1",)
    assert trial_results.asking(TRIAL, {}) == ("s1", "a1")
