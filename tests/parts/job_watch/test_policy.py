"""Who may not use a system is told nothing of its jobs (Contract: auth §5, events §4.5)."""

from __future__ import annotations

import pytest
from redis import asyncio as aioredis

from firecrest.errors import AccessDenied
from firecrest.telemetry.logs import ON_BEHALF_OF
from tests.parts.job_watch.watched import Replica, Told
from tests.parts.scripted import ScriptedScheduler, queued


class Policy:
    """Refuses some users."""

    def __init__(self, *refused: str) -> None:
        self.refused = set(refused)

    async def permit(self, user: str, system: str) -> None:
        if user in self.refused:
            raise AccessDenied(f"Permission denied for user {user} in {system}")


@pytest.mark.parametrize("system", ["cluster", "open"])
async def test_who_is_refused_cannot_begin(
    replica: Replica, batch: ScriptedScheduler, system: str
) -> None:
    watch = replica(permit=Policy("alice").permit)
    with pytest.raises(AccessDenied):
        await watch.watch("alice", system, ["7"])
    await watch.watch("bob", system, ["8"])
    await batch.looks()
    assert {asked for asked, _ in batch.queue_asked} == {"seer" if system == "open" else "bob"}


async def test_who_comes_to_be_refused_hears_no_more_and_the_others_do(
    replica: Replica, batch: ScriptedScheduler, redis: aioredis.Redis
) -> None:
    policy = Policy()
    watch = replica(permit=policy.permit)
    alice, bob = Told(redis), Told(redis, "bob")
    batch.held = [queued("7", "PENDING"), queued("8", "PENDING", "bob")]
    await watch.watch("alice", "open", ["7"])
    await watch.watch("bob", "open", ["8"])
    await alice.until("PENDING")
    await bob.until("PENDING", job_id="8")
    policy.refused = {"alice"}
    batch.held = [queued("7", "RUNNING"), queued("8", "RUNNING", "bob")]
    await bob.until("PENDING", "RUNNING", job_id="8")
    await batch.looks()
    assert await alice.states() == ["PENDING"]
    policy.refused = set()
    await alice.until("PENDING", "RUNNING")  # it was late, and is not lost


@pytest.mark.parametrize(("system", "request_id"), [("cluster", "first"), ("open", "-")])
async def test_who_watches_for_all_does_so_in_nobodys_request(
    replica: Replica, batch: ScriptedScheduler, system: str, request_id: str
) -> None:
    """It goes on for others when the request that began it is long over."""
    watch = replica()
    ON_BEHALF_OF.set("first")
    await watch.watch("alice", system, ["7"])
    await batch.looks()
    assert set(batch.asked_for) == {request_id}
