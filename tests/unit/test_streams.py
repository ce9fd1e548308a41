"""Bodies that come in pieces, or not at all."""

from __future__ import annotations

import asyncio
from unittest.mock import Mock

import aiohttp
import pytest

from firecrest.streams import whole


def reader() -> aiohttp.StreamReader:
    return aiohttp.StreamReader(Mock(), 1 << 16, loop=asyncio.get_running_loop())


async def test_a_body_in_pieces_is_one() -> None:
    body = reader()
    reading = asyncio.create_task(whole(body, 100))
    for piece in (b'{"result"', b': {"allow"', b": true}}"):
        body.feed_data(piece)
        await asyncio.sleep(0)
    assert not reading.done()
    body.feed_eof()
    assert await reading == b'{"result": {"allow": true}}'


async def test_one_that_is_too_long_is_not_read_to_its_end() -> None:
    body = reader()
    body.feed_data(b"x" * 101)
    with pytest.raises(ValueError, match="more than 100 bytes"):
        await whole(body, 100)


async def test_one_that_breaks_off_is_none() -> None:
    body = reader()
    body.feed_data(b'{"result": {"allow": true}}')
    body.set_exception(aiohttp.ClientPayloadError())
    with pytest.raises(aiohttp.ClientError):
        await whole(body, 100)
