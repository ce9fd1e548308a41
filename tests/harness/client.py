"""A client of the gateway: plain HTTP and the event stream, as scripts use them."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Self

import aiohttp
import orjson
from multidict import CIMultiDictProxy

from tests.harness.described import check_asked, check_described, check_told
from tests.harness.waiting import eventually


@dataclass(frozen=True)
class Answer:
    """A complete response."""

    status: int
    headers: CIMultiDictProxy[str]
    content: bytes

    @property
    def json(self) -> Any:
        return orjson.loads(self.content)

    @property
    def error_headers(self) -> dict[str, str]:
        """Those that say what went wrong."""
        harmless = {"X-Request-ID", "X-Content-Type-Options"}
        return {k: v for k, v in self.headers.items() if k.startswith("X-") and k not in harmless}


class Client:
    """Sends requests with a token and, by default, the machine header."""

    def __init__(
        self,
        url: str,
        token: str | None,
        machine: str | None = "cluster",
        connector: aiohttp.BaseConnector | None = None,
    ) -> None:
        self.url = url
        self.token = token
        headers = {"Authorization": f"Bearer {token}"} if token is not None else {}
        if machine is not None:
            headers["X-Machine-Name"] = machine
        self._session = aiohttp.ClientSession(
            headers=headers, connector=connector, connector_owner=connector is None
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def request(self, method: str, path: str, **options: Any) -> Answer:
        async with self._session.request(method, self.url + path, **options) as response:
            answer = Answer(response.status, response.headers, await response.read())
        check_described(method, path, answer)
        return answer

    async def get(self, path: str, **options: Any) -> Answer:
        return await self.request("GET", path, **options)

    async def post(self, path: str, **options: Any) -> Answer:
        return await self.request("POST", path, **options)

    async def put(self, path: str, **options: Any) -> Answer:
        return await self.request("PUT", path, **options)

    async def upload(self, path: str, content: bytes, name: str, **fields: str) -> Answer:
        """POST a multipart form with a file part at its end."""
        form = aiohttp.FormData()
        for key, value in fields.items():
            form.add_field(key, value)
        form.add_field("file", io.BytesIO(content), filename=name)
        return await self.post(path, data=form)

    async def task(self, task_id: str) -> dict[str, Any]:
        """The task in the extended view."""
        answer = await self.get(f"/tasks/{task_id}", params={"view": "extended"})
        assert answer.status == 200, answer
        task: dict[str, Any] = answer.json["task"]
        return task

    async def finished(self, receipt: Answer, *, limit: float = 30) -> dict[str, Any]:
        """The task of a receipt, once nothing more will happen to it by itself."""
        return await self.reached(
            receipt, {"200", "400", "114", "115", "117", "118", "302"}, limit=limit
        )

    async def reached(
        self, receipt: Answer, statuses: set[str], *, limit: float = 30
    ) -> dict[str, Any]:
        """The task of a receipt, once in one of the states."""
        return await self.reached_id(receipt.json["task_id"], statuses, limit=limit)

    async def reached_id(
        self, task_id: str, statuses: set[str], *, limit: float = 30
    ) -> dict[str, Any]:
        """The task, once in one of the states."""

        async def look() -> dict[str, Any] | None:
            task = await self.task(task_id)
            return task if task["status"] in statuses else None

        return await eventually(look, f"task {task_id} in {statuses}", limit=limit)

    @asynccontextmanager
    async def sse(
        self, query: str = "", headers: dict[str, str] | None = None
    ) -> AsyncIterator[ServerSentEvents]:
        """The event stream as server-sent events."""
        wanted = {"Accept": "text/event-stream", **(headers or {})}
        no_limit = aiohttp.ClientTimeout(total=None)
        async with self._session.get(
            f"{self.url}/events{query}", headers=wanted, timeout=no_limit
        ) as response:
            yield ServerSentEvents(response)

    @asynccontextmanager
    async def events(self, query: str = "", **options: Any) -> AsyncIterator[Events]:
        """An event stream, after its hello."""
        async with self._session.ws_connect(f"{self.url}/events{query}", **options) as socket:
            events = Events(socket)
            events.hello = await events.next()
            yield events


class Events:
    """The messages of an event stream."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket
        self.hello: dict[str, Any] = {}
        self._asked: dict[str, dict[str, Any]] = {}

    async def send(self, **message: Any) -> None:
        self._asked[repr(message.get("ref"))] = message
        await self.socket.send_json(message)

    async def receive(self, limit: float = 15) -> aiohttp.WSMessage:
        """The next frame; a message must be a described one."""
        async with asyncio.timeout(limit):
            frame = await self.socket.receive()
        if frame.type is aiohttp.WSMsgType.TEXT:
            told = orjson.loads(frame.data)
            check_told(told)
            asked = self._asked.get(repr(told.get("ref")))
            if asked and told["event"] in {"subscribed", "unsubscribed", "token"}:
                check_asked(asked)
        return frame

    async def next(self, limit: float = 15) -> dict[str, Any]:
        """The next message."""
        message = await self.receive(limit)
        assert message.type is aiohttp.WSMsgType.TEXT, message
        decoded: dict[str, Any] = orjson.loads(message.data)
        return decoded

    async def closed(self, limit: float = 15) -> int:
        """The code with which the server closes the connection."""
        async with asyncio.timeout(limit):
            while True:
                message = await self.receive(limit)
                if message.type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED):
                    assert self.socket.close_code is not None
                    return self.socket.close_code

    async def transitions(self, task_id: str, last: str) -> list[dict[str, Any]]:
        """The ``task`` events of one task, up to the one that enters ``last``."""
        seen: list[dict[str, Any]] = []
        while not seen or seen[-1]["task"]["status"] != last:
            message = await self.next()
            if message["event"] == "task" and message["task"]["hash_id"] == task_id:
                seen.append(message)
        return seen


@dataclass(frozen=True)
class ServerSentEvent:
    """One server-sent event, or a comment (``kind`` is empty then)."""

    id: str | None
    kind: str
    data: Any


class ServerSentEvents:
    """The messages of an event stream without a websocket."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self.response = response

    async def next(self, limit: float = 15) -> ServerSentEvent | None:
        """The next one that is no comment, None at the end of the stream."""
        while (found := await self.any(limit)) is not None and not found.kind:
            pass
        return found

    async def any(self, limit: float = 15) -> ServerSentEvent | None:
        """The next one or comment, None at the end of the stream."""
        lines: list[str] = []
        async with asyncio.timeout(limit):
            while line := await self.response.content.readline():
                if line != b"\n":
                    lines.append(line.decode().removesuffix("\n"))
                else:
                    fields = dict(text.split(": ", 1) for text in lines if text[0] != ":")
                    data = orjson.loads(fields["data"]) if "data" in fields else None
                    if data is not None:
                        check_told(data)
                        assert data["event"] == fields["event"]
                    return ServerSentEvent(fields.get("id"), fields.get("event", ""), data)
        return None
