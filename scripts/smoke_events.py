"""The smoke test's view of the event stream, and its comparison with what polling saw."""

import asyncio
import contextlib
import functools
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp

from scripts.smoke_client import Client, Mismatch, Target, check_task, expect


@contextlib.asynccontextmanager
async def opened(http: aiohttp.ClientSession, target: Target) -> AsyncIterator["Stream"]:
    """The event stream of all tasks of the user, read in the background."""
    headers = {"Authorization": f"Bearer {target.token}"}
    url = f"{target.url}/events"
    async with http.ws_connect(url, params={"tasks": "*"}, headers=headers) as socket:
        stream = Stream()
        async with asyncio.TaskGroup() as group:
            reading = group.create_task(stream.read(socket))
            yield stream
            reading.cancel()


class Stream:
    """What the event stream has told so far."""

    def __init__(self) -> None:
        self.subscribed = False
        self.events: dict[str, list[dict[str, Any]]] = {}
        """Messages about each task, in order."""
        self.ids: list[str] = []
        self._closed = ""
        self._news = asyncio.Condition()

    async def read(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        """Take in messages until the connection ends."""
        closed = "the event stream was closed"
        try:
            async for message in socket:
                async with self._news:
                    self._take(json.loads(message.data))
                    self._news.notify_all()
        except (ValueError, LookupError, TypeError) as error:
            closed = f"unexpected message on the event stream: {type(error).__name__}: {error}"
        async with self._news:
            self._closed = f"{closed} (code {socket.close_code})"
            self._news.notify_all()

    def _take(self, message: dict[str, Any]) -> None:
        match message["event"]:
            case "subscribed":
                self.subscribed = True
            case "task":
                self.events.setdefault(message["task"]["hash_id"], []).append(message)
                self.ids.append(message["id"])

    async def wait_for(self, condition: Callable[[], bool], *, limit: float = 10) -> None:
        """Wait until the condition holds, which is looked at after every message."""
        try:
            async with asyncio.timeout(limit), self._news:
                await self._news.wait_for(lambda: self._closed or condition())
        except TimeoutError as error:
            raise Mismatch(f"expected more events within {limit:.0f} s") from error
        if self._closed and not condition():
            raise Mismatch(self._closed)

    def states(self, task_id: str) -> list[str]:
        """The states pushed for a task, in order."""
        return [event["task"]["status"] for event in self.events.get(task_id, [])]

    def has_reached(self, task_id: str, status: str) -> bool:
        """Whether this is the state pushed last for a task."""
        return self.states(task_id)[-1:] == [status]


async def compare(client: Client, stream: Stream) -> None:
    """Raise `Mismatch` unless stream and polling tell the same story of every task polled."""
    expect("number of different event ids", len(set(stream.ids)), len(stream.ids))
    final = await client.tasks(*client.seen)
    for task_id, polled in client.seen.items():
        last = final[task_id]["status"]
        await stream.wait_for(functools.partial(stream.has_reached, task_id, last))
        pushed = stream.states(task_id)
        if not _in_order(polled, pushed):
            raise Mismatch(f"task {task_id}: polled {polled}, but pushed were {pushed}")
        expect(f"previous states of {task_id}", _previous(stream, task_id), [None, *pushed[:-1]])
        expect(f"final event of {task_id}", stream.events[task_id][-1]["task"], final[task_id])
        for event in stream.events[task_id]:
            check_task(event["task"], task_id)


def _previous(stream: Stream, task_id: str) -> list[str | None]:
    return [event["previous"] for event in stream.events[task_id]]


def _in_order(some: list[str], every: list[str]) -> bool:
    """Whether `some` is what remains of `every` when members are left out."""
    rest = iter(every)
    return all(state in rest for state in some)
