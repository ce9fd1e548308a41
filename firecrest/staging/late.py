"""Clients of the store, made when they are first used.

The library and its description of S3 take 20 MiB and a third of a second, which a gateway that has
just been started does not have to spend. Nothing else imports the library at the start.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

from firecrest.config.settings import Storage

if TYPE_CHECKING:
    from aiobotocore.session import AioSession


class Clients:
    """Makes clients, which share the library's description of S3.

    :param stack: closes them
    """

    def __init__(self, settings: Storage, stack: AsyncExitStack) -> None:
        self._settings = settings
        self._stack = stack
        self._reading: asyncio.Task[AioSession] | None = None

    async def client(self, url: str) -> Any:
        """A new client; the loop goes on while what it needs is read."""
        if self._reading is None:
            self._reading = asyncio.create_task(asyncio.to_thread(_session))
        session = await asyncio.shield(self._reading)
        s3 = self._settings.s3
        made = session.create_client(
            "s3",
            endpoint_url=url,
            region_name=s3.region,
            aws_access_key_id=s3.access_key.reveal(),
            aws_secret_access_key=s3.secret_key.reveal(),
        )
        return await self._stack.enter_async_context(made)


class LateClient:
    """Stands for a client: an operation is a coroutine method, a paginator gives pages.

    :param make: makes the client; asked once, or again if it failed
    """

    def __init__(self, make: Callable[[], Awaitable[Any]]) -> None:
        self._make = make
        self._making = asyncio.Lock()
        self._made: Any = None

    def __getattr__(self, operation: str) -> Callable[..., Awaitable[Any]]:
        async def call(*args: Any, **options: Any) -> Any:
            return await getattr(await self._client(), operation)(*args, **options)

        return call

    def get_paginator(self, operation: str) -> LatePages:
        """Lists that have several pages."""
        return LatePages(self._client, operation)

    async def _client(self) -> Any:
        if self._made is None:
            async with self._making:
                if self._made is None:
                    self._made = await self._make()
        return self._made


class LatePages:
    """Stands for a paginator."""

    def __init__(self, client: Callable[[], Awaitable[Any]], operation: str) -> None:
        self._client = client
        self._operation = operation

    async def paginate(self, **options: Any) -> AsyncIterator[Any]:
        """The pages."""
        client = await self._client()
        async for page in client.get_paginator(self._operation).paginate(**options):
            yield page


def _session() -> AioSession:
    from aiobotocore.config import AioConfig
    from aiobotocore.session import get_session

    session = get_session()
    session.set_default_client_config(
        AioConfig(
            signature_version="s3v4",
            s3={"addressing_style": "path"},
            connect_timeout=5,
            read_timeout=30,
            retries={"max_attempts": 2},
            # older stores refuse the checksum trailers newer SDKs send by default
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        )
    )
    # nobody asks for times, and to read them is half the work of reading a list
    session.get_component("response_parser_factory").set_parser_defaults(timestamp_parser=str)
    # kept by the loader for all clients
    session.get_component("data_loader").load_service_model("s3", "service-2")
    return session
