"""`/utilities/compress` and `/utilities/extract` (Contract: rest-v1 §6.16)."""

from __future__ import annotations

import secrets
import shutil
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.api.v1.both_ways import config as config  # fixtures
from tests.api.v1.both_ways import exec_gateway as exec_gateway
from tests.api.v1.both_ways import gateway as gateway
from tests.api.v1.both_ways import way as way
from tests.harness.client import Answer, Client


async def compress(client: Client, source: object, target: object, **more: str) -> Answer:
    form = {"sourcePath": str(source), "targetPath": str(target), **more}
    return await client.post("/utilities/compress", data=form)


async def extract(client: Client, source: object, target: object, **more: str) -> Answer:
    form = {"sourcePath": str(source), "targetPath": str(target), **more}
    return await client.post("/utilities/extract", data=form)


@pytest.fixture
def tree(workdir: Path) -> Path:
    """A directory with a file, a link and an odd name."""
    path = workdir / "tree"
    path.mkdir()
    (path / "f").write_text("content")
    (path / "-rf *").write_text("odd")
    (path / "l").symlink_to("f")
    own(path)
    return path


def own(path: Path) -> None:
    for each in (path, *path.rglob("*")):
        if not each.is_symlink():
            shutil.chown(each, "alice", "alice")


def directory(workdir: Path, name: str = "out") -> Path:
    path = workdir / name
    path.mkdir()
    shutil.chown(path, "alice", "alice")
    return path


@pytest.mark.parametrize("name", ["a.tar.gz", "-cf.gz", "host:x.tgz", "with blank.gz"])
async def test_there_and_back(alice: Client, workdir: Path, tree: Path, name: str) -> None:
    archive, out = workdir / name, directory(workdir)
    answer = await compress(alice, f"{tree}//", archive)
    assert (answer.status, answer.json) == (
        201,
        {"description": "Success to compress file.", "output": ""},
    )
    answer = await extract(alice, archive, out)
    assert (answer.status, answer.json) == (
        201,
        {"description": "Success to extract file.", "output": ""},
    )
    assert (out / "tree" / "f").read_text() == "content"
    assert (out / "tree" / "-rf *").read_text() == "odd"
    assert (out / "tree" / "l").readlink() == Path("f")


@pytest.mark.parametrize("name", ["a[12].zip", "*.zip", "a?.zip", "[a*.zip"])
async def test_the_name_of_an_archive_is_no_pattern(
    alice: Client, workdir: Path, name: str
) -> None:
    inner = directory(workdir, "[xyz]")
    for each in (name, "a1.zip", "a*.zip", "ab.zip"):
        with zipfile.ZipFile(inner / each, "w") as packed:
            packed.writestr("inside", each)
        shutil.chown(inner / each, "alice", "alice")
    assert (await extract(alice, inner / name, directory(workdir), extension="zip")).status == 201
    assert (workdir / "out" / "inside").read_text() == name


async def test_relative_names_are_never_options(alice: Client, workdir: Path) -> None:
    home = Path("/home/alice")
    number = secrets.randbelow(10**9)  # the home is everybody's
    source = home / f"--checkpoint={number}"
    source.write_text("content")
    shutil.chown(source, "alice", "alice")
    archive = home / f"-v{number}.gz"
    try:
        assert (await compress(alice, source.name, archive.name)).status == 201
        with tarfile.open(archive) as packed:
            assert packed.getnames() == [f"./{source.name}"]
        assert (await extract(alice, archive.name, directory(workdir))).status == 201
        assert (workdir / "out" / source.name).read_text() == "content"
    finally:
        source.unlink()
        archive.unlink(missing_ok=True)


async def test_links_may_be_followed(alice: Client, workdir: Path, tree: Path) -> None:
    archive, outside = workdir / "a.tgz", workdir / "outside"
    outside.write_text("outside")
    (tree / "out").symlink_to(outside)
    for flag, is_file in (("false", False), ("true", True)):
        assert (await compress(alice, tree, archive, dereference=flag)).status == 201
        with tarfile.open(archive) as packed:
            assert packed.getmember("tree/out").isfile() is is_file


@pytest.mark.parametrize(
    ("name", "form", "kind"),
    [
        ("a.zip", {}, "zip"),
        ("a.zip", {"type": "auto"}, "zip"),
        ("a.tar", {}, "tar"),
        ("a.tar.gz", {}, "gztar"),
        ("a.tgz", {}, "gztar"),
        ("a.tar.bz2", {}, "bztar"),
        ("a.tbz2", {}, "bztar"),
        ("zip", {"type": ".zip"}, "zip"),
        ("a.bin", {"type": "tar.gz"}, "gztar"),
        ("a.bin", {"extension": ".tar"}, "tar"),
        ("a.zip", {"extension": "job name"}, "zip"),
        ("a.bin", {"type": "tar.bz2", "extension": "zip"}, "bztar"),
    ],
)
async def test_every_format(
    alice: Client, workdir: Path, tree: Path, name: str, form: dict[str, str], kind: str
) -> None:
    archive = workdir / name
    if kind == "zip":
        with zipfile.ZipFile(archive, "w") as zipped:
            zipped.write(tree / "f", "f")
    else:
        shutil.move(
            shutil.make_archive(str(workdir / "made"), kind, tree, "f"),
            archive,
        )
    out = directory(workdir)
    answer = await extract(alice, archive, out, **form)
    assert answer.status == 201, answer.json
    assert (out / "f").read_text() == "content"


@pytest.mark.parametrize(
    ("name", "form"),
    [("a.rar", {}), ("a", {}), ("a.gz", {"type": "rar"}), ("a.x", {"extension": "y"})],
)
async def test_an_unknown_format_is_refused(
    alice: Client, workdir: Path, name: str, form: dict[str, str]
) -> None:
    answer = await extract(alice, workdir / name, workdir, **form)
    assert (answer.status, answer.json) == (
        400,
        {
            "description": "Error on extract operation",
            "error": f"Unsupported file format in {workdir / name}.",
        },
    )


async def test_nothing_leaves_the_target(alice: Client, workdir: Path) -> None:
    archive, out = workdir / "a.tar", directory(workdir)
    (workdir / "f").write_text("content")
    with tarfile.open(archive, "w") as packed:
        packed.add(workdir / "f", "../escaped")
    await extract(alice, archive, out)
    assert not (workdir / "escaped").exists()


async def test_faults(alice: Client, workdir: Path, tree: Path) -> None:
    missing = workdir / "missing.gz"
    for answer in (
        await extract(alice, missing, workdir),
        await compress(alice, missing, workdir / "a.gz"),
    ):
        assert answer.status == 400
        assert answer.headers["X-Invalid-Path"] == f"{missing} is an invalid path"
    answer = await compress(alice, tree, "/etc/a.gz")
    assert answer.status == 400
    assert "X-Permission-Denied" in answer.headers
