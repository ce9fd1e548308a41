"""What v1 could be made to do, tried on this gateway (Contract: rest-v1 §14.2).

SECURITY.md says for each weakness where else it is tested; here is what was tested nowhere.
"""

from __future__ import annotations

import asyncio
import io
import json
import secrets
import struct
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import cast
from unittest.mock import AsyncMock, MagicMock

import asyncssh
import pytest
from aiohttp import web

from firecrest.api.http.parts import PARTS, Parts
from firecrest.api.http.pipeline import OPEN_PATHS, STOPPING, cors_headers, pipeline
from firecrest.model.principal import Principal
from firecrest.ssh.certificates import CertificateAuthority
from firecrest.tasks.store import new_id
from firecrest.turns import Turns
from tests.conftest import Connect
from tests.harness.client import Client
from tests.harness.gateway import Gateway
from tests.harness.multipart import field, file, form
from tests.harness.slurm import slurm
from tests.harness.tokens import TokenMint

SECRET = "what nobody outside may read"


class TestS1ShellInjection:
    """A canary is touched by whatever is evaluated by a shell."""

    @pytest.fixture
    def canary(self, workdir: Path) -> Iterator[Path]:
        path = workdir / "canary"
        yield path
        assert not path.exists()

    @pytest.fixture
    def texts(self, canary: Path) -> list[str]:
        return [
            text.format(f"touch {canary}")
            for text in ("$({})", "`{}`", "x;{}", "x\n{}", "x|{}", "x&{}", "' {} '", '"$({})"')
        ]

    async def test_by_a_pattern(self, alice: Client, texts: list[str], workdir: Path) -> None:
        (workdir / "f").write_text("x\n")
        for text in texts:
            for word in ("head", "tail"):
                params = {"targetPath": f"{workdir}/f", "grep": text}
                answer = await alice.get(f"/utilities/{word}", params=params)
                assert answer.status in (400, 404), (text, answer)

    async def test_by_a_variable_of_a_job(
        self, alice: Client, texts: list[str], workdir: Path
    ) -> None:
        script, jobs = b"#!/bin/sh\n#SBATCH --hold\n", []
        for text in texts:
            fields = (field("env", json.dumps({"A": text})), file("j.sh", script))
            answer = await alice.post("/compute/jobs", **form(*fields))
            if answer.status != 201:
                continue
            task = await alice.finished(answer)
            assert task["status"] == "200", task
            jobs.append(str(task["data"]["jobid"]))
        await slurm("scancel", *jobs)
        assert len(jobs) > 3  # the others are refused before anything runs

    async def test_by_an_account(self, alice: Client, texts: list[str]) -> None:
        for text in texts:
            fields = (field("account", text), file("j.sh", b"#!/bin/sh\n"))
            answer = await alice.post("/compute/jobs", **form(*fields))
            if answer.status == 201:
                assert (await alice.finished(answer))["status"] == "400"


@pytest.mark.parametrize("user", ["alice,bob", "../bob", "alice bob", "-oProxyCommand=id", "bob\n"])
async def test_s3_a_name_is_a_name(
    gateway: Gateway, connect: Connect, mint: TokenMint, user: str
) -> None:
    answer = await connect(gateway, token=mint.token(user)).get("/utilities/whoami")
    assert (answer.status, answer.json) == (401, {"message": "Invalid user"})


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> CertificateAuthority:
    path = tmp_path_factory.mktemp("authority") / "ca"
    asyncssh.generate_private_key("ssh-ed25519").write_private_key(path)
    return CertificateAuthority(path, 300, "192.0.2.1,198.51.100.0/24")


class TestS4Certificates:
    def test_permit_one_user_a_few_minutes_and_nothing_more(
        self, authority: CertificateAuthority
    ) -> None:
        _, certificate = authority.issue("alice", "daint", "the-task")
        told = fields(certificate)
        now = time.time()
        assert told.key_id == b"alice@daint:the-task"
        assert told.principals == [b"alice"]
        assert now - 90 <= told.after <= now - 60 + 1
        assert now + 270 <= told.before <= now + 301
        assert told.options == {b"source-address": b"192.0.2.1/32,198.51.100.0/24"}
        assert told.extensions == {}

    def test_share_neither_serial_nor_key(self, authority: CertificateAuthority) -> None:
        issued = [fields(authority.issue("alice", "daint", "t")[1]) for _ in range(50)]
        assert len({told.serial for told in issued}) == 50
        assert len({told.key for told in issued}) == 50
        assert sum(told.serial > 2**32 for told in issued) > 25

    def test_permit_one_command_where_there_is_one(self, authority: CertificateAuthority) -> None:
        _, certificate = authority.issue("alice", "daint", "t", b"timeout 5 id -un")
        assert fields(certificate).options[b"force-command"] == b"timeout 5 id -un"


@dataclass(frozen=True)
class Fields:
    """An ed25519 user certificate as OpenSSH reads it (PROTOCOL.certkeys)."""

    key: bytes
    serial: int
    key_id: bytes
    principals: list[bytes]
    after: int
    before: int
    options: dict[bytes, bytes]
    extensions: dict[bytes, bytes]


def fields(certificate: asyncssh.SSHCertificate) -> Fields:
    text = io.BytesIO(certificate.public_data)
    assert _text(text) == b"ssh-ed25519-cert-v01@openssh.com"
    assert len(_text(text)) == 32  # the nonce
    key = _text(text)
    serial, role = struct.unpack(">QI", text.read(12))
    assert role == 1  # of a user
    key_id, principals = _text(text), _list(_text(text))
    after, before = struct.unpack(">QQ", text.read(16))
    options, extensions = _list(_text(text)), _list(_text(text))
    return Fields(
        *(key, serial, key_id, principals, after, before),
        dict(zip(options[::2], [value[4:] for value in options[1::2]], strict=True)),
        dict(zip(extensions[::2], extensions[1::2], strict=True)),
    )


def _text(data: io.BytesIO) -> bytes:
    return data.read(struct.unpack(">I", data.read(4))[0])


def _list(packed: bytes) -> list[bytes]:
    data, found = io.BytesIO(packed), []
    while data.tell() < len(packed):
        found.append(_text(data))
    return found


def test_s7_an_id_has_128_random_bits() -> None:
    """Of a thousand ids each bit is set in some and not in others, and none come in order."""
    ids = [new_id() for _ in range(1000)]
    assert {len(each) for each in ids} == {32}
    numbers = [int(each, 16) for each in ids]
    ever = never = 0
    for number in numbers:
        ever |= number
        never |= ~number & (2**128 - 1)
    assert ever == never == 2**128 - 1
    assert len({later - earlier for earlier, later in pairwise(numbers)}) > 990


class TestS13Logs:
    async def test_query_strings_are_not_written_down(
        self, gateway: Gateway, alice: Client
    ) -> None:
        marker = secrets.token_hex(16)
        for path in ("/tasks", "/status/systems", "/nowhere", "/utilities/whoami"):
            await alice.get(path, params={"secret": marker})
        await alice.get("/tasks", headers={"Cookie": f"token={marker}", "Referer": f"//x/{marker}"})
        assert marker not in gateway.log


class TestS14Profiler:
    """There is none, and no debugger, whatever is asked for."""

    @pytest.mark.parametrize(
        "path",
        ["/debug", "/console", "/profile", "/__profile__", "/tasks/?profile=1", "/admin", "/env"],
    )
    async def test_nothing_is_switched_on_by_asking(self, alice: Client, path: str) -> None:
        answer = await alice.get(path, headers={"X-Profile": "1", "X-Debug": "1"})
        assert answer.status in (200, 400, 404)
        assert not {"profile", "debug"} & {name.lower() for name in answer.headers}
        assert b"ncalls" not in answer.content
        assert b"Debugger" not in answer.content


class TestS15Exceptions:
    """Whatever breaks in a handler, its text stays inside."""

    @pytest.fixture
    async def origin(self) -> AsyncIterator[str]:
        async def breaks(request: web.Request) -> web.StreamResponse:
            raise RuntimeError(f"{SECRET} at /etc/firecrest/ca_key")

        parts = MagicMock()
        parts.settings.server.trusted_proxies = ()
        parts.settings.server.cors.origins = ("*",)
        principal = Principal("alice", "https://issuer.example.org", "", 2.0**40)
        parts.tokens.with_new_keys = AsyncMock(return_value=principal)
        parts.rates.refusal.return_value = None
        parts.settings.server.timeouts.body = 30.0
        parts.turns = Turns()
        app = web.Application(middlewares=[pipeline])
        app[PARTS] = cast(Parts, parts)
        app[OPEN_PATHS] = set()
        app[STOPPING] = asyncio.Event()
        app.on_response_prepare.append(cors_headers)
        app.router.add_get("/tasks", breaks)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
        await runner.cleanup()

    async def test_are_told_to_the_log_only(
        self, origin: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        async with Client(origin, "token") as client:
            answer = await client.get("/tasks")
        assert answer.status == 500
        assert answer.json["error"] == "FirecREST Internal error"
        assert set(answer.json) == {"error", "description"}
        for inside in (SECRET, "RuntimeError", "Traceback", "/etc", ".py"):
            assert inside not in answer.content.decode() + str(answer.headers)
        assert SECRET in caplog.text
        assert answer.headers["X-Request-ID"]  # which each line of the log has
