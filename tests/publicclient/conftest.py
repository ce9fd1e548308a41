"""The public client in environments of its own, because it shares this project's import name."""

from __future__ import annotations

import asyncio
import shutil
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.harness.environments import environment_with
from tests.harness.gateway import Gateway
from tests.harness.tokens import TokenMint

#: The last release that has this API next to its successor, and one from before, each with
#: what it needs besides: the command line of the old one cannot begin with a newer click.
VERSIONS = {"3.10.0": (), "2.6.0": ("click<8.2",)}


class Raised(Exception):
    """The client raised an exception.

    :param kind: name of its class
    """

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(f"{kind}: {text}")
        self.kind = kind


class PublicClient:
    """The public client in a process of its own.

    :ivar kind: the name of its class
    """

    def __init__(self, process: asyncio.subprocess.Process, kind: str) -> None:
        self._process = process
        self.kind = kind

    async def call(self, method: str, **args: Any) -> Any:
        """The result of one of its methods.

        :raises Raised: what the client raised
        """
        return await self._tell({"call": method, "args": args})

    async def on(self, handle: int, method: str, **args: Any) -> Any:
        """The result of a method of an object that a call returned."""
        return await self._tell({"on": handle, "call": method, "args": args})

    async def read(self, handle: int, name: str) -> Any:
        """A property of an object that a call returned."""
        return await self._tell({"on": handle, "read": name})

    async def methods(self) -> set[str]:
        """The names of its public methods."""
        return set(await self._tell({"methods": True}))

    async def _tell(self, message: dict[str, Any]) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(orjson.dumps(message) + b"\n")
        async with asyncio.timeout(300):
            line = await self._process.stdout.readline()
        assert line, "the client has ended"
        answer = orjson.loads(line)
        if "raised" in answer:
            raise Raised(*answer["raised"])
        return answer["object"] if "object" in answer else answer["result"]


@pytest.fixture(scope="session", params=VERSIONS)
def environment(request: pytest.FixtureRequest) -> Path:
    """A virtual environment with a release of the client, made on first use."""
    version: str = request.param
    return environment_with(version, f"pyfirecrest=={version}", *VERSIONS[version])


def owned(path: Path, content: bytes = b"") -> Path:
    """A file of alice's."""
    path.write_bytes(content)
    shutil.chown(path, "alice", "alice")
    return path


Start = Callable[..., Awaitable[PublicClient]]


@pytest.fixture
async def start(environment: Path, mint: TokenMint) -> AsyncIterator[Start]:
    """Starts clients: of one class, against one gateway."""
    async with AsyncExitStack() as stack:

        async def make(kind: str, gateway: Gateway, user: str = "alice") -> PublicClient:
            python = environment / "bin" / "python"
            driver = Path(__file__).with_name("driver.py")
            process = await asyncio.create_subprocess_exec(
                *(str(python), "-I", str(driver), kind, gateway.url, mint.token(user)),
                stdin=PIPE,
                stdout=PIPE,
                limit=64 * 1024 * 1024,
            )
            stack.push_async_callback(_end, process)
            return PublicClient(process, kind)

        yield make


async def _end(process: asyncio.subprocess.Process) -> None:
    assert process.stdin is not None
    process.stdin.close()
    async with asyncio.timeout(30):
        await process.wait()


@pytest.fixture(params=["Firecrest", "AsyncFirecrest"])
async def client(request: pytest.FixtureRequest, start: Start, gateway: Gateway) -> PublicClient:
    """The client, once by each of its classes, as alice."""
    return await start(request.param, gateway)
