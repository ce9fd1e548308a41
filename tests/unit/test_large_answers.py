"""Large answers that their clients do not take, and who has to wait for that."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from types import SimpleNamespace
from typing import Any, cast

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from firecrest.api.http.call import PRINCIPAL, Call
from firecrest.api.http.endpoint import Endpoints, Reply
from firecrest.api.http.parts import PARTS
from firecrest.api.http.pipeline import add_routes
from firecrest.api.task_view import EXTENDED
from firecrest.api.v1.errors import TASKS, render
from firecrest.api.v1.tasks import in_parts
from firecrest.errors import Unauthenticated
from firecrest.model.document import Document
from firecrest.model.principal import Principal
from firecrest.room import SMALL, Room
from tests.harness.waiting import eventually

PLACES = 8
#: More than what the kernel takes for a client that reads nothing.
LARGE = b'"%s"' % (b"x" * (8 << 20))
LIMIT = 40

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


async def no_tasks() -> AsyncIterator[list[Document]]:
    yield []


class Served:
    """A server with a large answer and a small one, for whom the query names.

    :ivar made: for each time a large answer was made, whether that was again
    :ivar revoked: users whose tokens are good no more
    """

    def __init__(self) -> None:
        self.made: list[bool] = []
        self.revoked: set[str] = set()
        self.endpoints = Endpoints(TASKS)
        self.endpoints.get("/large", contract="")(self._large)
        self.endpoints.add("POST", "/large", contract="")(self._large)
        self.endpoints.get("/small", contract="")(self._small)
        self.endpoints.get("/growing", contract="")(self._growing)

    async def _large(self, call: Call, _: None) -> Reply:
        self.made.append(call.again)
        return Reply(200, LARGE)

    async def _growing(self, call: Call, _: None) -> Reply | web.StreamResponse:
        """A list of tasks that is too long for one answer when it is made again."""
        self.made.append(call.again)
        return await in_parts(call, EXTENDED, no_tasks()) if call.again else Reply(200, LARGE)

    async def _small(self, _call: Call, _: None) -> Reply:
        return Reply(200, LARGE[:SMALL])

    def check_still(self, principal: Principal) -> None:
        if principal.user in self.revoked:
            raise Unauthenticated({"message": "revoked"})

    @property
    def application(self) -> web.Application:
        @web.middleware
        async def known(request: web.Request, handler: Handler) -> web.StreamResponse:
            request[PRINCIPAL] = Principal(request.query["user"], "", "", 0)
            try:
                return await handler(request)
            except Unauthenticated as error:
                return web.json_response(error.body, status=401)

        app = web.Application(middlewares=[known])
        parts = SimpleNamespace(answers=Room(), bodies=Room(), tokens=self)
        app[PARTS] = cast("Any", parts)
        add_routes(app, self.endpoints, render)
        return app


class Clients:
    """Connections to the server by which nothing is read but what is asked for."""

    def __init__(self, port: int, stack: AsyncExitStack) -> None:
        self.port = port
        self._stack = stack

    async def ask(self, user: str, method: str = "GET", path: str = "/large") -> Asked:
        link = socket.socket()
        link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        link.setblocking(False)
        await asyncio.get_running_loop().sock_connect(link, ("127.0.0.1", self.port))
        reader, writer = await asyncio.open_connection(sock=link, limit=4096)
        self._stack.callback(writer.close)
        writer.write(f"{method} {path}?user={user} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        asked = Asked(reader, writer)
        self._stack.callback(asked.head.cancel)
        return asked


class Asked:
    """A request.

    :ivar head: of the answer, once it has come
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.head = asyncio.create_task(reader.readuntil(b"\r\n\r\n"))

    async def begins(self) -> bytes:
        async with asyncio.timeout(LIMIT):
            return await self.head

    async def taken(self) -> bytes:
        async with asyncio.timeout(LIMIT):
            await self.head
            return await self._reader.readexactly(len(LARGE))

    def leave(self) -> None:
        self._writer.transport.abort()


@pytest.fixture
async def served() -> Served:
    return Served()


@pytest.fixture
async def clients(served: Served) -> AsyncIterator[Clients]:
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(TestServer(served.application))
        yield Clients(server.port or 0, stack)


async def busy(clients: Clients, user: str) -> list[Asked]:
    """Answers for the user in all places, which their clients do not take."""
    slow = [await clients.ask(user) for _ in range(PLACES)]
    await asyncio.gather(*(one.begins() for one in slow))
    return slow


async def made(served: Served, count: int) -> None:
    async def often() -> bool:
        return len(served.made) == count

    await eventually(often, f"a large answer is made {count} times", limit=LIMIT)


async def test_who_waits_for_a_place_keeps_nothing_and_is_served_in_order(
    served: Served, clients: Clients
) -> None:
    slow = await busy(clients, "alice")
    waiting = []
    for number in range(3):
        waiting.append(await clients.ask("alice"))
        await made(served, PLACES + number + 1)
    # what is small, and what is another user's, waits for nothing
    assert b" 200 " in await (await clients.ask("alice", path="/small")).begins()
    assert await (await clients.ask("bob")).taken() == LARGE
    assert not any(one.head.done() for one in waiting)
    assert served.made == [False] * (PLACES + 4)
    for number, one in enumerate(waiting):
        slow[number].leave()
        await one.begins()
        assert [other.head.done() for other in waiting[number + 1 :]] == [False] * (2 - number)
        assert served.made[PLACES + 4 :] == [True] * (number + 1)
    for one in waiting:
        assert await one.taken() == LARGE


async def test_what_has_grown_while_it_waited_needs_no_second_place(
    served: Served, clients: Clients
) -> None:
    slow = await busy(clients, "alice")
    waiting = [await clients.ask("alice", path="/growing") for _ in range(PLACES)]
    await made(served, 2 * PLACES)
    for one in slow:
        one.leave()
    for one in waiting:
        assert b" 200 " in await one.begins()


async def test_a_place_is_free_when_the_answer_has_been_taken(
    served: Served, clients: Clients
) -> None:
    slow = await busy(clients, "alice")
    waiting = await clients.ask("alice")
    await made(served, PLACES + 1)
    assert await slow[0].taken() == LARGE
    assert await waiting.taken() == LARGE
    assert served.made[-1] is True


async def test_what_changes_something_is_done_once(served: Served, clients: Clients) -> None:
    slow = await busy(clients, "alice")
    waiting = await clients.ask("alice", "POST")
    await made(served, PLACES + 1)
    slow[0].leave()
    assert await waiting.taken() == LARGE
    assert len(served.made) == PLACES + 1


async def test_a_token_revoked_meanwhile_is_good_no_more(served: Served, clients: Clients) -> None:
    slow = await busy(clients, "alice")
    waiting = await clients.ask("alice")
    await made(served, PLACES + 1)
    served.revoked.add("alice")
    slow[0].leave()
    assert (await waiting.begins()).startswith(b"HTTP/1.1 401 ")
    assert len(served.made) == PLACES + 1


async def test_a_crowd_that_takes_its_answers_has_them_all(
    served: Served, clients: Clients
) -> None:
    asked = await asyncio.gather(*(clients.ask("alice") for _ in range(PLACES + 4)))
    assert all([await one.taken() == LARGE for one in asked])
    # one connection may ask again: nothing is left on it
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=1)) as session:
        for path in ("/large", "/small", "/large"):
            url = f"http://127.0.0.1:{clients.port}{path}"
            async with session.get(url, params={"user": "alice"}) as answer:
                assert LARGE.startswith(await answer.read())
