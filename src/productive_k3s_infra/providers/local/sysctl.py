"""The kernel's settings that machines share with this computer: raised for them, and put back after the last one.

A kubelet sets some itself (kubernetes, kubelet container manager: `setupKernelTunables`, `--protect-kernel-defaults`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from productive_k3s_infra.providers.local.store import write_atomically

# Not under /var: a restart of the computer resets both the settings and this.
RUN = Path("/run/pk3s-machines")
_SAVED = "sysctls.json"

# More than about 25 machines run out of the default 128 inotify instances.
RAISED: Mapping[str, int] = {
    "fs/inotify/max_user_instances": 8192,
    "fs/inotify/max_user_watches": 524288,
    "net/netfilter/nf_conntrack_max": 262144,
}
_CHANGED_BY_KUBELET = (
    "vm/overcommit_memory",
    "vm/panic_on_oom",
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys",
    "kernel/keys/root_maxbytes",
)


def save_and_raise(run: Path = RUN, proc_sys: Path = Path("/proc/sys")) -> None:
    """Remember the settings as they are, unless that was done already, then raise those that many machines need."""
    saved = run / _SAVED
    if not saved.exists():
        present = {name: _read(proc_sys / name) for name in (*RAISED, *_CHANGED_BY_KUBELET)}
        run.mkdir(parents=True, exist_ok=True)
        write_atomically(saved, json.dumps({name: value for name, value in present.items() if value is not None}))
    for name, wanted in RAISED.items():
        now = _read(proc_sys / name)
        if now is not None and now.isdigit() and int(now) < wanted:
            (proc_sys / name).write_text(str(wanted))


def restore(run: Path = RUN, proc_sys: Path = Path("/proc/sys")) -> None:
    """Put the remembered settings back and forget them; does nothing when none are remembered."""
    saved = run / _SAVED
    if not saved.exists():
        return
    for name, value in json.loads(saved.read_text()).items():
        if _read(proc_sys / name) != value:
            (proc_sys / name).write_text(value)
    saved.unlink()


def _read(path: Path) -> str | None:
    try:
        return path.read_text().strip()
    except FileNotFoundError:
        return None
