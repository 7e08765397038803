"""Files that flags point to: written, shown, removed, and read again by a restart only where a start reads them."""

from __future__ import annotations

from typing import Any

from productive_k3s.contract.request import Request
from productive_k3s.k3s import paths
from static.contract_program.hosts import desired_files
from static.contract_program.running_servers import Own, ids, wish

AUDIT, ADMISSION, INNER = (f"{paths.FILES}/{name}" for name in ("audit.yaml", "admission.yaml", "quota.yaml"))
ARGUMENTS = [f"audit-policy-file={AUDIT}", f"admission-control-config-file={ADMISSION}"]
FILES = {"audit.yaml": "rules: []\n", "admission.yaml": f"plugins: [{{path: {INNER}}}]\n", "quota.yaml": "limits: 1\n"}
TEMPLATE = f"{paths.CONTAINERD_CONFIG}/config-v3.toml.tmpl"


def asked(**files: str) -> Request:
    found = {name.replace("_", "."): text for name, text in files.items()}
    return wish(files={**FILES, **found}, config={"kube-apiserver-arg": ARGUMENTS})


def changes(machine: Own, **files: str) -> list[str]:
    request = asked(**files)
    return ids(machine.assess(files=request.files, config=request.config))


def test_what_is_there_is_no_difference() -> None:
    assert changes(Own(asked())) == []


def test_another_content_restarts_what_reads_it() -> None:
    machine = Own(asked())
    assert changes(machine, audit_yaml="rules: [x]\n") == [f"write:{AUDIT}", "restart:k3s", "wait:k3s"]
    # A file that is named by a file that a flag names.
    assert changes(machine, quota_yaml="limits: 2\n") == [f"write:{INNER}", "restart:k3s", "wait:k3s"]
    assert changes(machine, notes_txt="nobody reads it") == [f"write:{paths.FILES}/notes.txt"]


def test_a_kill_between_writing_and_restarting_is_seen() -> None:
    machine = Own(asked())
    request = asked(audit_yaml="rules: [x]\n")
    for file in desired_files(request, machine.facts()):
        if file.path == AUDIT:
            machine.system.put({file.path: file.text})
    assert changes(machine, audit_yaml="rules: [x]\n") == ["restart:k3s", "wait:k3s"]


def test_the_difference_is_shown_without_secrets() -> None:
    machine = Own(asked())
    found = machine.assess(files={**FILES, "audit.yaml": "rules: [x]\npassword: hunter22\n"}, config=asked().config)
    (change,) = [item for item in found.changes if item.target == AUDIT]
    assert {"-rules: []", "+rules: [x]"} <= set(change.diff)
    assert "hunter22" not in repr(found)


def test_a_file_that_is_not_asked_for_any_more_goes() -> None:
    machine = Own(asked(notes_txt="nobody reads it"))
    assert changes(machine) == [f"remove:{paths.FILES}/notes.txt"]
    gone = ids(machine.assess())
    assert [name for name in gone if name.startswith("remove:")] == [f"remove:{path}" for path in sorted(
        (ADMISSION, AUDIT, f"{paths.FILES}/notes.txt", INNER)
    )]  # fmt: skip
    assert "restart:k3s" in gone


def test_a_template_of_containerds_lies_where_k3s_looks_and_restarts_it() -> None:
    machine = Own(asked())
    template: dict[str, Any] = {"config-v3.toml.tmpl": '{{ template "base" . }}\n'}
    found = machine.assess(files={**FILES, **template}, config=asked().config)
    assert ids(found) == [f"write:{TEMPLATE}", "restart:k3s", "wait:k3s"]
    machine.put({TEMPLATE: "# by hand\n"})
    assert changes(machine) == []
    found = machine.assess(files={**FILES, **template}, config=asked().config)
    assert found.changes[0].reason == "not written by productive-k3s; its content differs"
    for file in desired_files(wish(files=template), machine.facts()):
        if file.path == TEMPLATE:
            machine.put({TEMPLATE: file.text})
    assert changes(machine) == [f"remove:{TEMPLATE}", "restart:k3s", "wait:k3s"]


def test_it_is_nobody_elses_to_read() -> None:
    machine = Own(asked())
    assert {file.mode for file in desired_files(asked(), machine.facts()) if file.path.startswith(paths.FILES)} == {
        0o600
    }
