"""Probes run at once, are remembered, and end within their limits (Contract: rest-v1 §5)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, cast

import asyncssh
import pytest
from msgspec.structs import replace

from firecrest.config.load import load_settings
from firecrest.config.settings import Filesystem, Settings
from firecrest.errors import AccessDenied, CommandFailed, Fault
from firecrest.machines import Machines
from firecrest.probes import ServiceProbes, SystemProbes
from firecrest.staging.base import Store
from firecrest.tasks.store import TaskStore

CONFIG = Path(__file__).parents[2] / "config.yaml"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Three systems with two file systems each, and short limits."""
    key = tmp_path / "key"
    key.write_text("key")
    environ = {"FIRECREST_S3_ACCESS_KEY": "a", "FIRECREST_S3_SECRET_KEY": "b"}
    loaded = load_settings(CONFIG, [f"auth.issuers.0.public_keys.0={{file: {key}}}"], environ)
    mounted = tuple(Filesystem(name=name, path=Path("/", name)) for name in "ab")
    (system,) = loaded.systems
    systems = tuple(replace(system, name=name, filesystems=mounted) for name in ("x", "y", "z"))
    ca_key = tmp_path / "ca"
    asyncssh.generate_private_key("ssh-ed25519").write_private_key(ca_key)
    return replace(
        loaded,
        systems=systems,
        ssh=replace(loaded.ssh, connect_timeout=0.05, ca_key_path=ca_key),
        utilities=replace(loaded.utilities, timeout=0),
    )


class Machine:
    """Stands in for every machine."""

    def __init__(self, reach: Callable[[], Awaitable[None]]) -> None:
        self._reach = reach

    def serving(self, family: str) -> Machine:
        assert family == "status"
        return self

    def open(self, user: str, name: str) -> Machine:
        assert (user, len(name)) == ("alice", 1)
        return self

    async def check_reachable(self) -> None:
        await self._reach()

    async def run(self, _: Any) -> Any:
        await self._reach()
        return ["something"]


def probes(settings: Settings, reach: Callable[[], Awaitable[None]]) -> SystemProbes:
    return SystemProbes(settings, cast(Machines, Machine(reach)))


async def for_ever() -> None:
    await asyncio.Event().wait()


async def test_all_are_probed_at_once(settings: Settings) -> None:
    together = asyncio.Barrier(3)  # of which nobody passes before all have come

    async def reach() -> None:
        await together.wait()

    found = await probes(settings, reach).all("alice", fresh=False)
    assert [(health.system.name, health.available) for health in found] == [
        ("x", True),
        ("y", True),
        ("z", True),
    ]
    six = asyncio.Barrier(6)

    async def reach_all() -> None:
        await six.wait()

    mounted = await probes(settings, reach_all).all_filesystems("alice", fresh=False)
    assert [each.available for every in mounted.values() for each in every] == [True] * 6


async def test_nothing_is_waited_for_beyond_its_limit(settings: Settings) -> None:
    async with asyncio.timeout(30):
        found = await probes(settings, for_ever).all("alice", fresh=False)
        assert [(health.available, health.answers) for health in found] == [(False, False)] * 3
        mounted = await probes(settings, for_ever).all_filesystems("alice", fresh=False)
    assert {each.available for every in mounted.values() for each in every} == {False}


async def test_an_answer_is_used_again_unless_a_fresh_one_is_wanted(settings: Settings) -> None:
    asked = 0

    async def reach() -> None:
        nonlocal asked
        asked += 1

    probed = probes(settings, reach)
    await probed.all("alice", fresh=False)
    once = asked
    await probed.all("alice", fresh=False)
    assert asked == once > 0
    await probed.all("alice", fresh=True)
    assert asked == 2 * once


@pytest.mark.parametrize(
    ("answer", "available"),
    [
        (None, True),
        (AccessDenied("no"), True),
        (CommandFailed(Fault.OTHER, "Authorization server error"), False),
    ],
)
async def test_certificates_depend_on_the_policy(
    settings: Settings, answer: Exception | None, available: bool
) -> None:
    async def permit(_: str, system: str) -> None:
        assert system == "x"
        if answer is not None:
            raise answer

    only = replace(settings, status=replace(settings.status, services=("certificator",)))
    parts = cast(TaskStore, Silent()), cast(Store, Silent())
    (health,) = await ServiceProbes(only, *parts, permit).all(fresh=False)
    assert (health.service, health.available) == ("certificator", available)


class Silent:
    """A store that is not asked."""

    ping = None
