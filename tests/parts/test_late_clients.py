"""Clients of the store that are made when they are first used."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from contextlib import AsyncExitStack
from typing import Any

import pytest

from firecrest.config.services import S3, Storage
from firecrest.config.values import Secret
from firecrest.model.staging import Audience, Key
from firecrest.staging import late, s3

SETTINGS = Storage(
    s3=S3(
        public_url="https://public.example.org",
        private_url="https://private.example.org",
        access_key=Secret("key"),
        secret_key=Secret("secret"),
    )
)


def test_the_start_imports_no_library_of_the_store() -> None:
    program = "import sys, firecrest.cli; print('aiobotocore.session' in sys.modules)"
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert told.stdout == b"False\n"


async def test_all_who_come_at_first_share_what_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    read = []
    session = late._session

    def counted() -> Any:
        read.append(session())
        return read[-1]

    monkeypatch.setattr(late, "_session", counted)
    async with s3.connect(SETTINGS) as store:
        key = Key("alice", "id", "f")
        assert not read
        urls = await asyncio.gather(
            *(store.get_url(key, audience) for audience in Audience for _ in range(5))
        )
    assert len(read) == 1
    hosts = {url.split("/")[2] for url in urls}
    assert hosts == {"public.example.org", "private.example.org"}


async def test_a_client_that_could_not_be_made_is_made_for_the_next_one() -> None:
    attempts = []

    class Made:
        async def operation(self, word: str) -> str:
            return word

    async def make() -> Made:
        attempts.append(1)
        if len(attempts) == 1:
            raise OSError("too many open files")
        return Made()

    client = late.LateClient(make)
    with pytest.raises(OSError, match="too many"):
        await client.operation("a")
    answers = await asyncio.gather(client.operation("b"), client.operation("c"))
    assert list(answers) == ["b", "c"]
    assert len(attempts) == 2


async def test_who_gives_up_spoils_it_for_nobody_else() -> None:
    async with AsyncExitStack() as stack:
        clients = late.Clients(SETTINGS, stack)
        impatient = asyncio.ensure_future(clients.client("https://public.example.org"))
        patient = asyncio.ensure_future(clients.client("https://public.example.org"))
        await asyncio.sleep(0)
        impatient.cancel()
        assert (await patient).meta.endpoint_url == "https://public.example.org"
