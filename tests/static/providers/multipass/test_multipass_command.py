"""The command `multipass` as values: its documents, its failures, what goes into an argument vector."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from ipaddress import IPv4Network
from pathlib import Path

import pytest

from multipass_stub.bed import Stub, install
from multipass_stub.program import execute
from productive_k3s.contract.secret import Secret
from productive_k3s_infra import _process
from productive_k3s_infra._process import ProcessResult
from productive_k3s_infra.errors import ProviderFailed
from productive_k3s_infra.providers.multipass import answers, failures
from productive_k3s_infra.providers.multipass.command import Multipass, Wish
from static.providers.multipass.user_data import USER_DATA

SAMPLES = Path(__file__).parent / "samples"
VERSIONS = ("1.13", "1.14", "1.15", "1.16")
WISH = Wish("edge-agent-1", "24.04", 2, "4G", "20G")


@dataclass
class Scripted:
    """Runs nothing: answers with these, in this order."""

    answers: list[ProcessResult]
    argvs: list[tuple[str, ...]] = field(default_factory=list)
    inputs: list[object] = field(default_factory=list)

    def __call__(self, argv: tuple[str, ...], **options: object) -> ProcessResult:
        self.argvs.append(argv)
        self.inputs.append(options["input"])
        return self.answers.pop(0)


def said(code: int, stderr: str = "", stdout: str = "") -> ProcessResult:
    return ProcessResult((), code, stdout, stderr)


@pytest.fixture
def stub(tmp_path: Path) -> Stub:
    return install(tmp_path / "stub")


@pytest.mark.parametrize("version", VERSIONS)
def test_documents_of_every_supported_version_are_understood(version: str) -> None:
    folder = SAMPLES / version
    assert answers.version_numbers(answers.read_version((folder / "version.json").read_text()).daemon) == tuple(
        map(int, version.split("."))
    )
    listed = {one.name: one for one in answers.read_list((folder / "list.json").read_text())}
    assert {name: one.state for name, one in listed.items()} == {
        "edge-server-1": "Running",
        "edge-agent-1": "Stopped",
        "other": "Deleted",
        "resting": "Suspended",
    }
    assert listed["edge-server-1"].ipv4[0] == "10.119.5.11"
    found = answers.read_info((folder / "info.json").read_text())
    assert found["edge-server-1"].image_hash == "9c4b" * 16
    assert found["edge-agent-1"].ipv4 == ()


def test_every_sample_has_a_supported_version_and_none_is_missing() -> None:
    assert {path.name for path in SAMPLES.iterdir() if path.is_dir()} == {*VERSIONS, "daemon-down"}


@pytest.mark.parametrize(
    ("document", "wrong"),
    [
        ("", "Expecting value"),
        ("[]", "dictionary"),
        ('{"list": [{"name": "a"}]}', "list.0.state"),
        ('{"list": [{"name": "a", "state": "Dancing", "ipv4": []}]}', "list.0.state"),
    ],
)
def test_a_document_of_another_form_is_no_answer(document: str, wrong: str) -> None:
    with pytest.raises(ProviderFailed) as caught:
        Multipass(Scripted([said(0, stdout=document)])).list()
    assert caught.value.code == "multipass.answer"
    assert wrong in caught.value.evidence


def test_what_is_no_address_is_left_out() -> None:
    (one,) = answers.read_list('{"list": [{"name": "a", "state": "Running", "ipv4": ["N/A", "10.0.0.9"]}]}')
    assert one.ipv4 == ("10.0.0.9",)


@pytest.mark.parametrize(
    ("text", "numbers"),
    [("1.14.1", (1, 14)), ("1.15.0+mac", (1, 15)), ("1.16.0-dev.120+g12ab34cd", (1, 16)), ("next", ())],
)
def test_versions_are_numbers(text: str, numbers: tuple[int, ...]) -> None:
    assert answers.version_numbers(text) == numbers


@pytest.mark.parametrize(
    ("wanted", "shown", "same"),
    [
        ("4G", "4.0GiB", True),
        ("4096M", "4.0GiB", True),
        ("4G", "3.8GiB", False),
        ("8G", "4.0GiB", False),
        ("512M", "512.0MiB", True),
        ("3000M", "2.9GiB", True),  # 2.93, shown with one decimal
        ("20G", "0B", False),
    ],
)
def test_a_size_is_compared_as_multipass_shows_it(wanted: str, shown: str, same: bool) -> None:
    assert answers.same_size(wanted, shown) is same


def test_the_address_is_the_lease_and_none_that_k3s_has_added() -> None:
    inner = (IPv4Network("10.42.0.0/16"), IPv4Network("10.43.0.0/16"))
    assert answers.own_address(("10.119.5.11", "10.42.0.0", "10.42.0.1"), inner) == "10.119.5.11"
    assert answers.own_address(("10.42.0.1", "10.119.5.11"), inner) == "10.119.5.11"
    assert answers.own_address(("10.42.0.1",), inner) == ""
    assert answers.own_address((), inner) == ""


@pytest.mark.parametrize(
    ("command", "result", "code", "words"),
    [
        ("list", said(2, "list failed: cannot connect to the multipass socket\nPlease ensure multipassd is running and "
                         "'/run/s' is accessible"), "multipass.daemon-down", "snap restart"),
        ("info", said(3, "info failed: failed to connect to all addresses"), "multipass.daemon-down", "snap restart"),
        ("list", said(2, "list failed: multipass socket access denied\nPlease check that you have read/write "
                         "permissions to '/run/s'"), "multipass.no-access", "multipass authenticate"),
        ("launch", said(2, "launch failed: The client is not authenticated with the Multipass service."),
         "multipass.no-access", "multipass authenticate"),
        ("launch", said(2, 'launch failed: instance "a" already exists'), "multipass.name-taken", "another name"),
        ("launch", said(2, 'launch failed: instance "a" is being prepared'), "multipass.name-taken", "another name"),
        ("launch", said(5, "Timed out waiting for "
"instance launch."), "multipass.launch-timeout", "apply continues waiting"),
        ("launch", said(2, "launch failed: The following errors occurred:\ntimed out waiting for initialization to "
                           "complete"), "multipass.launch-timeout", "apply continues waiting"),
        ("start", said(2, "start failed: The following errors occurred:\na: timed out waiting for response"),
         "multipass.launch-timeout", "apply continues waiting"),
        ("launch", said(2, 'launch failed: Unable to find an image matching "99" in remote "".'),
         "multipass.launch-failed", "multipass find"),
        ("launch", said(2, "launch failed: KVM support is not enabled on this machine."),
         "multipass.launch-failed", "virtualisation"),
        ("stop", said(2, "stop failed: something"), "multipass.failed", "yourself"),
    ],
)  # fmt: skip
def test_a_failure_is_told_by_what_it_means(command: str, result: ProcessResult, code: str, words: str) -> None:
    error = failures.explain(command, "a", result)
    assert error.code == code
    assert words in error.remedy
    assert error.evidence
    assert "\n" not in error.evidence
    assert not isinstance(error, failures.TransientLaunch)


@pytest.mark.parametrize(
    "text", ['Remote "" is unknown or unreachable.', "failed to download from 'https://cloud-images': Network timeout"]
)
def test_a_launch_that_may_go_well_the_next_time_is_told_apart(text: str) -> None:
    error = failures.explain("launch", "a", said(2, f"launch failed: {text}"))
    assert isinstance(error, failures.TransientLaunch)
    assert error.code == "multipass.launch-failed"


def test_without_multipass_it_is_said_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(ProviderFailed) as caught:
        Multipass(program=str(tmp_path / "multipass")).version()
    assert caught.value.code == "multipass.missing"
    assert "snap install multipass" in caught.value.remedy


def test_a_command_that_does_not_end_is_killed_and_told(tmp_path: Path) -> None:
    program = tmp_path / "multipass"
    program.write_text("#!/bin/sh\nexec sleep 60\n")
    program.chmod(0o755)
    with pytest.raises(ProviderFailed) as caught:
        Multipass(_impatient, str(program)).list()
    assert caught.value.code == "multipass.no-answer"
    with pytest.raises(ProviderFailed) as caught:
        Multipass(_impatient, str(program)).launch(WISH, Secret("x"), seconds=1)
    assert caught.value.code == "multipass.launch-timeout"


def _impatient(argv: tuple[str, ...], **options: object) -> ProcessResult:
    return _process.run(argv, input=b"", timeout_seconds=0.1, check=bool(options["check"]))


def test_a_daemon_that_is_down_shows_in_the_version(stub: Stub) -> None:
    stub.set(fixed=["daemon-down"])
    for ask in (Multipass(program=str(stub.program)).version, Multipass(program=str(stub.program)).list):
        with pytest.raises(ProviderFailed) as caught:
            ask()
        assert caught.value.code == "multipass.daemon-down"
    document = (SAMPLES / "daemon-down" / "version.json").read_text()
    assert answers.read_version(document).daemon == ""


@pytest.mark.parametrize(("client", "daemon"), [("1.12.2", "1.15.1"), ("1.15.1", "1.9.0"), ("next", "1.15.1")])
def test_an_old_version_is_refused_with_the_oldest_that_will_do(stub: Stub, client: str, daemon: str) -> None:
    stub.set(version=client, daemon_version=daemon)
    with pytest.raises(ProviderFailed) as caught:
        Multipass(program=str(stub.program)).version()
    assert caught.value.code == "multipass.too-old"
    assert "1.13" in caught.value.what
    assert "snap refresh" in caught.value.remedy


def test_the_secret_goes_in_on_standard_input_only(stub: Stub) -> None:
    run = Scripted([said(0)])
    Multipass(run).launch(WISH, USER_DATA, seconds=600)
    assert run.inputs == [USER_DATA]
    (argv,) = run.argvs
    assert argv[argv.index("--cloud-init") + 1] == "-"
    assert not [word for word in argv if "PRIVATE" in word]
    Multipass(program=str(stub.program)).launch(WISH, USER_DATA, seconds=600)
    assert "PRIVATE" not in "".join(path.read_text() for path in stub.folder.glob("*.json*"))


def test_one_instance_from_launch_to_delete_and_no_other_is_touched(stub: Stub) -> None:
    """The stand-in answers as the samples do, so what is read here is what would be read there."""
    multipass = Multipass(program=str(stub.program))
    stub.put("other", "Deleted")
    assert multipass.version() == "1.15.1"
    multipass.launch(WISH, USER_DATA, seconds=600)
    assert multipass.list()["edge-agent-1"].state == "Running"
    found = multipass.info("edge-agent-1")
    assert found is not None
    assert found.ipv4 == multipass.list()["edge-agent-1"].ipv4 != ()
    sizes = {name: multipass.get(f"local.edge-agent-1.{name}") for name in ("cpus", "memory", "disk")}
    assert sizes == {"cpus": "2", "memory": "4.0GiB", "disk": "20.0GiB"}
    assert multipass.info("nobody") is None
    multipass.delete("edge-agent-1")
    multipass.delete("edge-agent-1")
    assert list(multipass.list()) == ["other"]
    assert stub.called("purge") == []


@pytest.mark.parametrize(
    ("words", "code", "said_there"),
    [
        (["launch", "--name", "a", "--mem", "1G", "--cloud-init", "-"], 1, "--mem"),
        (["launch", "--name", "a", "--cpus", "0", "--cloud-init", "-"], 1, "invalid CPU count"),
        (["launch", "--name", "a", "--memory", "4 GBs", "--cloud-init", "-"], 2, "not a valid memory size"),
        (["launch", "--name", "a", "--memory", "64M", "--cloud-init", "-"], 2, "Invalid memory size value"),
        (["launch", "--name", "a", "--disk", "100M", "--cloud-init", "-"], 2, "Invalid disk size value"),
        (["launch", "--name", "1a", "--cloud-init", "-"], 2, "Invalid instance name"),
        (["launch", "--name", "a_b", "--cloud-init", "-"], 2, "Invalid instance name"),
        (["launch", "--name", "a", "--timeout", "0", "--cloud-init", "-"], 1, "positive integer"),
        (["launch", "--name", "a", "--cloud-init", "-", "99.99"], 2, "Unable to find an image"),
        (["launch", "--name", "other", "--cloud-init", "-"], 2, "already exists"),
        (["launch", "--name", "a", "--cloud-init", "/tmp/user-data"], 1, "cloud-init"),
        (["info", "--format", "json", "nobody"], 2, "does not exist"),
        (["info", "--format", "xml"], 1, "xml"),
        (["delete", "--purge", "nobody"], 2, "does not exist"),
        (["delete", "--purge"], 1, "required"),
        (["start", "nobody"], 2, "does not exist"),
        (["get", "local.nobody.cpus"], 2, "No such instance"),
        (["exec", "other", "--", "id"], 1, "Unknown Command"),
    ],
)
def test_the_stand_in_refuses_what_multipass_refuses(stub: Stub, words: list[str], code: int, said_there: str) -> None:
    stub.put("other")
    ended, out, err = execute(stub.folder, words, USER_DATA.unmask)
    assert (ended, out, list(stub.instances)) == (code, "", ["other"])
    assert said_there in err


@pytest.mark.parametrize("command", ["version", "list", "info"])
def test_the_stand_in_answers_in_the_form_of_the_samples(stub: Stub, command: str) -> None:
    stub.put("edge-server-1", ipv4=["10.119.5.11"])
    stub.put("edge-agent-1", "Stopped")
    _, out, _ = execute(stub.folder, [command, "--format", "json"], str)
    sample = json.loads((SAMPLES / "1.15" / f"{command}.json").read_text())
    assert _shape(json.loads(out)) <= _shape(sample)
    assert _shape(json.loads(out)) >= {path for path in _shape(sample) if "other" not in path}


def _shape(document: object, path: str = "") -> set[str]:
    """Every path in a document with the kind of what is there; rows of lists are one."""
    if isinstance(document, dict):
        return {found for key, value in document.items() for found in _shape(value, f"{path}.{key}")} or {
            f"{path}:{{}}"
        }
    if isinstance(document, list):
        return {found for value in document for found in _shape(value, f"{path}[]")} or set()
    return {f"{path}:{type(document).__name__}"}


def test_the_environment_of_the_command_is_that_of_the_user(stub: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{stub.bin}{os.pathsep}{os.environ['PATH']}")
    assert Multipass().version() == "1.15.1"
