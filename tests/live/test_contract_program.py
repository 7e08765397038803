"""A stranger with one machine and the program: one command, a validated node, nothing left to do.

All tests but one look at one node that is made once; what they change there means the same as before.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from lab_bed import CONFIG, Bed, Machine, Release, started
from live.fingerprint import differences, fingerprint
from live.program_bed import LOCK, PROGRAM, SINGLE_NODE, Run, ca_hash, equip, plan, read_wire, run, show, succeed, token
from productive_k3s.k3s import unit_file
from productive_k3s_infra.artifacts.program import build_program

FIXTURE = Path(__file__).parent.parent / "static" / "contract_program" / "install-script-unit.json"
MARK = "a-word-that-the-watch-must-see"
# Every command line that any process had while this runs, each once.
WATCH = """
import glob, os, sys
seen = set()
while not os.path.exists("/root/given/stop"):
    for path in glob.glob("/proc/[0-9]*/cmdline"):
        try:
            with open(path, "rb") as file:
                seen.add(file.read())
        except OSError:
            pass
sys.stdout.buffer.write(b"\\n".join(seen))
"""


@dataclass(frozen=True)
class Node:
    """A machine with K3s on it, and what was seen while it came to that."""

    bed: Bed
    machine: Machine
    before: Run
    touched_by_plan: list[str]
    install: Run
    command_lines: str

    def passwords(self) -> list[str]:
        """The two secrets: what stands in the token files."""
        text = self.bed.ssh(self.machine, "cat /etc/rancher/k3s/server.token /etc/rancher/k3s/agent.token")
        assert len(set(text.split())) == 2, "two tokens"
        return text.split()


@pytest.fixture(scope="module")
def node(module_lab: Bed, k3s_release: Release) -> Node:
    """One machine, one command."""
    (machine,) = module_lab.create("program", "solo")
    equip(module_lab, k3s_release, machine, images=True)
    untouched = fingerprint(module_lab, machine)
    before = run(module_lab, machine, f"{SINGLE_NODE} --plan --exit-code")
    succeed(module_lab, machine, "facts")
    touched = differences(untouched, fingerprint(module_lab, machine))
    module_lab.put(machine, "/root/given/watch.py", WATCH)
    watch = subprocess.Popen(
        (*module_lab.ssh_words(machine), "python3 /root/given/watch.py"),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        module_lab.ssh(machine, f"python3 -c 'import time; time.sleep(1)' {MARK}")
        install = run(module_lab, machine, SINGLE_NODE)
    finally:
        module_lab.ssh(machine, "touch /root/given/stop")
        command_lines, _ = watch.communicate(timeout=30)
    return Node(module_lab, machine, before, touched, install, command_lines)


def test_before_the_run_the_plan_says_all_and_writes_nothing(node: Node) -> None:
    assert node.before.exit_code == 3, "changes are pending, and that was asked"
    assert node.before.outcome == "planned"
    assert node.touched_by_plan == []
    assert node.before.changes == node.install.changes


def test_one_command_makes_a_node_that_works(node: Node) -> None:
    assert node.install.exit_code == 0, node.install.result.get("failures")
    assert node.install.of("change-started") == node.install.of("change-done") == node.install.changes
    assert node.install.changes[-3:] == ["start:k3s", "enable:k3s", "wait:k3s"]
    assert node.bed.ssh(node.machine, "kubectl get node solo --no-headers").split()[1] == "Ready"
    links = node.bed.ssh(node.machine, "cd /usr/local/bin; readlink kubectl crictl ctr")
    assert links.split() == ["k3s", "k3s", "k3s"]


def test_a_second_run_does_nothing(node: Node) -> None:
    before = started(node.bed, node.machine, "k3s")
    again = succeed(node.bed, node.machine, SINGLE_NODE)
    assert (again.outcome, again.changes) == ("unchanged", [])
    assert succeed(node.bed, node.machine, f"{SINGLE_NODE} --plan --exit-code").changes == []
    assert started(node.bed, node.machine, "k3s") == before
    assert before[2] == "0", "systemd has not restarted it"


def test_it_validates_the_host_and_the_cluster_with_a_pod_that_answers(node: Node) -> None:
    done = succeed(node.bed, node.machine, "validate --scope cluster --full")
    failed = [check for check in done.result["checks"] if not check["passed"]]
    assert failed == []
    names = {check["id"] for check in done.result["checks"]}
    assert {
        "service.active",
        "k3s.running",
        "node.ready",
        "system.pods",
        "pod.runs",
        "pod.dns",
        "pod.reaches",
    } <= names, sorted(names)
    assert "productive-k3s-validate" not in node.bed.ssh(node.machine, "kubectl get pods -A"), "its pods are gone"


def test_a_person_sees_sentences(node: Node) -> None:
    words = show(node.bed, node.machine, f"{SINGLE_NODE} --plan --tls-san other.example")
    assert f"write:{CONFIG}: differs in tls-san" in words
    assert "    +tls-san:\n    +- other.example\n" in words
    assert "! restart:k3s: K3s reads /etc/rancher/k3s/config.yaml when it starts\n" in words
    assert words.endswith("planned: 3 changes; nothing was written\n"), words


def test_one_flag_is_one_restart(node: Node) -> None:
    done = succeed(node.bed, node.machine, f"{SINGLE_NODE} --plan --tls-san other.example")
    assert done.changes == [f"write:{CONFIG}", "restart:k3s", "wait:k3s"]
    assert [change["impact"] for change in done.result["changes"]] == ["change", "disrupt", "read"]


def test_a_comment_and_another_order_are_no_difference(node: Node) -> None:
    reorder = f"(echo '# by hand'; tac {CONFIG}) > {CONFIG}.new; cat {CONFIG}.new > {CONFIG}; rm {CONFIG}.new"
    kept = node.bed.ssh(node.machine, f"cat {CONFIG}")
    node.bed.ssh(node.machine, reorder)
    try:
        assert plan(node.bed, node.machine) == []
    finally:
        node.bed.put(node.machine, CONFIG, kept + "\n")
    assert plan(node.bed, node.machine) == []


def test_the_unit_is_the_install_scripts_as_systemd_shows_it(node: Node) -> None:
    """Compared with the fixture by what systemd read from it, not by our own text."""
    wanted: list[tuple[str, str, str]] = [tuple(item) for item in json.loads(FIXTURE.read_text())["directives"]]
    there = unit_file.directives(node.bed.ssh(node.machine, "systemctl cat k3s.service"))
    named = [(section, key, value.replace("ROLE", "server").replace("NAME", "k3s")) for section, key, value in wanted]
    assert sorted(there) == sorted(named)
    names = "Type,KillMode,Delegate,LimitNOFILE,LimitNPROC,LimitCORE,TasksMax,TimeoutStartUSec,Restart,RestartUSec,User"
    shown = node.bed.ssh(node.machine, f"systemctl show k3s -p {names},UnitFileState,DropInPaths,Environment")
    assert dict(line.split("=", 1) for line in shown.splitlines()) == {
        "Type": "notify",
        "KillMode": "process",
        "Delegate": "yes",
        "LimitNOFILE": "1048576",
        "LimitNPROC": "infinity",
        "LimitCORE": "infinity",
        "TasksMax": "infinity",
        "TimeoutStartUSec": "infinity",
        "Restart": "always",
        "RestartUSec": "5s",
        "User": "root",
        "UnitFileState": "enabled",
        "DropInPaths": "",
        "Environment": "",
    }


def test_facts_are_one_document_and_say_what_runs(node: Node) -> None:
    said = node.bed.try_ssh(node.machine, f"python3 {PROGRAM} facts")
    facts = json.loads(said.stdout)
    assert said.stderr.startswith("note: this host belongs to cluster "), said.stderr
    assert facts["k3s"]["ca_hash"] == ca_hash(node.bed, node.machine)
    assert facts["k3s"]["running"]["source"] == "recorded"
    assert facts["k3s"]["running"]["digests"] == facts["k3s"]["on_disk"]
    assert [item["name"] for item in facts["cluster"]["nodes"]] == ["solo"]


def test_the_kubeconfig_works(node: Node) -> None:
    node.bed.put(node.machine, "/root/given/config", show(node.bed, node.machine, "kubeconfig"))
    words = "kubectl --kubeconfig /root/given/config get --raw /readyz"
    assert node.bed.ssh(node.machine, words) == "ok"


def test_no_process_list_ever_showed_a_token(node: Node) -> None:
    assert MARK in node.command_lines, "the watch saw nothing"
    assert PROGRAM in node.command_lines
    assert "/usr/local/bin/k3s" in node.command_lines
    assert [word for word in node.passwords() if word in node.command_lines] == []


def test_no_file_that_others_can_read_holds_a_token(node: Node) -> None:
    """As the user nobody, who finds the decoy and nothing else."""
    folders = "/etc /home /opt /root /run /srv /tmp /usr/local /var"
    words = f"setpriv --reuid=nobody --regid=nogroup --clear-groups grep -rlFs -D skip -f - {folders}"
    secrets = "\n".join(node.passwords())
    node.bed.put(node.machine, "/var/tmp/decoy", secrets, mode="644")
    try:
        found = node.bed.try_ssh(node.machine, words, data=secrets.encode())
    finally:
        node.bed.ssh(node.machine, "rm /var/tmp/decoy")
    assert found.stdout.split() == ["/var/tmp/decoy"]


def test_no_token_is_in_the_journal_nor_on_the_wire(node: Node) -> None:
    journal = node.bed.ssh(node.machine, "journalctl --no-pager --all -o json")
    wires = [node.install.text, run(node.bed, node.machine, "facts").text, node.before.text]
    assert "k3s" in journal
    for text in (journal, *wires):
        assert [word for word in node.passwords() if word in text] == []
    assert token(node.bed, node.machine).endswith(node.passwords()[1]), "and `token` has it"


def test_the_lock_is_waited_for_and_its_holder_named(node: Node) -> None:
    """A staging whose sender does not go on holds the lock; the second run waits its 20 seconds, then says who."""
    holder = subprocess.Popen(
        (*node.bed.ssh_words(node.machine), f"python3 {PROGRAM} stage --sha256 {'0' * 64} --to thing --json"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    try:
        node.bed.ssh(node.machine, f"for i in $(seq 100); do flock -n {LOCK} true || exit 0; sleep 0.1; done; exit 1")
        second = run(node.bed, node.machine, SINGLE_NODE)
    finally:
        holder.communicate(timeout=30)
    assert (second.exit_code, second.outcome) == (7, "locked")
    assert second.failure["code"] == "host.locked"
    assert re.match(r"process \d+ of 0 since \d{4}-", second.failure["evidence"])


def interpreters() -> Iterator[Path]:
    """The Pythons here that the program promises to run on: one per minor version, and the one of this run."""
    yield Path(sys.executable)
    found: dict[str, Path] = {}
    for minor in range(9, 15):
        name = f"python3.{minor}"
        places = (
            *sorted(Path.home().glob(f".pyenv/versions/3.{minor}.*/bin")),
            Path("/usr/local/bin"),
            Path("/usr/bin"),
        )
        for place in places:
            if (place / name).exists():
                found[name] = place / name
    yield from found.values()


@pytest.mark.parametrize("python", [pytest.param(path, id=f"{path.name}-{path.parts[-3]}") for path in interpreters()])
def test_it_runs_on_every_python_that_is_here(python: Path, tmp_path: Path) -> None:
    """Facts and a plan of this computer, which write nothing: the lab's machines have one Python only."""
    program = tmp_path / "productive-k3s.pyz"
    program.write_bytes(build_program().data)
    request = json.dumps({"mode": "single-node", "version": "v1.34.4+k3s1"})

    def wire(*words: str, data: str = "") -> Run:
        command = (python, program, *words, "--json")
        return read_wire(subprocess.run(command, input=data, capture_output=True, text=True, check=False, timeout=60))

    facts = wire("facts")
    assert (facts.exit_code, facts.errors) == (0, "")
    planned = wire("single-node", "--request", "-", "--plan", data=request)
    assert planned.errors == ""
    assert planned.outcome in ("planned", "refused"), "this computer may be none that K3s can be on"
    assert "start:k3s" in planned.changes
