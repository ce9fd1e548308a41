"""Running one command over a pooled connection: to its end, or talking to it meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import TypeVar

import asyncssh
from msgspec import Struct

from firecrest.commands.base import Completed
from firecrest.config.settings import System
from firecrest.errors import TIMED_OUT, CommandFailed, Fault, SystemUnavailable
from firecrest.ssh.connecting import translate
from firecrest.ssh.link import Link
from firecrest.ssh.pool import Pool
from firecrest.ssh.shell import Budget

T = TypeVar("T")

_CHUNK = 1 << 16
_MOST_WORDS = 1 << 16
#: Seconds between attempts to begin: the connection may have been lost, or sshd still counts
#: commands that have ended.
_PAUSES = (0.0, 0.05, 0.25, None)


class Small(Struct, frozen=True):
    """A command that a shell may run which is there already; it reads nothing.

    :param line: without a limit, for the shell has one
    :param seconds: its limit
    """

    line: str
    seconds: float


async def exchange(
    pool: Pool,
    user: str,
    system: System,
    command_line: str,
    *,
    stdin: bytes,
    environment: Mapping[str, str],
    limit: int,
    seconds: float | None,
    small: Small | None = None,
) -> Completed:
    """Run a command line to its end.

    :param environment: session variables to ask for; sshd may ignore them
    :param limit: bytes of stdout and stderr together; more aborts the command
    :param seconds: how long it may take once there is a channel; None: as long as it likes
    :param small: the same for a shell, if one may run it
    :raises SystemUnavailable, AccessDenied: no connection, or it was cut meanwhile
    :raises CommandFailed: ``OUTPUT_LIMIT``, ``TIMEOUT``
    """
    for pause in _PAUSES:
        async with pool.channel(user, system, line=command_line, long=seconds is None) as link:
            try:
                async with asyncio.timeout(seconds):
                    if small is not None:
                        async with link.shell(environment, small.seconds) as shell:
                            if shell is not None:
                                words = _encoded(small.line)
                                return await shell.run(words, limit=limit, seconds=small.seconds)
                    process = await _started(link, command_line, environment)
                    return await _collect(process, stdin, limit)
            except TimeoutError as error:
                link.retire()
                raise CommandFailed(Fault.TIMEOUT, TIMED_OUT) from error
            except (asyncssh.Error, OSError) as error:
                await _tried(link, error, pause)
    raise AssertionError("unreachable")


class Running:
    """A command that runs, talked to in steps that each have a time limit.

    Methods raise ``SystemUnavailable``, and ``CommandFailed`` with ``TIMEOUT``.
    """

    def __init__(
        self, process: asyncssh.SSHClientProcess[bytes], link: Link, seconds: float
    ) -> None:
        self._process = process
        self._link = link
        self._seconds = seconds

    async def read(self) -> bytes:
        """What it has printed since; empty at the end."""
        return await self._step(self._process.stdout.read(_CHUNK))

    async def write(self, data: bytes) -> bool:
        """Feed it; whether it still takes anything."""
        return await self._step(self._send(data))

    async def end(self) -> Completed:
        """Tell it that there is no more, and wait for its end; stdout is not kept."""
        with suppress(BrokenPipeError):
            self._process.stdin.write_eof()
        said = await self._step(self._process.stderr.read(_MOST_WORDS))
        await self._step(self._process.wait_closed())
        if self._process.returncode is None:
            raise SystemUnavailable("connection lost while a command ran")
        return Completed(self._process.returncode, b"", said)

    async def _send(self, data: bytes) -> bool:
        try:
            self._process.stdin.write(data)
            await self._process.stdin.drain()
        except BrokenPipeError:
            return False
        return True

    async def _step(self, work: Awaitable[T]) -> T:
        try:
            async with asyncio.timeout(self._seconds):
                return await work
        except TimeoutError as error:
            self._link.retire()
            raise CommandFailed(Fault.TIMEOUT, TIMED_OUT) from error
        except (asyncssh.Error, OSError) as error:
            raise translate(error) from error


@asynccontextmanager
async def running(
    pool: Pool,
    user: str,
    system: System,
    command_line: str,
    *,
    environment: Mapping[str, str],
    seconds: float,
) -> AsyncIterator[Running]:
    """A command line, while the context lasts; what has not ended by then is ended.

    :param environment: as of :func:`exchange`
    :param seconds: how long each step may take
    :raises SystemUnavailable, AccessDenied: no connection, or it was cut meanwhile
    """
    async with AsyncExitStack() as stack:
        process, link = await _begun(stack, pool, user, system, command_line, environment, seconds)
        try:
            yield Running(process, link, seconds)
        finally:
            _abandon(process)


async def _begun(
    stack: AsyncExitStack,
    pool: Pool,
    user: str,
    system: System,
    command_line: str,
    environment: Mapping[str, str],
    seconds: float,
) -> tuple[asyncssh.SSHClientProcess[bytes], Link]:
    """A process and its connection, whose channel is given back with the stack."""
    for pause in _PAUSES:
        async with AsyncExitStack() as attempt:
            channel = pool.channel(user, system, line=command_line)
            link = await attempt.enter_async_context(channel)
            try:
                async with asyncio.timeout(seconds):
                    process = await _started(link, command_line, environment)
            except TimeoutError as error:
                link.retire()
                raise CommandFailed(Fault.TIMEOUT, TIMED_OUT) from error
            except (asyncssh.Error, OSError) as error:
                await _tried(link, error, pause)
                continue
            stack.push_async_exit(attempt.pop_all())
            return process, link
    raise AssertionError("unreachable")


async def _started(
    link: Link, command_line: str, environment: Mapping[str, str]
) -> asyncssh.SSHClientProcess[bytes]:
    """Start it.

    :raises asyncssh.Error: there is no channel, or it was closed as soon as it was made
    """
    line = _encoded(link.spoken or command_line)
    try:
        begun = link.connection.create_process(line, env=dict(environment), encoding=None)
        return await link.opened(begun, _abandon)
    except AttributeError as error:
        # asyncssh does not expect a channel to be closed in the same breath as it is opened;
        # the command may have run
        code, reason = asyncssh.OPEN_REQUEST_SESSION_FAILED, "closed as soon as it was opened"
        raise asyncssh.ChannelOpenError(code, reason) from error


def _encoded(line: str) -> bytes:
    return line.encode("utf-8", "surrogateescape")  # a path may hold bytes that are not UTF-8


async def _tried(link: Link, error: Exception, pause: float | None) -> None:
    """Wait before another attempt, if there may be one.

    :param pause: seconds, None if this was the last
    :raises SystemUnavailable, AccessDenied: there may be none
    """
    if not _surely_not_begun(error):
        raise translate(error) from error
    if pause is None:
        link.retire()  # others shall have another connection
        raise translate(error) from error
    await asyncio.sleep(pause)


def _surely_not_begun(error: Exception) -> bool:
    """Whether there was not even a channel on which the command could have been sent."""
    return (
        isinstance(error, asyncssh.ChannelOpenError)
        and error.code != asyncssh.OPEN_REQUEST_SESSION_FAILED
    )


def _abandon(process: asyncssh.SSHClientProcess[bytes]) -> None:
    """End what is not wanted any more, and its channel."""
    with suppress(OSError):  # it has ended
        process.terminate()
    process.close()


async def _collect(
    process: asyncssh.SSHClientProcess[bytes], stdin: bytes, limit: int
) -> Completed:
    budget = Budget(limit)
    try:
        _, stdout, stderr = await asyncio.gather(
            _feed(process.stdin, stdin),
            _read(process.stdout, budget),
            _read(process.stderr, budget),
        )
        await process.wait_closed()
    except (asyncssh.Error, OSError) as error:
        raise translate(error) from error
    except BaseException:
        # without a terminal OpenSSH does not end a command when its channel closes
        process.terminate()
        raise
    finally:
        process.close()
    status = process.returncode
    if status is None:
        raise SystemUnavailable("connection lost while a command ran")
    return Completed(status, stdout, stderr)


async def _feed(writer: asyncssh.SSHWriter[bytes], data: bytes) -> None:
    try:
        if data:
            writer.write(data)
            await writer.drain()
        writer.write_eof()
    except (BrokenPipeError, ConnectionError):
        pass  # the command ended without reading everything; its status tells why


async def _read(reader: asyncssh.SSHReader[bytes], budget: Budget) -> bytes:
    parts = []
    while part := await reader.read(_CHUNK):
        budget.take(part)
        parts.append(part)
    return b"".join(parts)
