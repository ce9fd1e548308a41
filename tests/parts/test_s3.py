"""The object store refusing what only a shared name space refuses (Contract: rest-v1 §8.1)."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from firecrest.config.services import S3, Storage
from firecrest.config.values import Secret
from firecrest.errors import StagingFailed
from firecrest.model.staging import Audience, Key, Staged
from firecrest.staging import arrivals, s3
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
async def store(answer: Answer, *origins: str, life: int = 3600) -> AsyncIterator[s3.S3Store]:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    async with TestServer(app) as server:
        settings = Storage(
            s3=S3(
                public_url=str(server.make_url("")).rstrip("/"),
                access_key=Secret("key"),
                secret_key=Secret("secret"),
            ),
            tempurl_expiration=life,
        )
        async with s3.connect(settings, origins) as connected:
            # makes the clients, which takes longer than what is timed here
            await connected.get_url(Key("alice", "id", "f"), Audience.MACHINE)
            yield connected


async def test_a_bucket_of_somebody_else_is_not_used() -> None:
    async with store(shared("")) as taken:
        with pytest.raises(StagingFailed, match="belongs to somebody else"):
            await taken.prepare("alice")


async def test_a_bucket_of_ours_that_exists_is_used() -> None:
    async with store(shared(ALICES)) as ours:
        await ours.prepare("alice")


async def test_web_pages_are_admitted_to_a_bucket() -> None:
    told: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        if "cors" in request.query:
            told.append(await request.text())
        return web.Response()

    async with store(answer, "https://portal.test") as asked:
        await asked.prepare("alice")
    (rule,) = told
    assert "<AllowedOrigin>https://portal.test</AllowedOrigin>" in rule
    for part in ("AllowedMethod>PUT<", "AllowedHeader>*<", "ExposeHeader>ETag<"):
        assert part in rule


async def test_a_store_that_keeps_its_own_rules_for_pages_is_used(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(status=405 if "cors" in request.query else 200)

    async with store(answer, "*") as asked:
        await asked.prepare("alice")
    assert "keeps its own rules for web pages" in caplog.text


LISTED = """<ListBucketResult><IsTruncated>{}</IsTruncated>
<CommonPrefixes><Prefix>id/</Prefix></CommonPrefixes></ListBucketResult>"""


def counting(requests: list[str], listed: web.Response | None) -> Answer:
    """A store that writes down what it is asked; HEAD finds 7 bytes."""

    async def answer(request: web.Request) -> web.Response:
        requests.append(request.method)
        if request.method == "HEAD":
            return web.Response(headers={"Content-Length": "7"})
        return listed or web.Response(status=503)

    return answer


def listing(truncated: str) -> web.Response:
    return web.Response(text=LISTED.format(truncated), content_type="application/xml")


async def test_many_who_wait_for_objects_of_a_user_share_one_list() -> None:
    requests: list[str] = []
    async with store(counting(requests, listing("false"))) as asked:
        here, absent = Key("alice", "id", "f"), Key("alice", "other", "f")
        assert await asked.arrived(here) == 7  # one who waits alone
        assert requests == ["HEAD"]
        answers = await asyncio.gather(*map(asked.arrived, [here, *[absent] * 99]))
    assert answers == [7, *[None] * 99]
    # its size is asked of what has arrived, and of nothing else
    assert requests == ["HEAD", "GET", "HEAD"]


async def test_a_bucket_that_is_too_full_is_not_listed_again() -> None:
    requests: list[str] = []
    async with store(counting(requests, listing("true"))) as asked:
        for _ in range(5):
            assert await asked.arrived(Key("alice", "id", "f")) == 7
    assert requests.count("GET") == 1


async def test_what_has_just_arrived_is_not_asked_for_again() -> None:
    requests: list[str] = []
    async with store(counting(requests, listing("false"))) as asked:
        key = Key("alice", "id", "f")
        assert await asked.arrived(key) == 7
        assert await asked.describe(key) == Staged(7)
        assert requests == ["HEAD"]
        assert await asked.size(key) == 7  # as it is now
        assert requests == ["HEAD"] * 2
        assert await asked.describe(Key("alice", "id", "g")) == Staged(7)
        await asked.delete(key)
        assert await asked.describe(key) == Staged(7)
    assert requests.count("HEAD") == 4


async def test_users_of_whom_nothing_is_waited_for_are_forgotten() -> None:
    now = [1000.0]

    async def head(_key: Key) -> Staged | None:
        return None

    waiting = arrivals.Arrivals(None, str, head, lambda: now[0])
    for number in range(100):
        await waiting.find(Key(f"user{number}", "id", "f"))
    assert waiting.users == 100
    now[0] += 3600
    await waiting.find(Key("alice", "id", "f"))
    assert waiting.users == 1


async def test_a_failure_to_list_is_told_to_all_who_ask() -> None:
    requests: list[str] = []
    async with store(counting(requests, None)) as asked:
        key = Key("alice", "id", "f")
        await asked.arrived(key)
        answers = await asyncio.gather(
            *(asked.arrived(key) for _ in range(10)), return_exceptions=True
        )
    assert {type(answer) for answer in answers} == {StagingFailed}
    assert requests.count("GET") <= 3  # the library tries again by itself


@pytest.mark.parametrize("status", [405, 501])
async def test_a_store_without_multipart_uploads_says_so(status: int) -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(status=status)

    async with store(answer) as old:
        assert await old.in_parts.begin(Key("alice", "id", "f")) is None


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
        (
            {"ETag": '"d41d8cd98f00b204e9800998ecf8427e-3"'},
            ("md5-parts", "d41d8cd98f00b204e9800998ecf8427e-3"),
        ),
        ({"ETag": '"d41d8cd98f00b204e9800998ecf8427e-"'}, ("", "")),
        ({}, ("", "")),
        ({"ETag": f'"{"0" * 32}"', "ServerSideEncryption": "aws:kms"}, ("", "")),
        ({"ETag": f'"{"0" * 32}"', "ServerSideEncryption": "AES256"}, ("md5", "0" * 32)),
        ({"ETag": f'"{"0" * 32}"', "SSECustomerAlgorithm": "AES256"}, ("", "")),
        ({"ChecksumSHA256": "q80=", "ETag": f'"{"0" * 32}"'}, ("sha256", "abcd")),
        ({"ChecksumSHA256": "q80=-2", "ETag": '"x"'}, ("", "")),
        ({"ChecksumSHA256": "!", "ETag": '"x"'}, ("", "")),
    ],
)
def test_only_a_checksum_that_can_be_made_again_counts(
    head: dict[str, str], expected: tuple[str, str]
) -> None:
    assert s3.checksum(head) == expected


@pytest.mark.parametrize(
    ("life", "days"), [(1, 1), (86_399, 1), (86_400, 1), (172_800, 2), (604_800, 7)]
)
async def test_a_bucket_is_made_with_an_end_of_what_is_in_it(life: int, days: int) -> None:
    bodies: dict[str, str] = {}

    async def answer(request: web.Request) -> web.Response:
        bodies[f"{request.method} {request.path_qs}"] = await request.text()
        return web.Response()

    async with store(answer, life=life) as made:
        await made.prepare("alice")
        await made.prepare("alice")  # it is there by now
    assert list(bodies) == ["PUT /alice", "PUT /alice?lifecycle"]
    rule = bodies["PUT /alice?lifecycle"]
    assert f"<Expiration><Days>{days}</Days></Expiration>" in rule
    assert f"<DaysAfterInitiation>{days + 1}</DaysAfterInitiation>" in rule
    assert "<Status>Enabled</Status>" in rule


def test_a_user_whose_name_is_no_bucket_name_has_a_bucket_all_the_same() -> None:
    assert s3.bucket_name("alice") == "alice"
    users = ["Alice", "al_ice", "al-ice", "al.ice", "x", "ünï", "_", "a" * 80, "a" * 81, "al..ice"]
    names = [s3.bucket_name(user) for user in users]
    assert len(set(names)) == len(users)
    valid = re.compile(r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]")
    assert [name for name in names if not valid.fullmatch(name)] == []
    assert s3.bucket_name("Alice") == s3.bucket_name("Alice")
    assert s3.bucket_name("Alice").startswith("alice-")
