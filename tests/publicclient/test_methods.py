"""Every method of the public client's classes, compared with the cluster itself (clients §3)."""

from __future__ import annotations

import hashlib
import pwd
import re
import secrets
import stat
import tarfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.harness.gateway import Config, Gateway, running_gateway
from tests.harness.slurm import slurm
from tests.harness.testbed import Testbed
from tests.harness.waiting import eventually
from tests.publicclient.conftest import PublicClient, Raised, Start, owned

#: The first of them makes the client's environment, from the registry.
pytestmark = pytest.mark.timeout(400)

SERVICES = ["certificator", "utilities", "tasks", "compute", "storage"]
HERE = Path(__file__)
#: Methods that tell the client something, and ask the gateway nothing.
LOCAL = {"set_api_version", "log", "create_new_session", "close_session"}


async def test_every_method_is_driven_here(client: PublicClient) -> None:
    text = HERE.read_text() + HERE.with_name("test_transfers.py").read_text()
    driven = set(re.findall(r'\.call\(\s*"(\w+)"', text))
    assert await client.methods() - LOCAL <= driven


# -- status ----------------------------------------------------------------------------


async def test_services(client: PublicClient) -> None:
    assert [one["service"] for one in await client.call("all_services")] == SERVICES
    assert (await client.call("service", service_name="compute"))["status"] == "available"


async def test_systems(client: PublicClient) -> None:
    expected = {"system": "cluster", "status": "available", "description": "System ready"}
    assert await client.call("all_systems") == [expected]
    assert await client.call("system", system_name="cluster") == expected
    with pytest.raises(Raised, match="404"):
        await client.call("system", system_name="weather")


async def test_parameters(client: PublicClient) -> None:
    parameters = await client.call("parameters")
    versions = [p for p in parameters["general"] if p["name"] == "FIRECREST_VERSION"]
    assert versions[0]["value"] == "1.16.6"
    assert set(parameters) == {"general", "compute", "utilities", "storage"}


async def test_filesystems(client: PublicClient) -> None:
    assert await client.call("filesystems") == {"cluster": []}
    assert await client.call("filesystems", system_name="cluster") == {"cluster": []}


# -- utilities -------------------------------------------------------------------------


async def test_directories(client: PublicClient, workdir: Path) -> None:
    (deep := workdir / "one" / "two").parent.parent.mkdir(exist_ok=True)
    await client.call("mkdir", machine="cluster", target_path=str(deep), p=True)
    assert deep.is_dir()
    with pytest.raises(Raised):
        await client.call("mkdir", machine="cluster", target_path=str(deep))
    owned(deep / "file", b"123")
    owned(deep / ".hidden")
    listed = await client.call("list_files", machine="cluster", target_path=str(deep))
    assert [(one["name"], one["type"], one["size"]) for one in listed] == [("file", "-", "3")]
    listed = await client.call(
        "list_files", machine="cluster", target_path=str(deep), show_hidden=True
    )
    assert {one["name"] for one in listed} == {"file", ".hidden"}
    listed = await client.call(
        "list_files", machine="cluster", target_path=str(workdir), recursive=True
    )
    assert {one["name"] for one in listed} == {"one", "one/two", "one/two/file"}
    with pytest.raises(Raised) as caught:
        await client.call("list_files", machine="cluster", target_path=f"{workdir}/none")
    assert caught.value.kind == "HeaderException"


async def test_names_and_modes(client: PublicClient, workdir: Path) -> None:
    file, moved, copied, link = (workdir / name for name in ("file", "moved", "copied", "link"))
    owned(file, b"content")
    await client.call("mv", machine="cluster", source_path=str(file), target_path=str(moved))
    assert not file.exists()
    await client.call("copy", machine="cluster", source_path=str(moved), target_path=str(copied))
    assert copied.read_bytes() == moved.read_bytes() == b"content"
    await client.call("chmod", machine="cluster", target_path=str(copied), mode="600")
    assert stat.S_IMODE(copied.stat().st_mode) == 0o600
    await client.call(
        "chown", machine="cluster", target_path=str(copied), owner="alice", group="alice"
    )
    await client.call("symlink", machine="cluster", target_path=str(moved), link_path=str(link))
    assert link.readlink() == moved
    await client.call("simple_delete", machine="cluster", target_path=str(copied))
    assert not copied.exists()


async def test_what_a_file_is(client: PublicClient, workdir: Path) -> None:
    content = b"".join(b"line %d\n" % number for number in range(20))
    file = owned(workdir / "file", content)
    where = {"machine": "cluster", "target_path": str(file)}
    assert await client.call("file_type", **where) == "ASCII text"
    found = file.stat()
    described = await client.call("stat", **where, dereference=True)
    assert described["ino"] == found.st_ino
    assert described["size"] == len(content)
    assert await client.call("checksum", **where) == hashlib.sha256(content).hexdigest()
    text = content.decode()
    assert await client.call("view", **where) == text
    assert await client.call("head", **where) == "".join(text.splitlines(keepends=True)[:10])
    assert await client.call("tail", **where, lines="1") == "line 19\n"
    assert await client.call("head", **where, bytes="4") == "line"


async def test_small_files_in_both_directions(
    client: PublicClient, workdir: Path, tmp_path: Path
) -> None:
    here, back = tmp_path / "here.bin", tmp_path / "back.bin"
    # the asynchronous class tries to read what it gets as text (clients §3.2)
    content = "täxt ".encode() * 10_000
    here.write_bytes(content)
    await client.call(
        "simple_upload", machine="cluster", source_path=str(here), target_path=str(workdir)
    )
    assert (workdir / "here.bin").read_bytes() == content
    await client.call(
        "simple_download",
        machine="cluster",
        source_path=f"{workdir}/here.bin",
        target_path=str(back),
    )
    assert back.read_bytes() == content


async def test_archives(client: PublicClient, workdir: Path) -> None:
    source, archive, target = workdir / "source", workdir / "archive.tar.gz", workdir / "target"
    for directory in (source, target):
        await client.call("mkdir", machine="cluster", target_path=str(directory))
    owned(source / "file", b"content")
    await client.call(
        "compress", machine="cluster", source_path=str(source), target_path=str(archive)
    )
    with tarfile.open(archive) as opened:
        assert "source/file" in opened.getnames()
    await client.call(
        "extract", machine="cluster", source_path=str(archive), target_path=str(target)
    )
    assert (target / "source" / "file").read_bytes() == b"content"


async def test_who_one_is(client: PublicClient) -> None:
    alice = pwd.getpwnam("alice")
    assert await client.call("whoami") == "alice"
    assert await client.call("whoami", machine="cluster") == "alice"
    groups = await client.call("groups", machine="cluster")
    assert groups["user"] == {"name": "alice", "id": str(alice.pw_uid)}
    assert groups["group"]["id"] == str(alice.pw_gid)


# -- compute ---------------------------------------------------------------------------


async def test_jobs(client: PublicClient, workdir: Path, tmp_path: Path) -> None:
    script = '#!/bin/bash\n#SBATCH --job-name=public\necho "$WORD"\n'
    job = await client.call(
        "submit", machine="cluster", script_str=script, env_vars={"WORD": "one two"}
    )
    job_id = job["jobid"]
    assert job["firecrest_taskid"]
    output = await written(Path(job["job_file_out"]))
    assert output == "one two\n"
    assert "JobName=public" in (await slurm("scontrol", "show", "job", str(job_id))).stdout

    (local := tmp_path / "local.sh").write_text("#!/bin/bash\necho local\n")
    job = await client.call("submit", machine="cluster", script_local_path=str(local))
    assert await written(Path(job["job_file_out"])) == "local\n"

    remote = owned(workdir / "remote.sh", b"#!/bin/bash\necho remote\n")
    job = await client.call("submit", machine="cluster", script_remote_path=str(remote))
    assert await written(Path(job["job_file_out"])) == "remote\n"

    async def accounted() -> Any:
        rows = await client.call("poll", machine="cluster", jobs=[job_id])
        # the accounting knows the end of a short job before its name
        ended = rows and rows[0]["state"] == "COMPLETED" and rows[0]["name"] != "allocation"
        return rows[0] if ended else None

    row = await eventually(accounted, "the accounting has the job", limit=60)
    assert (row["jobid"], row["name"], row["user"]) == (str(job_id), "public", "alice")


async def written(path: Path) -> str:
    """The output of a job, once there is some."""

    async def look() -> str | None:
        return (path.read_text() or None) if path.exists() else None

    return await eventually(look, f"{path} is written", limit=60)


async def test_active_jobs_and_cancelling(client: PublicClient) -> None:
    script = "#!/bin/bash\n#SBATCH --hold\ntrue\n"
    job_id = (await client.call("submit", machine="cluster", script_str=script))["jobid"]
    active = await client.call("poll_active", machine="cluster", jobs=[job_id])
    assert [(one["jobid"], one["state"]) for one in active] == [(str(job_id), "PENDING")]
    await client.call("cancel", machine="cluster", job_id=job_id)

    async def gone() -> bool:
        told = await slurm("squeue", "--noheader", "--format=%i", user="alice")
        return str(job_id) not in told.stdout

    await eventually(gone, "the job is cancelled", limit=60)


async def test_a_script_that_slurm_refuses_raises(client: PublicClient) -> None:
    with pytest.raises(Raised) as caught:
        await client.call(
            "submit", machine="cluster", script_str="#!/bin/bash\n#SBATCH --partition=none\n"
        )
    assert "invalid partition" in str(caught.value)


async def test_the_cluster_is_described(client: PublicClient) -> None:
    partitions = await client.call("partitions", machine="cluster")
    told = await slurm("sinfo", "--noheader", "--format=%R", user="alice")
    assert {one["PartitionName"] for one in partitions} == set(told.stdout.split())
    nodes = await client.call("nodes", machine="cluster")
    told = await slurm("sinfo", "--noheader", "-N", "--format=%N", user="alice")
    assert {one["NodeName"] for one in nodes} == set(told.stdout.split())
    (one,) = await client.call("nodes", machine="cluster", nodes=[nodes[0]["NodeName"]])
    # others' jobs change its state
    assert {**one, "State": None} == {**nodes[0], "State": None}
    assert isinstance(await client.call("reservations", machine="cluster"), list)


# -- reservations ----------------------------------------------------------------------


@pytest.fixture(scope="module")
async def offering(
    base_config: Config, testbed: Testbed, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Gateway]:
    """A gateway that offers the deprecated reservations."""
    service = {"enabled": True, "command": str(testbed.reservation_tool)}
    config = {**base_config, "reservations": service}
    async with running_gateway(config, tmp_path_factory.mktemp("gateway")) as running:
        yield running


@pytest.mark.parametrize("kind", ["Firecrest", "AsyncFirecrest"])
async def test_reservations(kind: str, start: Start, offering: Gateway) -> None:
    client = await start(kind, offering)
    name = f"r{secrets.token_hex(6)}"
    wanted = {
        "machine": "cluster",
        "reservation": name,
        "account": "proj01",
        "number_of_nodes": "1",
        "node_type": "ntype",
        "start_time": "2099-05-01T08:00:00",
        "end_time": "2099-05-01T18:00:00",
    }
    await client.call("create_reservation", **wanted)
    await client.call("update_reservation", **{**wanted, "number_of_nodes": "2"})
    found = await client.call("all_reservations", machine="cluster")
    assert [one["nodecnt"] for one in found if one["reservationname"] == name] == ["2"]
    await client.call("delete_reservation", machine="cluster", reservation=name)
    found = await client.call("all_reservations", machine="cluster")
    assert name not in [one["reservationname"] for one in found]
