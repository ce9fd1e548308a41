"""When a client counts as gone."""

from __future__ import annotations

from typing import Any, cast

import pytest
from aiohttp import web

from firecrest.api.events.carrier import Carrier
from firecrest.model.principal import Principal

ALICE = Principal("alice", "https://issuer.example.org", "", 2.0**40)


class Network:
    """A transport that takes what the test says."""

    def __init__(self) -> None:
        self.waiting = 0
        self.transport = self

    def get_write_buffer_size(self) -> int:
        return self.waiting


@pytest.fixture
def network() -> Network:
    return Network()


@pytest.fixture
async def carrier(network: Network) -> Carrier[str]:
    return Carrier(cast(web.Request, cast(Any, network)), ALICE, "expired", "revoked")


async def written(carrier: Carrier[str], size: int) -> None:
    async def nothing() -> None:
        pass

    await carrier.write(nothing(), size)


async def test_a_silent_client_is_gone_after_two_heartbeats(carrier: Carrier[str]) -> None:
    assert [carrier.missed() for _ in range(3)] == [False, False, True]


async def test_a_sign_of_life_counts(carrier: Carrier[str]) -> None:
    for _ in range(10):
        assert not carrier.missed()
        carrier.heard()


async def test_one_who_reads_slowly_is_alive(carrier: Carrier[str], network: Network) -> None:
    await written(carrier, 500)
    for _ in range(10):  # the buffer is as full each time, but not with the same bytes
        network.waiting = 500
        await written(carrier, 100)
        assert not carrier.missed()


async def test_one_who_takes_nothing_is_gone_whatever_is_sent(
    carrier: Carrier[str], network: Network
) -> None:
    missed = []
    for _ in range(4):
        network.waiting += 104  # with its head
        await written(carrier, 100)
        missed.append(carrier.missed())
    assert missed == [False, False, True, True]


async def test_the_first_end_counts(carrier: Carrier[str]) -> None:
    carrier.finish("one")
    carrier.finish("two")
    carrier.expire_at(0)
    assert await carrier.ended() == "one"


async def test_a_token_ends_it(carrier: Carrier[str]) -> None:
    carrier.expire_at(2**40)
    carrier.expire_at(0)
    assert await carrier.ended() == "expired"


async def test_a_revoked_token_ends_it(carrier: Carrier[str]) -> None:
    carrier.expire_at(2**40)
    carrier.revoke()
    carrier.expire_at(0)
    assert await carrier.ended() == "revoked"
