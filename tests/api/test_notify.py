"""The object store tells of what has arrived (`POST /storage/notify`)."""

from __future__ import annotations

import io
import secrets
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiobotocore.session import get_session
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from tests.api.v1.external import offered, send
from tests.conftest import Connect, Gateways
from tests.harness.client import Answer, Client
from tests.harness.gateway import Config, Gateway
from tests.harness.testbed import Testbed

PATH = "/storage/notify"
SECRET = "what-the-store-knows"


@pytest.fixture
async def hooked(config: Config, gateways: Gateways) -> Gateway:
    """A gateway that does not look for objects by itself, but is told."""
    config["storage"] |= {"polling_interval": 3600, "notify_secret": SECRET}
    return await gateways(config)


@pytest.fixture
async def client(hooked: Gateway, connect: Connect) -> Client:
    return connect(hooked)


@pytest.fixture
async def store(hooked: Gateway) -> AsyncIterator[Client]:
    """The store, which has no token."""
    async with Client(hooked.url, None, None) as client:
        yield client


@pytest.fixture
def bobs() -> Iterator[Path]:
    """A directory of bob's, in whose bucket no other test has to wait for the store's calls."""
    path = Path("/home/bob") / f"test-{secrets.token_hex(6)}"
    path.mkdir()
    shutil.chown(path, "bob", "bob")
    yield path
    shutil.rmtree(path)


def event(*keys: str, name: str = "ObjectCreated:Post") -> dict[str, Any]:
    bucket = {"name": "alice"}
    records = [{"eventName": name, "s3": {"bucket": bucket, "object": {"key": k}}} for k in keys]
    return {"Records": records}


async def tell(store: Client, body: Any, secret: str = SECRET) -> Answer:
    return await store.post(PATH, json=body, headers={"Authorization": f"Bearer {secret}"})


async def test_the_real_store_tells_and_the_copy_begins(
    hooked: Gateway, connect: Connect, testbed: Testbed, bobs: Path
) -> None:
    bob = connect(hooked, "bob")
    receipt, data = await offered(bob, "some file", bobs)
    async with notifications(testbed, "bob", f"{hooked.url}{PATH}?secret={SECRET}"):
        assert await send(data, b"content") in {200, 204}
        assert (await bob.finished(receipt))["status"] == "114"
    assert (bobs / "some file").read_bytes() == b"content"


@asynccontextmanager
async def notifications(testbed: Testbed, bucket: str, url: str) -> AsyncIterator[None]:
    """The store tells a URL of each new object of a bucket."""
    options = {
        "endpoint_url": testbed.s3_url,
        "region_name": "default",
        "aws_access_key_id": testbed.s3_access_key,
        "aws_secret_access_key": testbed.s3_secret_key,
    }
    session = get_session()
    async with (
        session.create_client("sns", **options) as sns,
        session.create_client("s3", **options) as s3,
    ):
        topic = url.rpartition(":")[2].partition("/")[0]  # the port tells tests apart
        made = await sns.create_topic(Name=f"test-{topic}", Attributes={"push-endpoint": url})
        rule = {"Id": topic, "TopicArn": made["TopicArn"], "Events": ["s3:ObjectCreated:*"]}
        await s3.put_bucket_notification_configuration(
            Bucket=bucket, NotificationConfiguration={"TopicConfigurations": [rule]}
        )
        try:
            yield
        finally:
            await _silence(testbed, bucket)
            await sns.delete_topic(TopicArn=made["TopicArn"])


async def _silence(testbed: Testbed, bucket: str) -> None:
    """Remove every notification of a bucket: Ceph has a request of its own for this."""
    request = AWSRequest("DELETE", f"{testbed.s3_url}/{bucket}?notification")
    credentials = Credentials(testbed.s3_access_key, testbed.s3_secret_key)
    S3SigV4Auth(credentials, "s3", testbed.s3_region).add_auth(request)
    async with (
        aiohttp.ClientSession() as session,
        session.delete(request.url, headers=dict(request.headers.items())) as response,
    ):
        assert response.status < 300, await response.text()


async def test_a_repeated_notification_starts_no_second_copy(
    client: Client, store: Client, workdir: Path
) -> None:
    receipt, data = await offered(client, "file", workdir)
    key = data["msg"]["key"]
    assert (await tell(store, event(key))).status == 204  # a lie: there is no object yet
    assert (await client.task(receipt.json["task_id"]))["status"] == "111"
    assert await send(data, b"content") in {200, 204}
    for _ in range(3):
        assert (await tell(store, event(key, key))).status == 204
    assert (await client.finished(receipt))["status"] == "114"
    assert (await tell(store, event(key))).status == 204
    assert (workdir / "file").read_bytes() == b"content"


async def test_other_objects_and_events_are_no_business_of_ours(
    client: Client, store: Client, workdir: Path
) -> None:
    receipt, data = await offered(client, "file", workdir)
    # when a held poll has come to nothing, the look of the beginning is over
    assert (await client.task(receipt.json["task_id"]))["status"] == "111"
    assert await send(data, b"content") in {200, 204}
    removed = event(data["msg"]["key"], name="ObjectRemoved:Delete")
    strangers = event("0" * 32 + "/file", "file", "", "../x", "é/\u0000")
    nothing: dict[str, Any] = {"Records": []}
    for body in (removed, strangers, nothing):
        assert (await tell(store, body)).status == 204
    assert (await client.task(receipt.json["task_id"]))["status"] == "111"


@pytest.mark.parametrize(
    "body", [b"", b"{}", b"[]", b"null", b'{"Records":[{}]}', b"x" * 2_000_000]
)
async def test_what_is_no_notification_is_refused(store: Client, body: bytes) -> None:
    headers = {"Authorization": f"Bearer {SECRET}"}
    answer = await store.post(PATH, data=io.BytesIO(body), headers=headers)
    assert answer.status == 400
    assert answer.json == {"error": "Not a notification of the store"}


async def test_only_the_store_is_listened_to(client: Client, store: Client, workdir: Path) -> None:
    receipt, data = await offered(client, "file", workdir)
    assert await send(data, b"content") in {200, 204}
    for wrong in ("", "other", SECRET[:-1], f"{SECRET}x", "é"):
        answer = await store.post(PATH, json=event(data["msg"]["key"]), params={"secret": wrong})
        assert (answer.status, answer.json) == (401, {"message": "Unauthorized"})
    # a token is no secret
    assert (await client.post(PATH, json=event(data["msg"]["key"]))).status == 401
    assert (await client.task(receipt.json["task_id"]))["status"] == "111"


async def test_without_a_secret_there_is_no_such_path(gateway: Gateway, alice: Client) -> None:
    async with Client(gateway.url, None) as anonymous:
        assert (await anonymous.post(PATH, json=event("x"))).status == 401
    assert (await alice.post(PATH, json=event("x"))).status == 404
