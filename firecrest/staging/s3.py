"""Any store that speaks S3 with signature version 4 (Contract: rest-v1 §8.1, tasks §4, §5)."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import logging
import re
import time
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any

from botocore.exceptions import ClientError

from firecrest.config.settings import Storage
from firecrest.errors import StagingFailed
from firecrest.model.staging import IN_PARTS, Audience, Form, Key, Staged
from firecrest.staging.arrivals import Arrivals
from firecrest.staging.calls import watch
from firecrest.staging.failures import LIMIT, code, failures
from firecrest.staging.late import Clients, LateClient
from firecrest.staging.multipart import Multipart
from firecrest.telemetry.metrics import Metrics
from firecrest.telemetry.spans import Spans, Untold

_log = logging.getLogger(__name__)

_HOUR, _DAY = 3600, 86_400
_BUCKET_NAME = re.compile(r"[a-z0-9](?:[a-z0-9.-]{1,61})[a-z0-9]")
_MD5 = re.compile(r"[0-9a-f]{32}(-[0-9]{1,5})?")
_OWN = "BucketAlreadyOwnedByYou"
_TAKEN = "BucketAlreadyExists"
#: Seconds after which a bucket is looked at again, for it may have been removed.
_SURE_FOR = 300.0
_ABSENT = {"404", "NoSuchKey", "NoSuchBucket", "NotFound"}


@asynccontextmanager
async def connect(
    settings: Storage,
    origins: Collection[str] = (),
    metrics: Metrics | None = None,
    spans: Spans | None = None,
) -> AsyncIterator[S3Store]:
    """The store for as long as the context lasts; nothing is sent before it is used.

    :param origins: of web pages that may use presigned URLs; ``*`` means any
    """
    async with AsyncExitStack() as stack:
        clients = Clients(settings, stack)

        async def watched() -> Any:
            client = await clients.client(settings.s3.private_url)
            watch(client, metrics or Metrics(), spans or Untold())
            return client

        private = LateClient(watched)
        public = LateClient(lambda: clients.client(settings.s3.public_url))
        yield S3Store(settings, private, public, origins)


class S3Store:
    """See :class:`firecrest.staging.base.Store`.

    Signing is local work; only buckets, sizes and deletions ask the store.
    """

    technology = "Amazon S3 - Signature v4"

    def __init__(
        self, settings: Storage, private: Any, public: Any, origins: Collection[str]
    ) -> None:
        self._settings = settings
        self._origins = sorted(origins)
        self._private = private
        self._public = public
        self._prepared: dict[str, float] = {}
        self._arrivals = Arrivals(private, self._bucket, self._describe)
        self.in_parts = Multipart(
            {Audience.CLIENT: public, Audience.MACHINE: private},
            self._bucket,
            settings.tempurl_expiration,
        )

    async def prepare(self, user: str) -> None:
        bucket = self._bucket(user)
        if time.monotonic() < self._prepared.get(bucket, 0.0):
            return
        with failures():
            try:
                await self._private.create_bucket(Bucket=bucket, **self._location())
            except ClientError as error:
                if code(error) not in (_OWN, _TAKEN):
                    raise
                # in a name space shared with others it may be somebody else's, who would
                # get what our users upload
                if code(error) == _TAKEN and not await self._owns(bucket):
                    raise StagingFailed(f"bucket {bucket} belongs to somebody else") from error
            await self._expire(bucket)
            await self._admit_pages(bucket)
        now = time.monotonic()
        self._prepared = {name: end for name, end in self._prepared.items() if end > now}
        self._prepared[bucket] = now + _SURE_FOR

    async def upload_form(self, key: Key) -> Form:
        with failures():
            made = await self._public.generate_presigned_post(
                self._bucket(key.user),
                key.path,
                Conditions=[["content-length-range", 0, self._settings.max_file_size]],
                ExpiresIn=self._settings.tempurl_expiration,
            )
        return Form(url=made["url"], fields=made["fields"])

    async def get_url(self, key: Key, audience: Audience) -> str:
        client = self._public if audience is Audience.CLIENT else self._private
        return await self._presign(client, "get_object", key)

    async def put_url(self, key: Key) -> str:
        return await self._presign(self._private, "put_object", key)

    async def size(self, key: Key) -> int | None:
        found = await self._describe(key)
        return None if found is None else found.size

    async def arrived(self, key: Key) -> int | None:
        found = await self._arrivals.find(key)
        return None if found is None else found.size

    async def describe(self, key: Key) -> Staged | None:
        return self._arrivals.found(key) or await self._describe(key)

    async def _describe(self, key: Key) -> Staged | None:
        with failures():
            try:
                async with asyncio.timeout(LIMIT):
                    found = await self._private.head_object(
                        Bucket=self._bucket(key.user), Key=key.path, ChecksumMode="ENABLED"
                    )
            except ClientError as error:
                if code(error) in _ABSENT:
                    return None
                raise
        return Staged(found["ContentLength"], *checksum(found))

    async def delete(self, key: Key) -> None:
        self._arrivals.gone(key)
        with failures():
            await self._private.delete_object(Bucket=self._bucket(key.user), Key=key.path)

    async def delete_all(self, user: str, task_id: str) -> None:
        bucket = self._bucket(user)
        pages = self._private.get_paginator("list_objects_v2")
        await self.in_parts.abort_all(user, task_id)  # first, else one of them could be completed
        with failures():
            try:
                async with asyncio.timeout(LIMIT):
                    async for page in pages.paginate(Bucket=bucket, Prefix=f"{task_id}/"):
                        for found in page.get("Contents", ()):
                            await self._private.delete_object(Bucket=bucket, Key=found["Key"])
            except ClientError as error:
                if code(error) not in _ABSENT:
                    raise

    def reload(self, settings: Storage, origins: Collection[str]) -> None:
        self._settings = settings
        self._origins = sorted(origins)
        self.in_parts.life = settings.tempurl_expiration
        self._prepared.clear()  # the expiry of objects may be another

    async def ping(self) -> None:
        with failures():
            async with asyncio.timeout(LIMIT):
                await self._private.list_buckets()

    async def _presign(self, client: Any, operation: str, key: Key) -> str:
        with failures():
            url: str = await client.generate_presigned_url(
                operation,
                Params={"Bucket": self._bucket(key.user), "Key": key.path},
                ExpiresIn=self._settings.tempurl_expiration,
            )
        return url

    async def _expire(self, bucket: str) -> None:
        """Have the store delete what was left behind."""
        days = max(1, self._settings.tempurl_expiration // _DAY)
        rule = {
            "ID": "firecrest",
            "Status": "Enabled",
            "Filter": {"Prefix": ""},
            "Expiration": {"Days": days},
            # parts of what was never completed cost as much as objects, and show nowhere
            "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": days + 1},
        }
        try:
            await self._private.put_bucket_lifecycle_configuration(
                Bucket=bucket, LifecycleConfiguration={"Rules": [rule]}
            )
        except ClientError as error:
            # not every store offers it; a transfer deletes its object itself when it ends well
            _log.warning("bucket %s has no expiry, abandoned objects stay: %s", bucket, error)

    async def _admit_pages(self, bucket: str) -> None:
        """Have browsers let web pages use presigned URLs; the signature stays what is needed."""
        if not self._origins:
            return
        rule = {
            "ID": "firecrest",
            "AllowedOrigins": self._origins,
            "AllowedMethods": ["GET", "HEAD", "POST", "PUT"],
            "AllowedHeaders": ["*"],
            "ExposeHeaders": ["ETag"],
            "MaxAgeSeconds": _HOUR,
        }
        try:
            await self._private.put_bucket_cors(
                Bucket=bucket, CORSConfiguration={"CORSRules": [rule]}
            )
        except ClientError as error:
            # a store may answer all pages alike, by settings of its own
            _log.warning("bucket %s keeps its own rules for web pages: %s", bucket, error)

    async def _owns(self, bucket: str) -> bool:
        """Some stores say "exists" of one's own buckets as well."""
        found = await self._private.list_buckets()
        # with a tenant in front, the list has the names behind it
        return bucket.rpartition(":")[2] in {known["Name"] for known in found["Buckets"]}

    def _location(self) -> dict[str, Any]:
        region = self._settings.s3.region
        if region == "us-east-1":  # S3 refuses to hear its default named
            return {}
        return {"CreateBucketConfiguration": {"LocationConstraint": region}}

    def _bucket(self, user: str) -> str:
        name = bucket_name(user)
        tenant = self._settings.s3.tenant
        return f"{tenant}:{name}" if tenant else name


def checksum(head: Mapping[str, Any]) -> tuple[str, str]:
    """Algorithm and hex digits of the checksum a store gives of an object, empty if none.

    :param head: its answer to HeadObject
    """
    given = head.get("ChecksumSHA256", "")
    if given and "-" not in given:  # else it is one of checksums of parts
        with suppress(ValueError):
            return "sha256", base64.b64decode(given, validate=True).hex()
    # an object that is encrypted with somebody's key has another tag
    tag = head.get("ETag", "").strip('"')
    own_key = head.get("SSECustomerAlgorithm") or "kms" in head.get("ServerSideEncryption", "")
    if (match := _MD5.fullmatch(tag)) and not own_key:
        return IN_PARTS if match[1] else "md5", tag
    return "", ""


def bucket_name(user: str) -> str:
    """The bucket of a user: the name itself where S3 allows it, else a unique likeness."""
    if _BUCKET_NAME.fullmatch(user) and ".." not in user and "." not in user:
        return user
    likeness = re.sub(r"[^a-z0-9]+", "-", user.lower()).strip("-")[:50]
    return f"{likeness or 'user'}-{hashlib.sha256(user.encode()).hexdigest()[:8]}"
