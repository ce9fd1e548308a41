"""The script of a transfer job, run by a real shell (Contract: rest-v1 §8.6)."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from firecrest.commands.base import Argv
from firecrest.commands.files import Copy
from firecrest.commands.transfer_job import DeleteAll, Synchronise, TransferJob

#: Names that the text rule of the API lets pass, and some that it does not.
HOSTILE = [
    "a b",
    "$(touch pwned)",
    "`touch pwned`",
    "-rf",
    "ü*?[x]{y}",
    "~root",
    "#x",
    "h:p",
    "it's",
]


def job(command: Argv, **changes: str | None) -> TransferJob:
    values: dict[str, str | None] = {
        "name": "cp-job",
        "time": "02:00:00",
        "partition": None,
        "constraint": None,
        "after": None,
        "trace": "abc",
        **changes,
    }
    return TransferJob(command=command, **values)  # type: ignore[arg-type]


def run(script: bytes, directory: Path, **environment: str) -> subprocess.CompletedProcess[bytes]:
    path = directory / "job.sh"
    path.write_bytes(script)
    return subprocess.run(
        ["/bin/bash", path],
        cwd=directory,
        env={"PATH": os.environ["PATH"], "HOME": str(directory), **environment},
        capture_output=True,
        check=False,
    )


@pytest.mark.parametrize("name", HOSTILE)
def test_what_users_choose_is_data(tmp_path: Path, name: str) -> None:
    source = tmp_path / name
    source.write_text("content")
    command = Copy(f"./{name}", f"./{name}.copy").argv()
    done = run(job(command, name=name, trace=name).script(), tmp_path)
    assert (done.returncode, done.stderr) == (0, b"")
    assert (tmp_path / f"{name}.copy").read_text() == "content"
    assert f"Trace ID: {name}\n" in done.stdout.decode()
    assert {path.name for path in tmp_path.iterdir()} == {name, f"{name}.copy", "job.sh"}


def test_the_status_of_the_job_is_that_of_the_command(tmp_path: Path) -> None:
    done = run(job(("sh", "-c", "exit 7")).script(), tmp_path)
    assert done.returncode == 7
    assert done.stderr == b""
    assert b"exit status 7" in done.stdout


def test_only_jobs_of_slurm_use_its_launcher(tmp_path: Path) -> None:
    launcher = tmp_path / "srun"
    launcher.write_text('#!/bin/sh\necho launched; exec "$@"\n')
    launcher.chmod(0o755)
    script = job(("echo", "hello")).script()
    path = f"{tmp_path}:{os.environ['PATH']}"
    assert b"launched" not in run(script, tmp_path, PATH=path).stdout
    launched = run(script, tmp_path, PATH=path, SLURM_JOB_NODELIST="n1")
    assert b"launched\nhello\n" in launched.stdout


@pytest.mark.parametrize("name", ["h:p", "-v", "rsync://h/m"])
def test_rsync_looks_for_no_other_machine(tmp_path: Path, name: str) -> None:
    source = tmp_path / name
    source.parent.mkdir(parents=True, exist_ok=True)
    source.write_text("content")
    done = run(job(Synchronise(name, "o:t").argv()).script(), tmp_path)
    assert (done.returncode, done.stderr) == (0, b"")
    assert (tmp_path / "o:t").read_text() == "content"


def test_what_is_gone_is_removed(tmp_path: Path) -> None:
    done = run(job(DeleteAll("-none").argv()).script(), tmp_path)
    assert (done.returncode, done.stderr) == (0, b"")


def test_directives_are_those_wanted() -> None:
    wanted = job(("true",), name="my job", partition="xfer", constraint="a|b", after="7")
    lines = wanted.script().decode().splitlines()
    assert lines[0] == "#!/bin/bash -l"
    assert [line for line in lines if line.startswith("#SBATCH")] == [
        '#SBATCH --job-name="my job"',
        '#SBATCH --time="02:00:00"',
        '#SBATCH --output="job-%j.out"',
        '#SBATCH --error="job-%j.err"',
        '#SBATCH --ntasks="1"',
        '#SBATCH --partition="xfer"',
        '#SBATCH --constraint="a|b"',
        '#SBATCH --dependency="afterok:7"',
    ]
