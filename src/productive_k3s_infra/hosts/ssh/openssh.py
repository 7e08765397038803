"""The person's own `ssh`, asked what its configuration says of a host: `ssh -G`. Nothing is connected to."""

from __future__ import annotations

import asyncio
import functools
import os
import pwd
import shutil
import socket
import tempfile
import threading
from dataclasses import dataclass, field
from pathlib import Path

from productive_k3s_infra._process import ProcessResult, run
from productive_k3s_infra.errors import BadInput, Pk3sError, ProcessFailed
from productive_k3s_infra.hosts.ssh.client_config import ClientConfig, Unusable, Values, configured, parse
from productive_k3s_infra.hosts.ssh.tokens import Person
from productive_k3s_infra.inventory.build import DEFAULT_PORT, Login

# `ssh -F none` reads no configuration at all, and so do we.
NO_CONFIG = "none"
# What OpenSSH tries where nothing else is said, ssh_config(5).
_USUAL_KEYS = tuple(f"~/.ssh/id_{kind}" for kind in ("rsa", "ecdsa", "ecdsa_sk", "ed25519", "ed25519_sk"))
_USUAL_KNOWN_HOSTS = ("~/.ssh/known_hosts", "~/.ssh/known_hosts2", "/etc/ssh/ssh_known_hosts")
_NOBODY = "pk3s-nobody-said-a-user"
# A `Match exec` and a name service may take their time; they are asked before every connection.
_SECONDS = 15.0
_NOISE = ("Pseudo-terminal will not", "terminating, ")


@functools.cache
def this_person() -> Person:
    """Return who runs this program. OpenSSH takes the home of the user database, whatever $HOME says."""
    try:
        entry = pwd.getpwuid(os.getuid())
    except KeyError:
        # A container's arbitrary user: ssh refuses to run for it and says so, and nothing of its own is anywhere.
        return Person(str(os.getuid()), "/nonexistent", os.getuid(), socket.gethostname())
    return Person(entry.pw_name, entry.pw_dir, entry.pw_uid, socket.gethostname())


@dataclass
class OpenSsh:
    """Reads configurations. `file` is what `ssh -F` is given: '' for what ssh reads by itself.

    The same is asked once: who wants to know what has changed since makes another one.
    """

    file: str = ""
    seconds: float = _SECONDS
    _said: dict[tuple[str, ...], Values] = field(default_factory=dict, repr=False)
    _asking: dict[tuple[str, ...], threading.Lock] = field(default_factory=dict, repr=False)

    async def config(self, address: str, user: str | None, port: int | None, where: str) -> ClientConfig:
        """Return what ssh would do to reach an address; None: neither the cluster file nor a person says it.

        Raises BadInput for a configuration that ssh or we cannot use, or that nobody here can read.
        """
        return await asyncio.to_thread(self._config, address, user, port, where)

    def login(self, address: str, user: str | None = None) -> Login:
        """Return the user and port that the configuration says; blocks for as long as ssh takes.

        What is wrong with the configuration is not said here: whoever connects to the address is told.
        """
        try:
            found = self._config(address, user, None, address)
            if user is None and found.user == this_person().name and not self._says_user(address):
                return Login(None, found.port)
        except Pk3sError:
            return Login()
        return Login(found.user, found.port)

    def _config(self, address: str, user: str | None, port: int | None, where: str) -> ClientConfig:
        if shutil.which("ssh") is None:
            return self._without_ssh(address, user, port, where)
        words = (*(("-F", self.file) if self.file else ()), *(("-l", user) if user else ()))
        said = self._said.get((*words, "--", address), {}) if port == DEFAULT_PORT else {}
        if said.get("port") != (str(port),):
            said = self._ask_once((*words, *(("-p", str(port)) if port else ()), "--", address), where)
        # Else ssh was asked before, took this port by itself, and so would say the same again.
        unset = self._ask_once(("-F", NO_CONFIG, "--", "localhost"), where)
        try:
            return configured(said, unset)
        except Unusable as error:
            raise BadInput(
                "pk3s cannot follow the OpenSSH configuration",
                where=where,
                evidence=f"ssh -G {address} says: {error}",
                remedy="remove it for this host, or set in the cluster file how to reach it",
                code="ssh.config",
            ) from error

    def _says_user(self, address: str) -> bool:
        """Return whether the person's file sets a user: of two settings ssh takes the first, and ours comes last."""
        if self.file == NO_CONFIG:
            return False
        file = self.file or str(Path(this_person().home, ".ssh", "config"))
        with tempfile.NamedTemporaryFile("w", prefix="pk3s-ssh-", suffix=".config") as ours:
            ours.write(f'Include "{file}"\nMatch all\n  User {_NOBODY}\n')
            ours.flush()
            return self._ask(("-F", ours.name, "--", address), address).get("user") != (_NOBODY,)

    def _ask_once(self, words: tuple[str, ...], where: str) -> Values:
        with self._asking.setdefault(words, threading.Lock()):
            if words not in self._said:
                self._said[words] = self._ask(words, where)
            return self._said[words]

    def _ask(self, words: tuple[str, ...], where: str) -> Values:
        try:
            done = run(("ssh", "-G", *words), timeout_seconds=self.seconds, check=False)
        except ProcessFailed as error:
            raise BadInput(
                f"ssh -G did not finish within {self.seconds:g} s",
                where=where,
                evidence=error.evidence,
                remedy=f"try: ssh -G {words[-1]}; a command of `Match exec` or a name service may hang",
                code="ssh.config",
            ) from error
        if done.exit_code != 0:
            raise BadInput(
                "ssh cannot use its own configuration",
                where=where,
                evidence=_last_words(done),
                remedy=f"try: ssh -G {words[-1]}",
                code="ssh.config",
            )
        return parse(done.stdout)

    def _without_ssh(self, address: str, user: str | None, port: int | None, where: str) -> ClientConfig:
        file = Path(self.file or Path(this_person().home, ".ssh", "config"))
        if self.file != NO_CONFIG and file.exists():
            raise BadInput(
                "there is an OpenSSH configuration, but no ssh on this computer to read it",
                where=where,
                evidence=str(file),
                remedy="install the OpenSSH client (openssh-client)",
                code="ssh.no-client",
            )
        return ClientConfig(
            hostname=address,
            user=user or this_person().name,
            port=port or 22,
            identity_files=_USUAL_KEYS,
            known_hosts_files=_USUAL_KNOWN_HOSTS,
        )


def _last_words(done: ProcessResult) -> str:
    lines = [line.strip() for line in done.stderr.splitlines() if line.strip() and not line.startswith(_NOISE)]
    return " | ".join(lines[-3:]) or f"it exited with code {done.exit_code}"
