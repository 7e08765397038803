"""Static tests read nothing of whoever runs them: an empty home, and an `ssh` without any configuration."""

from __future__ import annotations

import os
import pwd
import shlex
import shutil
from collections.abc import Iterator

import pytest

from productive_k3s_infra.hosts.ssh.openssh import this_person


@pytest.fixture(scope="session", autouse=True)
def _nobodys_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Give the whole run a person who has nothing yet.

    OpenSSH takes the home of the user database, whatever $HOME says, and `/etc/ssh/ssh_config` besides. So `ssh` is a
    script here that is told to read neither; of two -F it takes the last one, a test's own.
    """
    folder = tmp_path_factory.mktemp("nobody")
    home, programs = folder / "home", folder / "bin"
    for made in (home, programs):
        made.mkdir()
    entry, find = pwd.getpwuid(os.getuid()), pwd.getpwuid
    theirs = pwd.struct_passwd((*entry[:5], str(home), *entry[6:]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pwd, "getpwuid", lambda uid: theirs if uid == os.getuid() else find(uid))
        patch.setenv("HOME", str(home))
        for name in ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "SSH_AUTH_SOCK"):
            patch.delenv(name, raising=False)
        real = shutil.which("ssh")
        if real is not None:
            (programs / "ssh").write_text(f'#!/bin/sh\nexec {shlex.quote(real)} -F none "$@"\n')
            (programs / "ssh").chmod(0o755)
            patch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
        this_person.cache_clear()
        yield
    this_person.cache_clear()
