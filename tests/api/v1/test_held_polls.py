"""Polls that wait for a transition (Contract: events §5).

Where an answer must have been held, the gateway holds for longer than any test may take, so
that only a transition can end it. Where it must not, the same makes the test fail.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable

import pytest

from firecrest.events.log import bell, documents_key
from firecrest.model.tasks import Kind, Status
from tests.conftest import Connect, Gateways
from tests.harness.client import Answer, Client
from tests.harness.daemons import RedisServer
from tests.harness.gateway import Config, Gateway
from tests.harness.producer import Producer
from tests.harness.tokens import TokenMint
from tests.harness.waiting import eventually
from tests.publicclient import slow_scheduler

HELD = 600
UNKNOWN = "0" * 32

#: What asks Redis for alice's tasks.
_TASKS_READ = re.compile(rf"(HGET|HMGET|HVALS) {re.escape(documents_key('alice'))}( |$)")

Listeners = Callable[[], Awaitable[int]]


@pytest.fixture
async def config(config: Config, redis_server: RedisServer) -> Config:
    """With this worker's own Redis: others listen to alice's tasks on the shared one."""
    await redis_server.clear()
    config["redis"] = {"host": "127.0.0.1", "port": redis_server.port}
    return config


@pytest.fixture
async def patient(config: Config, gateways: Gateways) -> Gateway:
    config["tasks"]["hold"] = HELD
    return await gateways(config)


@pytest.fixture
async def client(patient: Gateway, connect: Connect) -> Client:
    return connect(patient)


@pytest.fixture
async def listeners(redis_server: RedisServer) -> Listeners:
    """How many connections listen to what happens to alice's tasks."""

    async def count() -> int:
        async with redis_server.client() as redis:
            ((_, number),) = await redis.pubsub_numsub(bell(redis, "alice"))
            return int(number)

    return count


async def prompt(request: Awaitable[Answer]) -> Answer:
    async with asyncio.timeout(15):
        return await request


class Poll:
    """A request that is held."""

    def __init__(self, client: Client, redis_server: RedisServer) -> None:
        self._client = client
        self._redis_server = redis_server

    async def __call__(self, path: str, prefer: str | None = None) -> asyncio.Task[Answer]:
        """Send it, and wait until the tasks are read for it: what changes after that is news."""
        headers = {"Prefer": prefer} if prefer else {}
        async with self._redis_server.client() as redis, redis.monitor() as asked:
            request = asyncio.create_task(self._client.get(path, headers=headers))
            async with asyncio.timeout(20):
                while not _TASKS_READ.match((await asked.next_command())["command"]):
                    pass
        assert not request.done(), request.result()
        return request


@pytest.fixture
def poll(client: Client, redis_server: RedisServer) -> Poll:
    return Poll(client, redis_server)


def statuses(answer: Answer) -> set[str]:
    tasks = answer.json["tasks"].values() if "tasks" in answer.json else [answer.json["task"]]
    return {task["status"] for task in tasks}


@pytest.mark.parametrize("path", ["/tasks/{}", "/tasks?tasks={}", "/tasks/?tasks={}&view=classic"])
async def test_a_repeated_poll_is_answered_at_the_transition(
    client: Client, producer: Producer, poll: Poll, path: str
) -> None:
    owned = await producer.create()
    path = path.format(owned.task.id)
    assert statuses(await prompt(client.get(path))) == {"100"}  # a first one is never held
    request = await poll(path)
    await producer.advance(owned, Status.DONE)
    answer = await prompt(request)
    assert (answer.status, statuses(answer)) == (200, {"200"})
    assert "Preference-Applied" not in answer.headers
    for _ in range(2):  # a final state is answered at once, each time
        assert statuses(await prompt(client.get(path))) == {"200"}


async def test_a_poll_is_held_while_a_transfer_only_goes_on(
    client: Client, producer: Producer, poll: Poll
) -> None:
    owned = await producer.create(kind=Kind.UPLOAD)
    path = f"/tasks/{owned.task.id}"
    await prompt(client.get(path))
    request = await poll(path)
    async with client.events(f"?tasks={owned.task.id}") as events:
        owned = await producer.show(owned, "half of it")
        while "half of it" not in str(await events.next()):
            pass
    # who asks anew is told
    assert (await prompt(client.get(path))).json["task"]["data"] == "half of it"
    assert not request.done()
    await producer.advance(owned, Status.FORM_REQUESTED)
    assert statuses(await prompt(request)) == {"110"}


async def test_what_changed_since_the_last_poll_is_told_at_once(
    client: Client, producer: Producer, poll: Poll
) -> None:
    owned = await producer.create(kind=Kind.UPLOAD)
    path = f"/tasks/{owned.task.id}"
    await prompt(client.get(path))
    for status in (Status.FORM_REQUESTED, Status.FORM_READY):
        owned = await producer.advance(owned, status)
        assert statuses(await prompt(client.get(path))) == {status}
    request = await poll(path)
    await producer.advance(owned, Status.STAGED)
    assert statuses(await prompt(request)) == {"112"}


async def test_of_several_tasks_one_is_enough(
    client: Client, producer: Producer, poll: Poll
) -> None:
    first, second, other = [await producer.create() for _ in range(3)]
    path = f"/tasks?tasks={first.task.id},{second.task.id}"
    await prompt(client.get(path))
    request = await poll(path)
    await producer.advance(other, Status.DONE)  # nobody asked for it
    await producer.advance(second, Status.FAILED)
    assert statuses(await prompt(request)) == {"100", "400"}
    # one is final: what is left is not waited for unless the client says so
    assert statuses(await prompt(client.get(path))) == {"100", "400"}
    request = await poll(path, "wait=60")
    await producer.advance(first, Status.DONE)
    assert statuses(await prompt(request)) == {"200", "400"}


@pytest.mark.parametrize("tasks", [UNKNOWN, "", "{},{}"])
async def test_what_does_not_exist_is_not_waited_for(
    client: Client, producer: Producer, tasks: str
) -> None:
    mine = (await producer.create()).task.id
    path = f"/tasks?tasks={tasks.format(mine, UNKNOWN)}"
    for headers in ({}, {"Prefer": "wait=60"}):
        for _ in range(2):
            answer = await prompt(client.get(path, headers=headers))
            assert answer.status == (400 if not tasks else 200)
    for _ in range(2):
        answer = await prompt(client.get(f"/tasks/{UNKNOWN}", headers={"Prefer": "wait=60"}))
        assert answer.status == 404


async def test_a_failed_copy_is_an_end_for_clients(client: Client, producer: Producer) -> None:
    owned = await producer.create(kind=Kind.UPLOAD)
    for status in ("110", "111", "112", "113", "115"):
        owned = await producer.advance(owned, Status(status))
    for _ in range(2):
        assert statuses(await prompt(client.get(f"/tasks/{owned.task.id}"))) == {"115"}


async def test_the_whole_list_is_not_held(client: Client, producer: Producer) -> None:
    await producer.create()
    for _ in range(2):
        assert (await prompt(client.get("/tasks"))).status == 200


async def test_the_whole_list_may_be_waited_for(producer: Producer, poll: Poll) -> None:
    before = await producer.finished()
    request = await poll("/tasks", "wait=60")
    owned = await producer.create()
    answer = await prompt(request)
    assert {before, owned.task.id} <= set(answer.json["tasks"])
    assert answer.headers["Preference-Applied"] == "wait=60"


async def test_a_client_may_say_how_long_it_waits(
    client: Client, producer: Producer, poll: Poll
) -> None:
    owned = await producer.create()
    path = f"/tasks/{owned.task.id}"
    # also a first read: until it changes from what it is now
    request = await poll(path, "respond-async, WAIT = 50 ; x=1")
    await producer.advance(owned, Status.DONE)
    answer = await prompt(request)
    assert (statuses(answer), answer.headers["Preference-Applied"]) == ({"200"}, "wait=50")
    answer = await prompt(client.get(path, headers={"Prefer": "wait=99999"}))
    assert (statuses(answer), answer.headers["Preference-Applied"]) == ({"200"}, "wait=60")


async def test_a_wait_that_is_over_gives_the_current_state(
    client: Client, producer: Producer
) -> None:
    owned = await producer.create()
    path = f"/tasks/{owned.task.id}"
    for _ in range(2):
        for wait in ("wait=0", "wait=1"):  # shorter than the gateway would hold
            answer = await prompt(client.get(path, headers={"Prefer": wait}))
            assert (statuses(answer), answer.headers["Preference-Applied"]) == ({"100"}, wait)


async def test_a_change_before_an_explicit_wait_is_not_missed(
    client: Client, producer: Producer
) -> None:
    owned = await producer.create(kind=Kind.UPLOAD)
    path = f"/tasks/{owned.task.id}"
    await prompt(client.get(path))
    await producer.advance(owned, Status.FORM_REQUESTED)
    answer = await prompt(client.get(path, headers={"Prefer": "wait=60"}))
    assert statuses(answer) == {"110"}


@pytest.mark.parametrize(
    "prefer", ["wait", "wait=", "wait=-1", "wait=1.5", "wait=x", "await=5", "wait=5x", ""]
)
async def test_a_malformed_preference_is_ignored(
    client: Client, producer: Producer, prefer: str
) -> None:
    task_id = await producer.finished()
    for path in ("/tasks", f"/tasks/{task_id}"):
        answer = await prompt(client.get(path, headers={"Prefer": prefer}))
        assert answer.status == 200
        assert "Preference-Applied" not in answer.headers


async def test_two_callers_do_not_take_news_from_each_other(
    patient: Gateway, client: Client, connect: Connect, producer: Producer, mint: TokenMint
) -> None:
    owned = await producer.create()
    path = f"/tasks/{owned.task.id}"
    other = connect(patient, token=mint.token("alice", azp="another-program"))
    await prompt(client.get(path))
    assert statuses(await prompt(other.get(path))) == {"100"}  # its first


async def test_no_transition_is_missed_however_it_falls(client: Client, producer: Producer) -> None:
    """Transitions race the request; a missed one would hold it for minutes."""
    for _ in range(30):
        owned = await producer.create()
        path = f"/tasks/{owned.task.id}"
        await prompt(client.get(path))
        answer, _ = await asyncio.gather(
            prompt(client.get(path)), producer.advance(owned, Status.DONE)
        )
        assert statuses(answer) == {"200"}


async def test_one_feed_serves_all_who_wait_and_those_who_go_free_it(
    client: Client, producer: Producer, poll: Poll, listeners: Listeners
) -> None:
    owned = await producer.create()
    path = f"/tasks/{owned.task.id}"
    await prompt(client.get(path))
    requests = [await poll(path) for _ in range(5)]
    assert await listeners() == 1
    for request in requests[1:]:
        request.cancel()
    await asyncio.wait(requests[1:])
    await producer.advance(owned, Status.DONE)
    assert statuses(await prompt(requests[0])) == {"200"}

    async def nobody() -> bool:
        return await listeners() == 0

    await eventually(nobody, "nobody listens any more")


async def test_one_who_goes_alone_frees_the_feed(
    client: Client, producer: Producer, poll: Poll, listeners: Listeners
) -> None:
    path = f"/tasks/{(await producer.create()).task.id}"
    await prompt(client.get(path))
    request = await poll(path)
    request.cancel()

    async def nobody() -> bool:
        return await listeners() == 0

    await eventually(nobody, "nobody listens any more")


async def test_a_stopping_gateway_answers_with_the_current_state(
    client: Client, patient: Gateway, producer: Producer, poll: Poll
) -> None:
    path = f"/tasks/{(await producer.create()).task.id}"
    await prompt(client.get(path))
    request = await poll(path)
    stopping = asyncio.create_task(patient.stop())
    answer = await prompt(request)
    assert (answer.status, statuses(answer)) == (200, {"100"})
    assert await stopping == 0


async def test_a_receipt_counts_as_a_look(
    config: Config, gateways: Gateways, connect: Connect, mint: TokenMint
) -> None:
    """Of the same client; the other one is told at once that nothing has happened yet."""
    config["tasks"]["hold"] = HELD
    config["systems"][0]["scheduler"]["type"] = slow_scheduler.__name__
    gateway = await gateways(config)
    client = connect(gateway)
    other = connect(gateway, token=mint.token("alice", azp="another-program"))
    receipt = await client.get("/compute/jobs")
    path = f"/tasks/{receipt.json['task_id']}"
    held = asyncio.create_task(client.get(path))
    assert statuses(await prompt(other.get(path))) == {"100"}
    assert statuses(await prompt(held)) == {"200"}


async def test_holding_can_be_switched_off(
    config: Config, gateways: Gateways, connect: Connect, producer: Producer
) -> None:
    config["tasks"]["hold"] = 0
    client = connect(await gateways(config))
    path = f"/tasks/{(await producer.create()).task.id}"
    for _ in range(5):
        assert statuses(await prompt(client.get(path))) == {"100"}


@pytest.mark.parametrize("prefer", [None, "wait=60"])
async def test_a_poll_beyond_those_a_user_may_have_held_is_answered_at_once(
    config: Config, gateways: Gateways, connect: Connect, producer: Producer, prefer: str | None
) -> None:
    config["tasks"]["hold"] = HELD
    config["events"] = {"max_connections_per_user": 2}
    client = connect(await gateways(config))
    headers = {"Prefer": prefer} if prefer else {}
    for _ in range(2):  # who was answered has given its place back
        owned = await producer.create()
        path = f"/tasks/{owned.task.id}"
        await prompt(client.get(path))
        polls = [asyncio.create_task(client.get(path, headers=headers)) for _ in range(3)]
        answered, held = await asyncio.wait(polls, timeout=15, return_when=asyncio.FIRST_COMPLETED)
        (refused,) = (one.result() for one in answered)
        assert (statuses(refused), "Preference-Applied" in refused.headers) == ({"100"}, False)
        await producer.advance(owned, Status.DONE)
        for one in held:
            answer = await prompt(one)
            assert statuses(answer) == {"200"}
            assert answer.headers.get("Preference-Applied") == prefer


async def test_a_hold_ends_with_its_time(
    config: Config, gateways: Gateways, connect: Connect, producer: Producer
) -> None:
    config["tasks"]["hold"] = 0.3
    client = connect(await gateways(config))
    path = f"/tasks/{(await producer.create()).task.id}"
    await prompt(client.get(path))
    loop = asyncio.get_running_loop()
    before = loop.time()
    assert statuses(await prompt(client.get(path))) == {"100"}
    assert loop.time() - before > 0.25
