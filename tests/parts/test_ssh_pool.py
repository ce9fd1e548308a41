"""The pool of connections, on a real sshd (Contract: rest-v1 §14.3 P2, auth §6)."""

from __future__ import annotations

import asyncio
import secrets
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from firecrest.config.settings import Algorithms, Ssh
from firecrest.config.settings import Pool as PoolSettings
from firecrest.config.values import Address
from firecrest.errors import AccessDenied, CommandFailed, ConfigError, Fault, SystemUnavailable
from firecrest.ssh import lane
from firecrest.ssh import pool as pool_module
from firecrest.ssh.certificates import CertificateAuthority
from firecrest.ssh.connecting import offered
from firecrest.ssh.link import Link
from firecrest.ssh.pool import Pool
from tests.harness.network import Wire
from tests.harness.testbed import Testbed
from tests.harness.waiting import eventually
from tests.parts.ssh_bench import Bench


async def test_a_connection_is_used_again(bench: Bench) -> None:
    for _ in range(5):
        assert await bench.run("id -un") == "alice"
    assert bench.wire.connections == 1


async def test_users_share_no_connection(bench: Bench) -> None:
    assert await bench.run("id -un", "alice") == "alice"
    assert await bench.run("id -un", "bob") == "bob"
    assert bench.wire.connections == 2


async def test_channels_and_connections_stay_within_their_budget(bench: Bench) -> None:
    async with AsyncExitStack() as stack:
        links = [
            await stack.enter_async_context(bench.pool.channel("alice", bench.system))
            for _ in range(6)
        ]
        assert bench.wire.connections == 2
        assert sorted(link.busy for link in set(links)) == [3, 3]
        waiting = asyncio.create_task(bench.run("echo seventh"))
        other = await bench.run("id -un", "bob")
        assert (other, waiting.done()) == ("bob", False)
    assert await waiting == "seventh"
    assert bench.wire.connections == 3


async def test_who_waits_is_served_in_order(bench: Bench) -> None:
    served: list[int] = []

    async def caller(number: int) -> None:
        async with bench.pool.channel("alice", bench.system):
            served.append(number)
            await bench.run("true", "bob")

    await asyncio.gather(*(caller(number) for number in range(25)))
    assert sorted(served) == list(range(25))
    assert served[6:] == sorted(served[6:])


async def test_who_stops_waiting_takes_no_channel(bench: Bench) -> None:
    async with AsyncExitStack() as stack:
        for _ in range(6):
            await stack.enter_async_context(bench.pool.channel("alice", bench.system))
        waiting = [asyncio.create_task(bench.run("true")) for _ in range(10)]
        await asyncio.sleep(0)
        for task in waiting[::2]:
            task.cancel()
    assert await asyncio.gather(*waiting[1::2]) == [""] * 5
    async with asyncio.timeout(20), AsyncExitStack() as stack:
        for _ in range(6):
            await stack.enter_async_context(bench.pool.channel("alice", bench.system))


async def test_who_stops_waiting_as_it_is_served_gives_the_channel_back(bench: Bench) -> None:
    for _ in range(30):
        calls = [asyncio.create_task(bench.run("true")) for _ in range(7)]
        for _ in range(3):
            await asyncio.sleep(0)
        calls[0].cancel()
        await asyncio.wait(calls)
    async with asyncio.timeout(20), AsyncExitStack() as stack:
        for _ in range(6):
            await stack.enter_async_context(bench.pool.channel("alice", bench.system))


async def test_a_machine_away_is_told_to_everybody_who_waits(bench: Bench) -> None:
    await bench.wire.cut()
    outcomes = await asyncio.gather(*(bench.run("true") for _ in range(20)), return_exceptions=True)
    assert all(isinstance(outcome, SystemUnavailable) for outcome in outcomes)
    await bench.wire.mend()
    assert await bench.run("echo back") == "back"


async def test_a_refused_user_is_told_so(bench: Bench) -> None:
    outcomes = await asyncio.gather(
        *(bench.run("true", "carol") for _ in range(3)), return_exceptions=True
    )
    assert all(isinstance(outcome, AccessDenied) for outcome in outcomes)
    assert await bench.run("id -un") == "alice"


async def test_a_silent_machine_is_given_up_in_time(bench: Bench) -> None:
    bench.wire.stall()
    with pytest.raises(SystemUnavailable):
        async with asyncio.timeout(20):
            await bench.run("true")


async def test_long_work_leaves_room_for_the_rest(bench: Bench) -> None:
    long = [asyncio.create_task(bench.run("sleep 60", seconds=None)) for _ in range(10)]
    try:
        await eventually(lambda: _busy(bench.pool, 3), "long work has begun")
        async with asyncio.timeout(10):
            assert await asyncio.gather(*(bench.run("echo ok") for _ in range(6))) == ["ok"] * 6
    finally:
        for task in long:
            task.cancel()
        await asyncio.wait(long)


async def _busy(pool: Pool, count: int) -> bool:
    links = [link for lane in pool._lanes.values() for link in lane._links]
    return sum(link.busy for link in links) == count


async def _run_by(text: str, count: int) -> bool:
    """Whether so many processes of this machine have this command line."""
    wanted, found = text.replace(" ", "\0").encode() + b"\0", 0
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended
            found += (process / "cmdline").read_bytes() == wanted
    return found == count


async def test_what_hangs_is_given_up_and_its_connection_not_used_again(bench: Bench) -> None:
    other = asyncio.create_task(bench.run("sleep 1; echo other"))
    with pytest.raises(CommandFailed) as raised:
        await bench.run("trap '' TERM; sleep 5", seconds=0.3)
    assert raised.value.fault is Fault.TIMEOUT
    assert await bench.run("echo ok") == "ok"
    assert bench.wire.connections == 2
    assert await other == "other"  # what else was going on has ended well
    await eventually(lambda: _open(bench.wire, 1), "the connection is closed")


async def _open(wire: Wire, count: int) -> bool:
    return wire.open == count


async def test_a_connection_that_cannot_be_opened_is_not_tried_without_pause(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lane, "_RETRY_PAUSE", 0.2)
    attempts = 0
    connect = bench.pool._connect

    async def counted(*arguments: Any) -> Link:
        nonlocal attempts
        attempts += 1
        return await connect(*arguments)

    monkeypatch.setattr(bench.pool, "_connect", counted)
    async with AsyncExitStack() as stack:
        for _ in range(3):
            await stack.enter_async_context(bench.pool.channel("alice", bench.system))
        bench.wire.refuse()
        waiting = asyncio.create_task(bench.run("echo served"))
        # bob's commands are a clock that runs only while the loop is free
        for _ in range(20):
            with pytest.raises(SystemUnavailable):
                await bench.run("true", "bob")
        assert not waiting.done()
    assert await waiting == "served"
    assert attempts < 1 + 20 + 20


async def test_who_waits_for_a_lost_connection_gets_another(bench: Bench) -> None:
    async with AsyncExitStack() as stack:
        for _ in range(6):
            await stack.enter_async_context(bench.pool.channel("alice", bench.system))
        waiting = [asyncio.create_task(bench.run("echo ok")) for _ in range(4)]
        await asyncio.sleep(0)
        bench.wire.drop()
        assert await asyncio.gather(*waiting) == ["ok"] * 4


async def test_losses_without_end_do_not_use_the_budget_up(bench: Bench) -> None:
    for _ in range(8):
        assert await bench.run("echo ok") == "ok"
        bench.wire.drop()
    assert await asyncio.gather(*(bench.run("echo ok") for _ in range(12))) == ["ok"] * 12


async def test_connections_nobody_uses_are_closed(
    testbed: Testbed, bench: Bench, workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool_module, "_SWEEP_INTERVAL", 0.1)
    await bench.pool.stop()
    settings = Ssh(
        ca_key_path=testbed.ca_key,
        known_hosts=bench.pool._settings.known_hosts,
        pool=PoolSettings(idle=0.3),
    )
    pool = Pool(settings, {"cluster": CertificateAuthority(testbed.ca_key, 300, "")})
    pool.start()
    idle = Bench(pool, bench.system, bench.wire, bench.sshd)
    try:
        text = f"until [ -e {workdir}/go ] || [ ! -d {workdir} ]; do sleep 0.05; done; echo done"
        long = asyncio.create_task(idle.run(text, "alice"))
        assert await idle.run("id -un", "bob") == "bob"

        async def closed() -> bool:
            return {key[:2] for key in pool._lanes} == {("alice", "cluster")}

        await eventually(closed, "bob's connection is closed")
        (workdir / "go").touch()
        assert await long == "done"  # what is in use stays

        async def all_closed() -> bool:
            return not pool._lanes and bench.wire.open == 0

        await eventually(all_closed, "every connection is closed")
        assert await idle.run("id -un") == "alice"
    finally:
        await pool.stop()


async def test_a_stopped_pool_keeps_no_connection(bench: Bench) -> None:
    assert await asyncio.gather(*(bench.run("echo ok") for _ in range(6))) == ["ok"] * 6
    await bench.pool.stop()

    async def closed() -> bool:
        return bench.wire.open == 0

    await eventually(closed, "every connection is closed")


async def test_what_is_withdrawn_ends_and_nothing_is_begun_in_its_place(bench: Bench) -> None:
    assert await bench.run("id -un", "bob") == "bob"
    # three of them have their share of long work, one waits for it
    text = f"sleep 60.{secrets.randbelow(10**9):09}"
    long = [asyncio.create_task(bench.run(text, seconds=None)) for _ in range(4)]
    # what has not begun would be begun anew, on another connection
    await eventually(lambda: _run_by(text, 3), "long work has begun")
    async with AsyncExitStack() as stack:
        for _ in range(3):
            await stack.enter_async_context(bench.pool.channel("alice", bench.system))
        waiting = asyncio.create_task(bench.run("echo never"))  # all channels are busy
        await asyncio.sleep(0)
        before = bench.wire.connections
        bench.pool.end_for("alice")
        ended = await asyncio.gather(*long, waiting, return_exceptions=True)
    assert all(isinstance(error, (SystemUnavailable, AccessDenied)) for error in ended), ended
    assert isinstance(ended[-1], AccessDenied)
    assert bench.wire.connections == before
    await eventually(lambda: _open(bench.wire, 1), "alice's connections are closed")
    assert await bench.run("id -un", "bob") == "bob"
    assert await bench.run("id -un", "alice") == "alice"  # nobody says that she may not


async def test_a_denied_user_has_nothing_and_gets_nothing(bench: Bench) -> None:
    assert await bench.run("id -un") == "alice"
    bench.pool.deny(["root", "alice"])
    with pytest.raises(AccessDenied, match="Permission denied for user alice in cluster"):
        await bench.run("id -un")
    await eventually(lambda: _open(bench.wire, 0), "the connection is closed")
    assert bench.wire.connections == 1
    bench.pool.deny(["root"])
    assert await bench.run("id -un") == "alice"


async def test_who_is_denied_while_the_policy_is_asked_does_not_get_in(bench: Bench) -> None:
    asked, told = asyncio.Event(), asyncio.Event()

    async def permit(user: str, system: str) -> None:
        asked.set()
        await told.wait()

    bench.pool.permit = permit
    call = asyncio.create_task(bench.run("id -un"))
    await asked.wait()
    bench.pool.deny(["alice"])
    told.set()
    with pytest.raises(AccessDenied):
        await call
    assert bench.wire.connections == 0


async def test_a_site_chooses_its_algorithms(bench: Bench, testbed: Testbed) -> None:
    chosen = Algorithms(ciphers="aes256-ctr", macs="hmac-sha2-512", key_exchange="-curve448-sha512")
    settings = replace(bench.pool._settings, algorithms=chosen)
    pool = Pool(settings, {"cluster": CertificateAuthority(testbed.ca_key, 300, "")})
    async with pool.channel("alice", bench.system) as link:
        assert link.connection.get_extra_info("send_cipher") == "aes256-ctr"
        assert link.connection.get_extra_info("recv_mac") == "hmac-sha2-512"
    await pool.stop()


@pytest.mark.parametrize("field", ["ciphers", "macs", "key_exchange", "host_keys", "signatures"])
def test_an_algorithm_that_nobody_knows_is_a_mistake(field: str) -> None:
    with pytest.raises(ConfigError, match=r"ssh\.algorithms: .rot13. matches no valid"):
        offered(Algorithms(**{field: "rot13"}))


async def test_the_cipher_is_one_the_processor_computes(bench: Bench) -> None:
    async with bench.pool.channel("alice", bench.system) as link:
        assert link.connection.get_extra_info("send_cipher") == "aes128-gcm@openssh.com"
        assert link.connection.get_extra_info("recv_cipher") == "aes128-gcm@openssh.com"


async def test_a_system_that_goes_keeps_what_runs_there(bench: Bench, workdir: Path) -> None:
    mark, go = workdir / "begun", workdir / "go"
    waits = f"touch {mark}; until [ -e {go} ]; do sleep 0.05; done; echo done"
    running = asyncio.create_task(bench.run(waits))

    async def begun() -> bool:
        return mark.exists()

    await eventually(begun, "the command runs")
    ssh = bench.pool._settings
    bench.pool.reload(ssh, (), bench.pool.connector(ssh, {}), None)
    with pytest.raises(SystemUnavailable, match="not served any more"):
        await bench.run("true", "bob")
    assert bench.wire.open == 1
    go.touch()
    assert await running == "done"

    async def closed() -> bool:
        return bench.wire.open == 0

    await eventually(closed, "the connection ended with its work")


async def test_what_was_being_made_as_its_system_went_ends_with_its_work(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool_module, "_SWEEP_INTERVAL", 0.05)
    await bench.pool.stop()
    bench.pool.start()
    bench.wire.stall()
    running = asyncio.create_task(bench.run("echo done"))

    async def opening() -> bool:
        return bench.wire.open == 1

    await eventually(opening, "a connection is being made")
    ssh = bench.pool._settings
    bench.pool.reload(ssh, (), bench.pool.connector(ssh, {}), None)
    bench.wire.flow()
    assert await running == "done"

    async def closed() -> bool:
        return bench.wire.open == 0 and not bench.pool._leaving

    await eventually(closed, "the connection ended with its work")


async def test_other_limits_and_addresses_hold_from_then_on(bench: Bench) -> None:
    assert await bench.run("id -un") == "alice"
    ssh, connector = bench.pool._settings, bench.pool._connector
    bench.pool.reload(ssh, (bench.system,), connector, None)
    assert await bench.run("id -un") == "alice"
    assert bench.wire.connections == 1  # nothing has changed: it serves on
    moved = replace(bench.system, address=Address("localhost", bench.wire.port))
    narrow = replace(ssh, pool=replace(ssh.pool, max_connections_per_user=1))
    bench.pool.reload(narrow, (moved,), connector, None)

    async def closed() -> bool:
        return bench.wire.open == 0

    await eventually(closed, "the connection to the former address is closed")
