"""Fixtures of the console: one browser for all the tests of a worker.

=============== =========  =============================================================
fixture         scope      gives
=============== =========  =============================================================
``browser``     session    Chromium
``opened``      function   opens consoles; at the end no script of theirs has failed, and
                           none has asked another host
``alice_at``    function   a console in which alice is signed in
``wired``       function   a console whose network can be cut, and the wire
``issuer``      session    an identity provider at which one signs in
``site``        session    a gateway whose users sign in there
``limited``     session    a gateway through which little goes directly, with small parts of
                           files, a file system that is not there and a system that is off
``axe``         session    the script that checks accessibility
``pictures``    session    where screenshots go: docs/console with CONSOLE_PICTURES=1, so
                           that an ordinary run changes nothing
=============== =========  =============================================================
"""

from __future__ import annotations

import copy
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser

from tests.conftest import Wires
from tests.console.browser import Console, chromium, console
from tests.harness.daemons import free_port
from tests.harness.gateway import Config, Gateway, running_gateway
from tests.harness.network import Wire
from tests.harness.signin import CLIENT, SignInIssuer, signin_issuer
from tests.harness.testbed import Testbed, emptied_database
from tests.harness.tokens import TokenMint

ROOT = Path(__file__).parents[2]

Opened = Callable[..., Awaitable[Console]]
Wired = tuple[Console, Wire]


@pytest.fixture(scope="session")
async def browser() -> AsyncIterator[Browser]:
    async with chromium() as running:
        yield running


@pytest.fixture
async def opened(browser: Browser, gateway: Gateway, testbed: Testbed) -> AsyncIterator[Opened]:
    made: list[Console] = []
    async with AsyncExitStack() as stack:

        async def make(origin: str = gateway.url, **options: Any) -> Console:
            one = await stack.enter_async_context(console(browser, origin, **options))
            one.known.add(testbed.s3_url)
            made.append(one)
            return one

        yield make
    assert [one.complaints for one in made if one.complaints] == []
    assert [found for one in made if (found := one.foreign())] == []


@pytest.fixture(scope="session")
async def limited(
    base_config: Config, testbed: Testbed, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Gateway]:
    config = copy.deepcopy(base_config)
    config["utilities"] = {"max_file_size_mb": 1}
    config["storage"] |= {"part_size_mb": 5, "polling_interval": 0.3, "copy_retries": 0}
    off = copy.deepcopy(config["systems"][0])
    off |= {"name": "off", "address": f"127.0.0.1:{free_port()}"}
    config["systems"].append(off)
    config["systems"][0]["filesystems"] = [
        {"name": "HOME", "path": "/home", "description": "<b>homes</b>"},
        {"name": "GONE", "path": "/nowhere"},
    ]
    async with (
        emptied_database(testbed) as config["redis"]["db"],  # or it does the work of ``gateway``
        running_gateway(config, tmp_path_factory.mktemp("limited")) as running,
    ):
        yield running


@pytest.fixture
async def alice_at(opened: Opened, mint: TokenMint) -> Console:
    shown = await opened()
    await shown.sign_in(mint.token("alice"))
    return shown


@pytest.fixture
async def wired(opened: Opened, wires: Wires, gateway: Gateway) -> Wired:
    wire = await wires("127.0.0.1", int(gateway.url.rpartition(":")[2]))
    return await opened(f"http://127.0.0.1:{wire.port}"), wire


@pytest.fixture(scope="session")
async def issuer() -> AsyncIterator[SignInIssuer]:
    async with signin_issuer() as running:
        yield running


@pytest.fixture(scope="session")
async def site(
    issuer: SignInIssuer,
    base_config: Config,
    testbed: Testbed,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Gateway]:
    config = copy.deepcopy(base_config)
    config |= {
        "auth": {"issuers": [{"issuer": issuer.name, "discovery": True}]},
        "console": {"issuer": issuer.name, "client_id": CLIENT},
        "events": {"heartbeat": 1},
    }
    async with (
        emptied_database(testbed) as config["redis"]["db"],  # as above
        running_gateway(config, tmp_path_factory.mktemp("site")) as gateway,
    ):
        yield gateway


@pytest.fixture(scope="session")
def axe() -> str:
    return resources.files("axe_playwright_python").joinpath("axe.min.js").read_text()


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if os.environ.get("CONSOLE_PICTURES") == "1":
        return ROOT / "docs" / "console"
    return tmp_path_factory.mktemp("pictures")
