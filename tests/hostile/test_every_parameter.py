"""Hostile values in every place of every endpoint, on the real cluster (rest-v1 §3, §14.2)."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from itertools import cycle, islice
from typing import Any

import orjson
import pytest

from firecrest.api.http.params import RemotePath
from tests.harness.client import Answer, Client
from tests.harness.gateway import Gateway
from tests.harness.slurm import slurm
from tests.harness.waiting import eventually
from tests.hostile.conftest import Rooms
from tests.hostile.corpus import FORBIDDEN, PLAIN, Canaries, corpus
from tests.hostile.targets import Sent, Target, targets, with_value

AT_ONCE = 12
#: Values of each place, in turn, where they may be accepted: that is done, by processes and jobs.
SOME = 3
#: States in which a task waits for its user.
MACHINE = {"X-Machine-Name": "cluster"}
WAITING = {"111", "115"}
HEADER = re.compile(r"[^\x00-\x1f\x7f]{1,3999}")
FINAL = {"114", "117", "118", "200", "300", "302", "400"}


async def sent(client: Client, request: Sent) -> Answer:
    """Send it as it is: nothing is encoded a second time."""
    return await client.request(request.method, request.url, **request.options())


def sendable(target: Target, value: str) -> bool:
    """Whether the client's library can send it; the others are sent byte by byte."""
    if target.place in {"header", "filename"}:
        return HEADER.fullmatch(value) is not None
    return len(value) < 4000 or target.place in {"form", "file"}


def campaign(canaries: Canaries) -> Iterator[tuple[Target, str]]:
    values = corpus(canaries)
    never, literal = cycle(values.never), cycle(values.literal)
    header = cycle(v for v in values.never + values.literal if HEADER.fullmatch(v))
    for target in targets():
        if target.place == "header" and not target.strict:
            yield target, next(header)
            continue
        for value in values.never if target.strict else islice(never, SOME):
            yield target, value
        for value in islice(literal, SOME):
            yield target, value


@pytest.mark.timeout(400)  # every task and job that was begun is awaited besides
async def test_nothing_but_data_whatever_is_sent_wherever(
    hostile_gateway: Gateway, attacker: Client, canaries: Canaries, rooms: Rooms
) -> None:
    async with all_ends(attacker):
        places = asyncio.Semaphore(AT_ONCE)
        wrong: list[str] = []
        common = rooms.new()

        async def one(target: Target, value: str) -> None:
            must = target.strict and FORBIDDEN.search(value) and not is_object(target, value)
            room = common if must or target.endpoint.method == "GET" else rooms.new()
            async with places:
                answer = await sent(attacker, with_value(target, kept(target, value, room), room))
            refused = 400 <= answer.status < 500
            if answer.status >= 500 or (must and not refused):
                said = (answer.status, answer.content[:200])
                wrong.append(f"{target} {value[:200]!r}: {said}")
            if canaries.secret.encode() in answer.content:
                wrong.append(f"{target} {value[:200]!r}: a secret was read")

        async with asyncio.TaskGroup() as group:
            for target, value in campaign(canaries):
                if sendable(target, value):
                    group.create_task(one(target, value))
        assert not wrong, "\n".join([*wrong, "The log:", *reasons(hostile_gateway)])
    canaries.check()
    check_log(hostile_gateway)


def kept(target: Target, value: str, room: str) -> str:
    """A legal path without a nonce, kept in the room: it would stay in alice's home."""
    names = target.item is not None and isinstance(target.item.field, RemotePath)
    return f"{room}/{value}" if names and value in PLAIN else value


async def give_up_reservations(client: Client) -> None:
    """Those that were made: by good requests, and by words that are good names."""
    for name in ("hostile", *PLAIN):
        if re.fullmatch("[a-z]+", name):
            await client.request("DELETE", f"/reservations/{name}", headers=MACHINE)


def is_object(target: Target, value: str) -> bool:
    """Whether it is what ``env`` may be: an object of texts, whose values may be anything."""
    if target.name != "env":
        return False
    try:
        return isinstance(orjson.loads(value), dict)
    except ValueError:
        return False


def reasons(gateway: Gateway) -> list[str]:
    """Why an answer may be unexpected: the last things that went wrong."""
    return [line for line in gateway.log.splitlines() if re.search("WARNING|ERROR", line)][-50:]


def check_log(gateway: Gateway) -> None:
    """Nothing went wrong inside."""
    bad = [n for n in gateway.log.splitlines() if re.search(r"ERROR|Traceback|never retrieved", n)]
    assert not bad, bad


@asynccontextmanager
async def all_ends(client: Client) -> AsyncIterator[None]:
    """Every task made meanwhile ends, if only because its user gives it up; so do its jobs."""
    before = (await client.get("/tasks")).json["tasks"].keys()
    yield
    await give_up_reservations(client)
    given_up: set[str] = set()

    async def made() -> dict[str, Any] | None:
        tasks = (await client.get("/tasks")).json["tasks"]
        new = {key: task for key, task in tasks.items() if key not in before}
        for key, task in new.items():
            if task["status"] in WAITING and key not in given_up:
                given_up.add(key)
                headers = {"X-Task-Id": key, **MACHINE}
                answer = await client.post("/storage/xfer-external/invalidate", headers=headers)
                assert answer.status == 201, answer
        return new if all(task["status"] in FINAL for task in new.values()) else None

    tasks = await eventually(made, "every task has ended", limit=60)
    jobs = {str(t["data"]["jobid"]) for t in tasks.values() if "jobid" in (t["data"] or "")}

    async def no_job() -> bool:
        waiting = await queued("PENDING")
        await slurm("scancel", *(jobs & waiting))  # some wait for a time that never comes
        return not jobs & await queued("PENDING,RUNNING,COMPLETING")

    await eventually(no_job, "no job runs", limit=60)


async def queued(states: str) -> set[str]:
    """Ids of alice's jobs."""
    return set(
        (await slurm("squeue", "-h", "-u", "alice", "-t", states, "-o", "%A")).stdout.split()
    )
