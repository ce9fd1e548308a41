"""Virtual environments of clients, which need other packages than this project."""

from __future__ import annotations

import fcntl
import subprocess
import sys
from pathlib import Path

_CLIENTS = Path(__file__).parents[2] / ".venv" / "clients"


def environment_with(name: str, *packages: str) -> Path:
    """The environment of this name, made on first use, with these packages and what they need."""
    directory = _CLIENTS / name
    _CLIENTS.mkdir(exist_ok=True)
    with (_CLIENTS / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        complete = directory / "complete"
        if not complete.exists() or complete.read_text() != str(list(packages)):
            pip = [str(directory / "bin" / "pip"), "install", "--quiet"]
            pip += ["--disable-pip-version-check", *packages]
            subprocess.run([sys.executable, "-m", "venv", "--clear", str(directory)], check=True)
            subprocess.run(pip, check=True)
            complete.write_text(str(list(packages)))
    return directory
