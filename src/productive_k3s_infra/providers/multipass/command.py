"""The command `multipass`: one method for each sub-command that is used, typed answers, our errors.

Blocking; call it from a thread. What is missing here is not used, on purpose: `purge` takes away every deleted instance
of the user, `exec` hangs at times (SSH is spoken instead), `transfer` cannot read everywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol, TypeVar

from productive_k3s.contract.secret import Secret
from productive_k3s_infra import _process
from productive_k3s_infra.errors import ProcessFailed, ProviderFailed
from productive_k3s_infra.providers.multipass import answers, failures
from productive_k3s_infra.providers.multipass.answers import Instance, Listed

_T = TypeVar("_T")
OLDEST = (1, 13)
_ANSWER_SECONDS = 60.0
_DELETE_SECONDS = 300.0
# The command is told to give up first: it says more than a killed one.
_MARGIN_SECONDS = 60.0


class Run(Protocol):
    """`_process.run`, or what a test puts in its place."""

    def __call__(
        self,
        argv: tuple[str, ...],
        *,
        input: str | bytes | Secret | None = None,  # noqa: A002 - as in _process.run
        timeout_seconds: float = 60,
        check: bool = True,
    ) -> _process.ProcessResult: ...


@dataclass(frozen=True)
class Wish:
    """The instance that `launch` shall make; sizes as Multipass reads them (`4G`)."""

    name: str
    image: str
    cpus: int
    memory: str
    disk: str


class Multipass:
    """Methods in the order of the alphabet. Every failure is ProviderFailed with a code `multipass.*`."""

    def __init__(self, run: Run = _process.run, program: str = "multipass") -> None:
        self._run = run
        self._program = program

    def delete(self, name: str) -> None:
        """Take one instance away for good, its disk too; no error if there is none. Other deleted ones stay."""
        result = self._call("delete", name, "--purge", name, seconds=_DELETE_SECONDS)
        if result.exit_code != 0 and not failures.is_absent(result):
            raise failures.explain("delete", name, result)

    def get(self, key: str) -> str:
        """Return a setting: local.NAME.cpus, local.NAME.memory, local.NAME.disk are an instance's size."""
        return self._checked("get", "", key).stdout.strip()

    def info(self, name: str) -> Instance | None:
        """Look at one instance, None if there is none."""
        result = self._call("info", name, "--format", "json", name)
        if failures.is_absent(result):
            return None
        if result.exit_code != 0:
            raise failures.explain("info", name, result)
        return _understood("info", answers.read_info, result.stdout).get(name)

    def launch(self, wish: Wish, user_data: Secret, *, seconds: float) -> None:
        """Make and start an instance; the user data goes in on standard input and lies in no file.

        Raises TransientLaunch where trying again may help.
        """
        sizes = ("--cpus", str(wish.cpus), "--memory", wish.memory, "--disk", wish.disk)
        patience = ("--timeout", f"{seconds:.0f}")
        words = ("--name", wish.name, *sizes, *patience, "--cloud-init", "-", wish.image)
        self._checked("launch", wish.name, *words, stdin=user_data, seconds=seconds + _MARGIN_SECONDS)

    def list(self) -> Mapping[str, Listed]:
        """Look at all instances of this computer's user, the deleted ones too."""
        found = _understood("list", answers.read_list, self._checked("list", "", "--format", "json").stdout)
        return {instance.name: instance for instance in found}

    def start(self, name: str, *, seconds: float) -> None:
        """Start or resume an instance."""
        words = ("--timeout", f"{seconds:.0f}", name)
        self._checked("start", name, *words, seconds=seconds + _MARGIN_SECONDS)

    def version(self) -> str:
        """Return the daemon's version. Raises multipass.missing, .daemon-down or .too-old."""
        found = _understood("version", answers.read_version, self._checked("version", "", "--format", "json").stdout)
        if not found.daemon:
            raise failures.explain("version", "", _process.ProcessResult((), 3, "", "multipassd does not answer"))
        for version in (found.client, found.daemon):
            numbers = answers.version_numbers(version)
            if numbers < OLDEST:
                raise _too_old(version)
        return found.daemon

    def _checked(
        self,
        command: str,
        instance: str,
        *words: str,
        stdin: Secret | None = None,
        seconds: float = _ANSWER_SECONDS,
    ) -> _process.ProcessResult:
        result = self._call(command, instance, *words, stdin=stdin, seconds=seconds)
        if result.exit_code != 0:
            raise failures.explain(command, instance, result)
        return result

    def _call(
        self,
        command: str,
        instance: str,
        *words: str,
        stdin: Secret | None = None,
        seconds: float = _ANSWER_SECONDS,
    ) -> _process.ProcessResult:
        argv = (self._program, command, *words)
        try:
            return self._run(argv, input=stdin, timeout_seconds=seconds, check=False)
        except ProcessFailed as error:
            raise failures.not_run(command, instance, error) from error


def _understood(command: str, read: Callable[[str], _T], text: str) -> _T:
    try:
        return read(text)
    except ValueError as error:
        raise ProviderFailed(
            f"the output of multipass {command} has an unknown format",
            evidence=str(error),
            remedy="use Multipass 1.13 to 1.16, and report this version",
            code="multipass.answer",
        ) from error


def _too_old(version: str) -> ProviderFailed:
    oldest = ".".join(map(str, OLDEST))
    return ProviderFailed(
        f"Multipass {version} is too old: {oldest} or newer is needed",
        evidence="older versions were never tested with pk3s",
        remedy="update it (Linux: snap refresh multipass; macOS: brew upgrade --cask multipass)",
        code="multipass.too-old",
    )
