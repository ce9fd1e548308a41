"""The real cluster, Redis and object store that `scripts/testbed/up` brought up."""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from redis import asyncio as aioredis

_REDIS_DATABASES = 64


@dataclass(frozen=True)
class Testbed:
    """Where the real parts are."""

    __test__ = False

    ssh_host: str
    ssh_port: int
    ca_key: Path
    known_hosts: Path
    redis_host: str
    redis_port: int
    s3_url: str
    s3_access_key: str
    s3_secret_key: str
    s3_region: str
    reservation_tool: Path

    @classmethod
    def from_environment(cls) -> Testbed:
        """:raises RuntimeError: it is not up; the tests must not pass by skipping"""
        env = os.environ
        if "TESTBED_SSH_PORT" not in env:
            raise RuntimeError("the testbed is not up: run the tests by scripts/test")
        return cls(
            ssh_host=env["TESTBED_SSH_HOST"],
            ssh_port=int(env["TESTBED_SSH_PORT"]),
            ca_key=Path(env["TESTBED_SSH_CA"]),
            known_hosts=Path(env["TESTBED_KNOWN_HOSTS"]),
            redis_host=env["TESTBED_REDIS_HOST"],
            redis_port=int(env["TESTBED_REDIS_PORT"]),
            s3_url=env["TESTBED_S3_URL"],
            s3_access_key=env["TESTBED_S3_ACCESS_KEY"],
            s3_secret_key=env["TESTBED_S3_SECRET_KEY"],
            s3_region=env["TESTBED_S3_REGION"],
            reservation_tool=Path(env["TESTBED_RESERVATION_TOOL"]),
        )


@asynccontextmanager
async def emptied_database(testbed: Testbed) -> AsyncIterator[int]:
    """The number of a Redis database that nobody else uses, in any test session."""
    with _claimed_database() as number:
        redis = aioredis.Redis(host=testbed.redis_host, port=testbed.redis_port, db=number)
        await redis.flushdb()
        await redis.aclose()
        yield number


@contextmanager
def _claimed_database() -> Iterator[int]:
    for number in range(1, _REDIS_DATABASES):
        with Path(tempfile.gettempdir(), f"firecrest-test-redis-{number}").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            yield number
            return
    raise RuntimeError("every Redis database is in use by a test session")
