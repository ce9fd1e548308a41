"""Fixtures of the console: one browser for all its tests, which therefore share a worker.

=============== =========  =============================================================
fixture         scope      gives
=============== =========  =============================================================
``browser``     session    Chromium
``opened``      function   opens consoles; at the end no script of theirs has failed, and
                           none has asked another host
``alice_at``    function   a console in which alice is signed in
``site``        session    a gateway through which little goes directly, with small parts of
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

from tests.console.browser import Console, chromium, console
from tests.harness.daemons import free_port
from tests.harness.gateway import Config, Gateway, running_gateway
from tests.harness.testbed import Testbed
from tests.harness.tokens import TokenMint

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent

Opened = Callable[..., Awaitable[Console]]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.xdist_group("console"))


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
            made.append(one)
            return one

        yield make
    assert [one.complaints for one in made if one.complaints] == []
    assert [found for one in made if (found := one.foreign(testbed.s3_url))] == []


@pytest.fixture(scope="session")
async def site(
    base_config: Config, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Gateway]:
    config = copy.deepcopy(base_config)
    config["utilities"] = {"max_file_size_mb": 1}
    config["storage"] |= {"part_size_mb": 5, "polling_interval": 0.3}
    off = copy.deepcopy(config["systems"][0])
    off |= {"name": "off", "address": f"127.0.0.1:{free_port()}"}
    config["systems"].append(off)
    config["systems"][0]["filesystems"] = [
        {"name": "HOME", "path": "/home", "description": "<b>homes</b>"},
        {"name": "GONE", "path": "/nowhere"},
    ]
    async with running_gateway(config, tmp_path_factory.mktemp("site")) as running:
        yield running


@pytest.fixture
async def alice_at(opened: Opened, mint: TokenMint) -> Console:
    shown = await opened()
    await shown.sign_in(mint.token("alice"))
    return shown


@pytest.fixture(scope="session")
def axe() -> str:
    return resources.files("axe_playwright_python").joinpath("axe.min.js").read_text()


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if os.environ.get("CONSOLE_PICTURES") == "1":
        return ROOT / "docs" / "console"
    return tmp_path_factory.mktemp("pictures")
