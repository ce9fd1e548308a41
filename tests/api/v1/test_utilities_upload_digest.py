"""`POST /utilities/upload` with a checksum, and of files larger than every buffer."""

from __future__ import annotations

import base64
import hashlib
import os
from pathlib import Path

import pytest

from tests.api.v1.both_ways import config as config  # fixtures
from tests.api.v1.both_ways import exec_gateway as exec_gateway
from tests.api.v1.both_ways import gateway as gateway
from tests.api.v1.both_ways import way as way
from tests.conftest import Connect, Gateways
from tests.harness.client import Answer, Client
from tests.harness.gateway import Config
from tests.harness.multipart import field, file, form

URL = "/utilities/upload"
CONTENT = b"content\x00\xff"
SUM = base64.b64encode(hashlib.sha256(CONTENT).digest()).decode()
OTHER = base64.b64encode(hashlib.sha256(b"other").digest()).decode()


async def upload(client: Client, directory: Path, content: bytes, **headers: str) -> Answer:
    options = form(field("targetPath", str(directory)), file("f", content))
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return await client.post(URL, **{**options, "headers": {**options["headers"], **named}})


@pytest.mark.parametrize(
    "headers",
    [
        {"Digest": f"SHA-256={SUM}"},
        {"Digest": f"md5=abc, sha-256={SUM}"},
        {"Content_Digest": f"sha-256=:{SUM}:"},
        {"Content_Digest": f"sha-256=:{SUM}:", "Digest": f"sha-256={SUM}"},
        {"Digest": "sha-512=abc"},
    ],
    ids=str,
)
async def test_a_file_that_is_what_was_announced_is_kept(
    alice: Client, workdir: Path, headers: dict[str, str]
) -> None:
    assert (await upload(alice, workdir, CONTENT, **headers)).status == 201
    assert (workdir / "f").read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("headers", "error"),
    [
        ({"Digest": f"sha-256={OTHER}"}, "the SHA-256 of the file is not the one announced"),
        (
            {"Content_Digest": f"sha-256=:{OTHER}:"},
            "the SHA-256 of the file is not the one announced",
        ),
        ({"Digest": "sha-256=abc"}, "'Digest' has invalid format"),
        ({"Content_Digest": "sha-256=::"}, "'Content-Digest' has invalid format"),
        (
            {"Content_Digest": f"sha-256=:{SUM}:", "Digest": f"sha-256={OTHER}"},
            "'Digest' and 'Content-Digest' differ",
        ),
    ],
    ids=str,
)
async def test_any_other_file_is_refused_and_leaves_nothing(
    alice: Client, workdir: Path, headers: dict[str, str], error: str
) -> None:
    (workdir / "f").write_bytes(b"old")
    answer = await upload(alice, workdir, CONTENT, **headers)
    assert answer.status == 400
    assert answer.json == {"description": "Error on upload operation", "error": error}
    assert [path.name for path in workdir.iterdir()] == ["f"]
    assert (workdir / "f").read_bytes() == b"old"


async def test_a_large_file_arrives_in_order(
    config: Config, gateways: Gateways, connect: Connect, workdir: Path
) -> None:
    config["utilities"] = {"max_file_size_mb": 100}
    client = connect(await gateways(config))
    content = os.urandom((37 << 20) + 12345)
    text = base64.b64encode(hashlib.sha256(content).digest()).decode()
    assert (await upload(client, workdir, content, Digest=f"sha-256={text}")).status == 201
    assert (workdir / "f").read_bytes() == content
    answer = await client.get("/utilities/download", params={"sourcePath": f"{workdir}/f"})
    assert answer.content == content
