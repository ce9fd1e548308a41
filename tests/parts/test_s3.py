"""The object store refusing what only a shared name space refuses (Contract: rest-v1 §8.1)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from firecrest.config.services import S3, Storage
from firecrest.config.values import Secret
from firecrest.errors import StagingFailed
from firecrest.staging import s3
from firecrest.telemetry.trace import TRACE, begun, parse

TAKEN = "<Error><Code>BucketAlreadyExists</Code><Message>taken</Message></Error>"
BUCKETS = "<ListAllMyBucketsResult><Buckets>{}</Buckets></ListAllMyBucketsResult>"
ALICES = "<Bucket><Name>alice</Name></Bucket>"

Answer = Callable[[web.Request], Awaitable[web.Response]]


def shared(owned: str) -> Answer:
    """A store in which every bucket exists already, and these are ours."""

    async def answer(request: web.Request) -> web.Response:
        if request.method == "PUT" and "lifecycle" not in request.query:
            return web.Response(status=409, text=TAKEN, content_type="application/xml")
        text = BUCKETS.format(owned) if request.path == "/" else ""
        return web.Response(text=text, content_type="application/xml")

    return answer


@asynccontextmanager
async def store(answer: Answer) -> AsyncIterator[s3.S3Store]:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    async with TestServer(app) as server:
        settings = Storage(
            s3=S3(
                public_url=str(server.make_url("")).rstrip("/"),
                access_key=Secret("key"),
                secret_key=Secret("secret"),
            )
        )
        async with s3.connect(settings) as connected:
            yield connected


async def test_a_bucket_of_somebody_else_is_not_used() -> None:
    async with store(shared("")) as taken:
        with pytest.raises(StagingFailed, match="belongs to somebody else"):
            await taken.prepare("alice")


async def test_a_bucket_of_ours_that_exists_is_used() -> None:
    async with store(shared(ALICES)) as ours:
        await ours.prepare("alice")


async def test_the_store_is_told_the_trace_behind_the_signature() -> None:
    told: list[tuple[str, str]] = []

    async def answer(request: web.Request) -> web.Response:
        told.append((request.headers["traceparent"], request.headers["Authorization"]))
        return web.Response(text=BUCKETS.format(""), content_type="application/xml")

    trace = begun()
    TRACE.set(trace)
    async with store(answer) as connected:
        await connected.ping()
    ((traceparent, signature),) = told
    assert parse(traceparent) == trace
    assert "traceparent" not in signature


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (
            {"ETag": '"d41d8cd98f00b204e9800998ecf8427e"'},
            ("md5", "d41d8cd98f00b204e9800998ecf8427e"),
        ),
        ({"ETag": '"d41d8cd98f00b204e9800998ecf8427e-3"'}, ("", "")),
        ({}, ("", "")),
        ({"ETag": f'"{"0" * 32}"', "ServerSideEncryption": "aws:kms"}, ("", "")),
        ({"ETag": f'"{"0" * 32}"', "ServerSideEncryption": "AES256"}, ("md5", "0" * 32)),
        ({"ETag": f'"{"0" * 32}"', "SSECustomerAlgorithm": "AES256"}, ("", "")),
        ({"ChecksumSHA256": "q80=", "ETag": f'"{"0" * 32}"'}, ("sha256", "abcd")),
        ({"ChecksumSHA256": "q80=-2", "ETag": '"x"'}, ("", "")),
        ({"ChecksumSHA256": "!", "ETag": '"x"'}, ("", "")),
    ],
)
def test_only_a_checksum_of_the_whole_object_counts(
    head: dict[str, str], expected: tuple[str, str]
) -> None:
    assert s3.checksum(head) == expected
