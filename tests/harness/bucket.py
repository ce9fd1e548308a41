"""A look into a user's bucket of the object store, past the gateway."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiobotocore.session import get_session

from tests.harness.testbed import Testbed


class Bucket:
    """The staged objects of one user."""

    def __init__(self, client: Any, name: str) -> None:
        self._client = client
        self._name = name

    async def keys(self, prefix: str) -> list[str]:
        """Keys that begin so; a task's objects begin with its id."""
        found = await self._client.list_objects_v2(Bucket=self._name, Prefix=prefix)
        return [entry["Key"] for entry in found.get("Contents", [])]

    async def uploads(self, prefix: str) -> list[str]:
        """Keys of uploads in parts that are neither completed nor aborted."""
        found = await self._client.list_multipart_uploads(Bucket=self._name, Prefix=prefix)
        return [entry["Key"] for entry in found.get("Uploads", [])]

    async def abort(self, prefix: str) -> None:
        """Forget uploads in parts, as the lifecycle rule of the bucket does one day."""
        found = await self._client.list_multipart_uploads(Bucket=self._name, Prefix=prefix)
        for upload in found["Uploads"]:
            await self._client.abort_multipart_upload(
                Bucket=self._name, Key=upload["Key"], UploadId=upload["UploadId"]
            )

    async def rules(self) -> list[dict[str, Any]]:
        """The lifecycle rules."""
        found = await self._client.get_bucket_lifecycle_configuration(Bucket=self._name)
        rules: list[dict[str, Any]] = found["Rules"]
        return rules

    async def url(self, operation: str, key: str, seconds: int) -> str:
        """A URL that works for so long."""
        wanted = {"Bucket": self._name, "Key": key}
        made: str = await self._client.generate_presigned_url(operation, wanted, seconds)
        return made

    async def delete(self, key: str) -> None:
        await self._client.delete_object(Bucket=self._name, Key=key)


@asynccontextmanager
async def bucket_of(testbed: Testbed, user: str) -> AsyncIterator[Bucket]:
    """The bucket of a user whose name is a bucket name."""
    async with get_session().create_client(
        "s3",
        endpoint_url=testbed.s3_url,
        region_name=testbed.s3_region,
        aws_access_key_id=testbed.s3_access_key,
        aws_secret_access_key=testbed.s3_secret_key,
    ) as client:
        yield Bucket(client, user)
