"""Objects in S3 that are sent in parts (Contract: rest-v1 §8.1)."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping
from typing import Any

from botocore.exceptions import ClientError

from firecrest.model.staging import Audience, Key, Part, StagedPart
from firecrest.staging.failures import LIMIT, code, failures

_MD5 = re.compile(r"[0-9a-f]{32}")
_GONE = {"404", "NoSuchUpload", "NoSuchBucket", "NoSuchKey", "NotFound"}
_UNKNOWN = {"NotImplemented", "MethodNotAllowed", "405", "501"}
#: Seconds in which a store must have put the parts together; AWS says it may take minutes.
_COMPLETING = 300.0
#: So many signatures in one go, before others have their turn.
_AT_ONCE = 5


class Multipart:
    """See :class:`firecrest.staging.base.InParts`.

    :param clients: one that signs for each audience
    :param bucket: the bucket of a user
    :param life: seconds for which a URL works
    """

    def __init__(
        self, clients: Mapping[Audience, Any], bucket: Callable[[str], str], life: int
    ) -> None:
        self._clients = clients
        self._private = clients[Audience.MACHINE]
        self._bucket = bucket
        self.life = life

    async def begin(self, key: Key) -> str | None:
        with failures():
            try:
                async with asyncio.timeout(LIMIT):
                    made = await self._private.create_multipart_upload(**self._named(key))
            except ClientError as error:
                if code(error) in _UNKNOWN:
                    return None
                raise
        upload: str = made["UploadId"]
        return upload

    async def urls(
        self, key: Key, upload: str, parts: list[Part], audience: Audience
    ) -> dict[int, str]:
        urls = {}
        with failures():
            for position, part in enumerate(parts):
                if position % _AT_ONCE == 0:
                    await asyncio.sleep(0)
                urls[part.number] = await self._clients[audience].generate_presigned_url(
                    "upload_part",
                    Params={
                        **self._named(key),
                        "UploadId": upload,
                        "PartNumber": part.number,
                        "ContentLength": part.size,
                    },
                    ExpiresIn=self.life,
                )
        return urls

    async def there(self, key: Key, upload: str) -> dict[int, StagedPart] | None:
        found: dict[int, StagedPart] = {}
        pages = self._private.get_paginator("list_parts")
        with failures():
            try:
                async with asyncio.timeout(3 * LIMIT):
                    async for page in pages.paginate(**self._named(key), UploadId=upload):
                        for part in page.get("Parts", ()):
                            found[part["PartNumber"]] = _part(part)
            except ClientError as error:
                if code(error) in _GONE:
                    return None
                raise
        return found

    async def complete(self, key: Key, upload: str, parts: Mapping[int, StagedPart]) -> bool:
        tags = [{"PartNumber": number, "ETag": parts[number].tag} for number in sorted(parts)]
        with failures():
            try:
                async with asyncio.timeout(_COMPLETING):
                    await self._private.complete_multipart_upload(
                        **self._named(key), UploadId=upload, MultipartUpload={"Parts": tags}
                    )
            except ClientError as error:
                if code(error) in _GONE:
                    return False
                raise
        return True

    async def abort(self, key: Key, upload: str) -> None:
        with failures():
            try:
                async with asyncio.timeout(LIMIT):
                    await self._private.abort_multipart_upload(**self._named(key), UploadId=upload)
            except ClientError as error:
                if code(error) not in _GONE:
                    raise

    async def abort_all(self, user: str, task_id: str) -> None:
        """Forget every upload of a task."""
        pages = self._private.get_paginator("list_multipart_uploads")
        bucket, prefix = self._bucket(user), f"{task_id}/"
        with failures():
            try:
                async with asyncio.timeout(LIMIT):
                    async for page in pages.paginate(Bucket=bucket, Prefix=prefix):
                        for found in page.get("Uploads", ()):
                            name = found["Key"].removeprefix(prefix)
                            await self.abort(Key(user, task_id, name), found["UploadId"])
            except ClientError as error:
                if code(error) not in _GONE | _UNKNOWN:
                    raise

    def _named(self, key: Key) -> dict[str, str]:
        return {"Bucket": self._bucket(key.user), "Key": key.path}


def _part(found: Mapping[str, Any]) -> StagedPart:
    tag: str = found["ETag"]
    digits = tag.strip('"')
    return StagedPart(found["Size"], tag, digits if _MD5.fullmatch(digits) else "")
