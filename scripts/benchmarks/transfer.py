"""Large files through the object store, beside bare curl between the same places.

The store is the testbed's (``TESTBED_S3_URL`` and its companions), else the demo's. The raw
limit of an upload is the client's curl to the store and then one from the store to a file; of a
download it is one curl from the file to the store. Both ratios leave out two seconds for
noticing the end. Parts are measured beside the same transfer in one piece, by a gateway that
cuts nothing.
"""

from __future__ import annotations

import asyncio
import os
import shlex
import shutil
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import aiohttp
from aiobotocore.config import AioConfig
from aiobotocore.session import get_session

from scripts.benchmarks import openssh
from scripts.benchmarks.measure import Bench, Result, alone, cpu_seconds, rss_mib, spread
from scripts.benchmarks.servers import USER, Gateway, free_port, gateway, process

_MIB = 1 << 20
_LARGE = 256
_MANY, _EACH = 20, 64
_NOTICING = 2.0
#: Parts that a client sends at a time, as the gateway does by default.
_AT_ONCE = 4
_LIMIT = 300.0
#: Base names of what is measured with.
_OBJECTS = {"up", "down", "large", f"{_LARGE}MiB", f"{_EACH}MiB"}
_BUCKET = "firecrest-bench-raw"
_XFER = "/storage/xfer-external"


@dataclass(frozen=True)
class Store:
    """An object store and who may use it."""

    url: str
    access_key: str
    secret_key: str

    @property
    def settings(self) -> dict[str, object]:
        """The gateway's settings for it."""
        named = {"public_url": self.url, "access_key": self.access_key}
        named["secret_key"] = self.secret_key
        return {f"storage.s3.{key}": f"'{value}'" for key, value in named.items()}


@dataclass(frozen=True)
class Side:
    """Everything a case needs."""

    bench: Bench
    served: Gateway
    session: aiohttp.ClientSession
    raw: Any
    root: Path

    async def transfer(self, word: str, form: dict[str, str], end: str, sent: bool) -> None:
        """One transfer from the call to its end, by a client that reports nothing.

        :param sent: whether the client has to send the file when there is a form
        :raises RuntimeError: it ended otherwise
        """
        url = f"{self.served.url}{_XFER}/{word}"
        async with self.session.post(url, data=form) as answer:
            answer.raise_for_status()
            task_id = (await answer.json())["task_id"]
        if sent:
            message = (await self._reached(task_id, "111"))["msg"]
            if "parts" in message:
                await self._send(form["sourcePath"], message["parts"])
                named = {"X-Task-Id": task_id}
                async with self.session.put(url, headers=named) as answer:
                    answer.raise_for_status()
            else:
                await _curl(*shlex.split(message["command"])[1:], "-o", os.devnull)
        await self._reached(task_id, end)

    async def _send(self, source: str, parts: list[dict[str, Any]]) -> None:
        """Send parts by curl, which is what sends the whole file, too."""
        turns = asyncio.Semaphore(_AT_ONCE)

        async def one(part: dict[str, Any]) -> None:
            async with turns:
                content = await asyncio.to_thread(_piece, source, part["offset"], part["size"])
                await _curl(
                    "-T",
                    "-",
                    "-H",
                    "Transfer-Encoding:",
                    "-H",
                    f"Content-Length: {part['size']}",
                    part["url"],
                    "-o",
                    os.devnull,
                    content=content,
                )

        await asyncio.gather(*map(one, parts))

    async def _reached(self, task_id: str, status: str) -> Any:
        url = f"{self.served.url}/tasks/{task_id}"
        async with asyncio.timeout(_LIMIT):
            while True:
                async with self.session.get(url, headers={"Prefer": "wait=10"}) as answer:
                    task = (await answer.json())["task"]
                if task["status"] == status:
                    return task["data"]
                if task["status"] in ("115", "118", "302", "400"):
                    raise RuntimeError(f"task ended in {task['status']}: {task['data']}")


async def run(bench: Bench) -> AsyncIterator[Result]:
    """Cases ``up-256MiB``, ``down-256MiB``, ``uploads-20``, ``up-parts`` and ``down-parts``."""
    user = openssh.person()
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(_store(bench))
        served = await stack.enter_async_context(gateway(bench, store.settings, person=user))
        side = await stack.enter_async_context(_side(bench, served, store, user or USER))
        yield await _up(side)
        yield await _down(side)
        for result in await _uploads(side):
            yield result
        whole = await stack.enter_async_context(_whole(side, store, user))
        for result in await _parts(side, whole):
            yield result


async def _up(side: Side) -> Result:
    source, into = side.bench.directory / f"{_LARGE}MiB", side.root / "into"
    form = {"sourcePath": str(source), "targetPath": str(into)}

    async def bare() -> None:
        post = await side.raw.generate_presigned_post(_BUCKET, "up")
        fields = [word for pair in post["fields"].items() for word in ("-F", "=".join(pair))]
        await _curl(*fields, "-F", f"file=@{source}", post["url"], "-o", os.devnull)
        await _curl("-o", str(into / "raw"), await _signed(side.raw, "get_object", "up"))

    return await _against(side, f"up-{_LARGE}MiB", ("upload", form, "114", True), bare)


async def _parts(side: Side, whole: Side) -> list[Result]:
    """Both ways in parts, the client's included, beside one piece."""
    up = {"sourcePath": str(side.bench.directory / f"{_LARGE}MiB")}
    up["targetPath"] = str(side.root / "into")
    down = {"sourcePath": str(side.root / "large")}
    cut = {**up, "fileSize": str(_LARGE * _MIB)}
    return [
        await _against(
            *(side, "up-parts", ("upload", cut, "114", True)),
            lambda: whole.transfer("upload", up, "114", sent=True),
            noticing=0.0,
        ),
        await _against(
            *(side, "down-parts", ("download", down, "117", False)),
            lambda: whole.transfer("download", down, "117", sent=False),
            noticing=0.0,
        ),
    ]


async def _down(side: Side) -> Result:
    source = side.root / "large"
    shutil.copyfile(side.bench.directory / f"{_LARGE}MiB", source)

    async def bare() -> None:
        await _curl("-T", str(source), await _signed(side.raw, "put_object", "down"))

    form = {"sourcePath": str(source)}
    return await _against(side, f"down-{_LARGE}MiB", ("download", form, "117", False), bare)


async def _against(
    side: Side,
    case: str,
    transfer: tuple[str, dict[str, str], str, bool],
    bare: Any,
    noticing: float = _NOTICING,
) -> Result:
    """Seconds of the transfer and of the raw limit, in turns.

    :param noticing: seconds that the gateway may need beside it
    """
    pairs, used = [], 0.0
    before = cpu_seconds(side.served.pid)
    for _ in range(side.bench.rounds):
        ours = await _timed(side.transfer(*transfer))
        pairs.append((ours, await _timed(bare())))
    used = cpu_seconds(side.served.pid) - before
    # what is noticed sooner than that is not counted as faster than the raw limit
    ratios = [raw / (max(ours - noticing, raw) if noticing else ours) for ours, raw in pairs]
    return Result(
        bench=side.bench.name,
        case=case,
        value=median(ours for ours, _ in pairs),
        unit="s",
        raw=median(raw for _, raw in pairs),
        ratio=median(ratios),
        spread=spread(ratios),
        errors=0,
        rss_mib=rss_mib(side.served.pid),
        cpu_s_per_1000=1000 * used / len(pairs),
    )


async def _uploads(side: Side) -> list[Result]:
    """Twenty at once: the gateway's share of a core, and how much its memory grows."""
    source, into = side.bench.directory / f"{_EACH}MiB", side.root / "into"
    shares, seconds, errors = [], [], 0
    floor = peak = rss_mib(side.served.pid)
    for _ in range(1 if side.bench.quick else 3):
        before, started = cpu_seconds(side.served.pid), time.perf_counter()

        async def upload(number: int) -> None:
            form = {"sourcePath": str(source), "targetPath": str(into / str(number))}
            await side.transfer("upload", form, "114", True)

        moving = asyncio.gather(*map(upload, range(_MANY)), return_exceptions=True)
        while not moving.done():
            await asyncio.wait({moving}, timeout=0.1)
            peak = max(peak, rss_mib(side.served.pid))
        for failed in [ended for ended in await moving if ended is not None]:
            side.bench.remark(f"{failed!r}")
            errors += 1
        elapsed = time.perf_counter() - started
        seconds.append(elapsed)
        shares.append(100 * (cpu_seconds(side.served.pid) - before) / elapsed)
    side.bench.remark(f"{_MANY} uploads took {median(seconds):.1f} s")

    summed = partial(alone, side.bench, pid=side.served.pid)
    return [
        summed(f"uploads-{_MANY}", "% of a core", shares, errors=errors),
        summed(f"uploads-{_MANY}-memory", "MiB growth", [peak - floor]),
    ]


async def _timed(work: Any) -> float:
    started = time.perf_counter()
    await work
    return time.perf_counter() - started


def _piece(source: str, offset: int, size: int) -> bytes:
    with Path(source).open("rb") as file:
        file.seek(offset)
        return file.read(size)


async def _curl(*arguments: str, content: bytes | None = None) -> None:
    words = ("curl", "-f", "-s", "--show-error", "--max-time", f"{_LIMIT:.0f}", *arguments)
    pipe = asyncio.subprocess.PIPE
    child = await asyncio.create_subprocess_exec(
        *words, stdin=None if content is None else pipe, stderr=pipe
    )
    _, said = await child.communicate(content)
    if child.returncode != 0:
        raise RuntimeError(said.decode(errors="replace"))


async def _signed(client: Any, operation: str, key: str) -> str:
    wanted = {"Bucket": _BUCKET, "Key": key}
    url: str = await client.generate_presigned_url(operation, Params=wanted)
    return url


async def _empty(client: Any, bucket: str) -> None:
    """Remove what was measured with: a store has an end."""
    async for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket):
        for found in page.get("Contents", ()):
            if found["Key"].rpartition("/")[2] in _OBJECTS:
                await client.delete_object(Bucket=bucket, Key=found["Key"])
    async for page in client.get_paginator("list_multipart_uploads").paginate(Bucket=bucket):
        for found in page.get("Uploads", ()):
            if found["Key"].rpartition("/")[2] in _OBJECTS:
                named = {"Key": found["Key"], "UploadId": found["UploadId"]}
                await client.abort_multipart_upload(Bucket=bucket, **named)


@asynccontextmanager
async def _store(bench: Bench) -> AsyncIterator[Store]:
    """The testbed's object store if there is one, else the demo's."""
    if url := os.environ.get("TESTBED_S3_URL"):
        bench.uses("object store", "the testbed's")
        keys = (os.environ[f"TESTBED_S3_{word}_KEY"] for word in ("ACCESS", "SECRET"))
        yield Store(url, *keys)
        return
    bench.uses("object store", "the demo's")
    port, store = free_port(), Store("", "bench:bench", "benchmark")
    argv = ["env", f"S3_ACCESS_KEY={store.access_key}", f"S3_SECRET_KEY={store.secret_key}"]
    argv += [sys.executable, "-P", "-m", "scripts.embedded.swift"]
    argv += ["--port", str(port), "--dir", str(bench.directory / "store")]
    async with process(argv, bench.directory / "store.log", port):
        yield Store(f"http://127.0.0.1:{port}", store.access_key, store.secret_key)


def _belong(user: str, directory: Path, *files: Path) -> None:
    """Give the user what is theirs below a directory, which they may pass through."""
    jobs = directory / "home" / user / "firecrest"
    jobs.mkdir(parents=True, exist_ok=True)
    if os.geteuid() == 0 and user != USER:
        for path in (*files, jobs.parent, jobs):
            shutil.chown(path, user)
        directory.chmod(0o711)


@asynccontextmanager
async def _whole(side: Side, store: Store, person: str | None) -> AsyncIterator[Side]:
    """The same by a gateway that moves every file in one piece."""
    bench, user = side.bench.within("whole"), person or USER
    settings = {**store.settings, "storage.part_size_mb": 5120}
    async with gateway(bench, settings, person=person) as served:
        _belong(user, bench.directory)
        async with _session(served, user) as session:
            yield replace(side, served=served, session=session)


def _session(served: Gateway, user: str) -> aiohttp.ClientSession:
    headers = {"Authorization": f"Bearer {served.minter.token(user)}"}
    headers["X-Machine-Name"] = "cluster"
    return aiohttp.ClientSession(headers=headers)


@asynccontextmanager
async def _side(bench: Bench, served: Gateway, store: Store, user: str) -> AsyncIterator[Side]:
    """The files, a client of the gateway and one of the store."""
    root = bench.directory / "files"
    (root / "into").mkdir(parents=True)
    _belong(user, bench.directory, root, root / "into")
    for size in (_LARGE, _EACH):
        with (bench.directory / f"{size}MiB").open("wb") as file:
            for _ in range(size):
                file.write(os.urandom(_MIB))
    async with (
        _session(served, user) as session,
        get_session().create_client(
            "s3",
            endpoint_url=store.url,
            region_name="us-east-1",
            aws_access_key_id=store.access_key,
            aws_secret_access_key=store.secret_key,
            config=AioConfig(signature_version="s3v4", s3={"addressing_style": "path"}),
        ) as raw,
    ):
        await raw.create_bucket(Bucket=_BUCKET)
        try:
            yield Side(bench, served, session, raw, root)
        finally:
            for bucket in (_BUCKET, user):
                await _empty(raw, bucket)
