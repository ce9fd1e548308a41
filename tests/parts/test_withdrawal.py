"""When a pooled connection ends although nothing is wrong with it (Contract: auth §6)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from msgspec.structs import replace

from firecrest.config.settings import Pool as PoolSettings
from firecrest.errors import AccessDenied, CommandFailed, Fault, FirecrestError
from firecrest.ssh import pool as pool_module
from firecrest.ssh.certificates import CertificateAuthority
from firecrest.ssh.pool import Pool
from tests.conftest import Wires
from tests.harness.testbed import Testbed
from tests.harness.waiting import eventually
from tests.parts.ssh_bench import Bench, bench_on


class Policy:
    """Says of each pair of user and system what a test wants."""

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.asked: list[str] = []

    async def asked_again(self, user: str) -> None:
        """Wait until it was asked for the user once more, or twice: one question may be old."""
        count = self.asked.count(user)

        async def again() -> bool:
            return self.asked.count(user) >= count + 2

        await eventually(again, "the policy is asked again")

    async def permit(self, user: str, system: str) -> None:
        self.asked.append(user)
        if self.error is not None and user == "alice":
            raise self.error


@asynccontextmanager
async def asking(
    policy: Policy, testbed: Testbed, wires: Wires, directory: Path, max_age: float = 600
) -> AsyncIterator[Bench]:
    """A bench whose pool asks the policy."""
    async with bench_on(testbed, wires, directory) as bench:
        settings = replace(bench.pool._settings, pool=PoolSettings(max_age=max_age))
        authority = CertificateAuthority(testbed.ca_key, 300, "")
        pool = Pool(settings, {"cluster": authority}, policy.permit)
        pool.start()
        yield Bench(pool, bench.system, bench.wire, bench.sshd)
        await pool.stop()


async def test_a_refusal_of_the_policy_ends_what_is_open(
    testbed: Testbed, wires: Wires, tmp_path: Path
) -> None:
    policy = Policy()
    async with asking(policy, testbed, wires, tmp_path) as bench:
        assert await bench.run("id -un") == "alice"
        assert await bench.run("id -un", "bob") == "bob"
        running = asyncio.create_task(bench.run("sleep 60", seconds=None))
        policy.error = AccessDenied("Permission denied for user alice in cluster")
        with pytest.raises(AccessDenied):
            await bench.run("id -un")
        with pytest.raises(FirecrestError):
            await running

        async def one() -> bool:
            return bench.wire.open == 1

        await eventually(one, "alice's connection is closed, and bob's is not")
        policy.error = None
        assert await bench.run("id -un") == "alice"


async def test_a_policy_that_cannot_be_asked_ends_nothing_and_permits_nothing(
    testbed: Testbed, wires: Wires, tmp_path: Path
) -> None:
    policy = Policy()
    async with asking(policy, testbed, wires, tmp_path) as bench:
        assert await bench.run("id -un") == "alice"
        policy.error = CommandFailed(Fault.OTHER, "Authorization server error")
        with pytest.raises(CommandFailed):
            await bench.run("id -un")
        policy.error = None
        assert await bench.run("id -un") == "alice"
        assert bench.wire.connections == 1


async def test_an_old_connection_gets_no_more_work(
    testbed: Testbed, wires: Wires, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool_module, "_SWEEP_INTERVAL", 0.05)
    async with asking(Policy(), testbed, wires, tmp_path, max_age=0.2) as bench:
        long = asyncio.create_task(bench.run("sleep 1.5; echo done"))

        async def another() -> bool:
            assert await bench.run("id -un") == "alice"
            return bench.wire.connections > 1

        await eventually(another, "a younger connection is made")
        assert await long == "done"  # what had begun ends by itself


async def test_work_is_ended_that_the_policy_comes_to_refuse(
    testbed: Testbed, wires: Wires, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool_module, "_SWEEP_INTERVAL", 0.05)
    policy = Policy()
    async with asking(policy, testbed, wires, tmp_path) as bench:
        assert await bench.run("id -un") == "alice"
        running = asyncio.create_task(bench.run("sleep 60", seconds=None))
        others = asyncio.create_task(bench.run("sleep 2; id -un", "bob", seconds=None))
        await in_use(bench, 2)
        policy.error = CommandFailed(Fault.OTHER, "Authorization server error")
        await policy.asked_again("alice")
        assert not running.done()  # what cannot be asked refuses nothing
        policy.error = RuntimeError("a defect")
        await policy.asked_again("alice")
        policy.error = AccessDenied("Permission denied for user alice in cluster")
        with pytest.raises(FirecrestError):  # though nobody asks for anything else
            await asyncio.wait_for(running, 30)
        assert await others == "bob"


@pytest.mark.parametrize("how", ["old", "moved"])
async def test_work_on_a_connection_without_a_future_can_be_ended(
    testbed: Testbed, wires: Wires, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setattr(pool_module, "_SWEEP_INTERVAL", 0.05)
    policy = Policy()
    async with asking(policy, testbed, wires, tmp_path, 0.2 if how == "old" else 600) as bench:
        running = asyncio.create_task(bench.run("sleep 60", seconds=None))
        await in_use(bench, 1)
        if how == "moved":
            settings = bench.pool._settings
            connector = bench.pool.connector(settings, {})
            bench.pool.reload(settings, [], connector, policy.permit)
        else:

            async def another() -> bool:
                assert await bench.run("id -un") == "alice"
                return bench.wire.connections > 1

            await eventually(another, "it takes no more work")
        assert not running.done()
        bench.pool.deny({"alice"})
        with pytest.raises(FirecrestError):
            await asyncio.wait_for(running, 30)


async def in_use(bench: Bench, channels: int) -> None:
    shown = f'firecrest_ssh_channels{{system="cluster"}} {channels}.0\n'

    async def begun() -> bool:
        return shown in bench.pool.metrics.text().decode()

    await eventually(begun, f"{channels} channels are in use")
