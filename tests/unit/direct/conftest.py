"""A machine, with each shell that a user may have."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.unit.direct.local import Local, Machine


@pytest.fixture(params=["dash", "bash"])
def machine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Machine]:
    shell = shutil.which(request.param)
    assert shell is not None, f"{request.param} is needed to test direct.sh under it"
    programs, home = tmp_path / "bin", tmp_path / "home"
    programs.mkdir()
    home.mkdir()
    (programs / "sh").symlink_to(shell)
    yield Machine(Local(home, programs))
    for start in home.glob(".firecrest/jobs/*/start"):
        if not start.with_name("end").exists():
            with suppress(ProcessLookupError):
                os.killpg(int(start.read_text().split()[5]), signal.SIGKILL)
