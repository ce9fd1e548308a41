"""What tests of the event stream have in common."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from tests.harness.client import Answer, Client, Events
from tests.harness.gateway import Gateway

PROTOCOL = "firecrest.events.v1"
FOREIGN = "Operation not permitted. Invalid task owner."
COMPUTE_PATH = [(None, "100"), ("100", "200")]


@asynccontextmanager
async def stream(
    gateway: Gateway, token: str | None = None, **options: Any
) -> AsyncIterator[Events]:
    """A raw event connection; its hello is not read yet."""
    headers = {**options.pop("headers", {})}
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    query = options.pop("query", "")
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(f"{gateway.url}/events{query}", headers=headers, **options) as socket,
    ):
        yield Events(socket)


async def refusal(gateway: Gateway, headers: dict[str, str], query: str = "") -> Answer:
    """The answer to an upgrade that is not granted."""
    upgrade = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    }
    async with Client(gateway.url, None, None) as client:
        return await client.get(f"/events{query}", headers={**upgrade, **headers})


async def subscribe(events: Events, tasks: Any, ref: Any = "r") -> None:
    await events.send(action="subscribe", ref=ref, tasks=tasks)
    assert await events.next() == {"event": "subscribed", "ref": ref}


async def listing(client: Client) -> str:
    """Start a short compute task; its id."""
    task_id: str = (await client.get("/compute/jobs")).json["task_id"]
    return task_id


def path(events: list[dict[str, Any]]) -> list[tuple[str | None, str]]:
    return [(event["previous"], event["task"]["status"]) for event in events]


def order(event_id: str) -> tuple[int, int]:
    """Event ids are Redis stream ids: milliseconds and a counter."""
    milliseconds, _, counter = event_id.partition("-")
    return int(milliseconds), int(counter)


async def rest(events: Events) -> list[dict[str, Any]]:
    """What else was pushed: everything up to the answer to an action sent now."""
    await events.send(action="unsubscribe", ref="no such subscription")
    seen = []
    while (message := await events.next())["event"] != "error":
        seen.append(message)
    return seen
