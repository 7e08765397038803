"""What a machine calls its processor is one thing everywhere: in its facts, and in the release's names for it."""

from __future__ import annotations

import pytest

from productive_k3s.doors.host import run_to_end
from productive_k3s.facts.release import resolve
from static.contract_program.simulated import Machine


@pytest.mark.parametrize(
    ("machine", "arch", "binary"),
    [
        ("x86_64", "amd64", "k3s"),
        ("aarch64", "arm64", "k3s-arm64"),
        ("armv6l", "arm", "k3s-armhf"),
        ("armv7l", "arm", "k3s-armhf"),
        ("armv8l", "arm", "k3s-armhf"),  # 32-bit programs on a 64-bit processor
    ],
)
def test_facts_and_release_agree(machine: str, arch: str, binary: str) -> None:
    simulated = Machine()
    simulated.system.put(
        {
            "/proc/sys/kernel/arch": f"{machine}\n",
            f"/release/v1.34.4+k3s1/sha256sum-{arch}.txt": f"{'1' * 64}  {binary}\n",
        }
    )
    assert simulated.facts().host.os.arch == arch
    found = run_to_end(resolve(simulated.host(), machine, None, "/release"))
    assert found.binary.name == binary
