"""Running one command over a pooled connection."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import asyncssh

from firecrest.commands.base import Completed
from firecrest.config.settings import System
from firecrest.errors import TIMED_OUT, CommandFailed, Fault, SystemUnavailable
from firecrest.ssh.pool import Pool, translate

_CHUNK = 1 << 16


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
) -> Completed:
    """Run a command line to its end.

    :param environment: session variables to ask for; sshd may ignore them
    :param limit: bytes of stdout and stderr together; more aborts the command
    :param seconds: how long it may take once there is a channel; None: as long as it likes
    :raises SystemUnavailable, AccessDenied: no connection, or it was cut meanwhile
    :raises CommandFailed: ``OUTPUT_LIMIT``, ``TIMEOUT``
    """
    for last in (False, True):
        async with pool.channel(user, system, long=seconds is None) as link:
            try:
                async with asyncio.timeout(seconds):
                    process = await link.connection.create_process(
                        command_line, env=dict(environment), encoding=None
                    )
                    return await _collect(process, stdin, limit)
            except TimeoutError as error:
                link.retire()
                raise CommandFailed(Fault.TIMEOUT, TIMED_OUT) from error
            except (asyncssh.Error, OSError) as error:
                if last or not _surely_not_begun(error):
                    raise translate(error) from error
    raise AssertionError("unreachable")


def _surely_not_begun(error: Exception) -> bool:
    """Whether there was not even a channel on which the command could have been sent."""
    return (
        isinstance(error, asyncssh.ChannelOpenError)
        and error.code != asyncssh.OPEN_REQUEST_SESSION_FAILED
    )


async def _collect(
    process: asyncssh.SSHClientProcess[bytes], stdin: bytes, limit: int
) -> Completed:
    budget = [limit]
    try:
        _, stdout, stderr = await asyncio.gather(
            _feed(process.stdin, stdin),
            _read(process.stdout, budget, limit),
            _read(process.stderr, budget, limit),
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


async def _read(reader: asyncssh.SSHReader[bytes], budget: list[int], limit: int) -> bytes:
    parts = []
    while part := await reader.read(_CHUNK):
        budget[0] -= len(part)
        if budget[0] < 0:
            raise CommandFailed(
                Fault.OUTPUT_LIMIT, f"Command output exceeded buffer limit ({limit})"
            )
        parts.append(part)
    return b"".join(parts)
