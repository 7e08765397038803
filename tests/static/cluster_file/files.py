"""The surroundings of a cluster file in tests: keys, a directory for a release, an environment."""

from __future__ import annotations

from pathlib import Path

HOST_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f"


def surround(folder: Path) -> dict[str, str]:
    """Make what the cases name beside their file, and return the environment they are read in."""
    (folder / "release-directory").mkdir()
    keys = folder / "keys"
    home = folder / "home" / ".ssh"
    for parent in (keys, home):
        parent.mkdir(parents=True)
    for path, mode in ((keys / "good", 0o600), (keys / "good.pub", 0o644), (keys / "open", 0o644)):
        path.write_text("no key, only a file\n")
        path.chmod(mode)
    (folder / "notes.txt").write_text("kind: Policy\n")
    (folder / "latin.txt").write_bytes(b"\xe9t\xe9\n")
    (folder / "large.txt").write_text("x" * (256 * 1024 + 1))
    (keys / "pem").write_text("-----BEGIN PRIVATE KEY-----\n")
    (folder / "home" / "extra.yaml").write_text("more: true\n")
    (home / "id_ed25519").write_text("no key, only a file\n")
    (home / "id_ed25519").chmod(0o600)
    return {"HOME": str(folder / "home"), "EMPTY": "", "WORD": "many", "PORT": "2222", "ADDRESS": "10.0.0.11"}
