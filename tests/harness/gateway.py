"""Gateway processes under test."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import yaml

from tests.harness.testbed import Testbed
from tests.harness.tokens import ISSUER, TokenMint
from tests.harness.waiting import eventually

Config = dict[str, Any]


def config_for(testbed: Testbed, mint: TokenMint, redis_db: int) -> Config:
    """A configuration for the real testbed; tests change what they are about."""
    return {
        "server": {"port": 0, "shutdown_grace": 5},
        "logging": {"level": "info"},
        "auth": {"issuers": [{"issuer": ISSUER, "public_keys": [mint.public_key]}]},
        "ssh": {"ca_key_path": str(testbed.ca_key), "known_hosts": str(testbed.known_hosts)},
        "systems": [
            {
                "name": "cluster",
                "address": f"{testbed.ssh_host}:{testbed.ssh_port}",
                "scheduler": {"type": "Slurm", "base_fs": "/home"},
            }
        ],
        "storage": {
            "default_system": "cluster",
            "polling_interval": 0.5,
            "tempurl_expiration": 3600,
            "s3": {
                "public_url": testbed.s3_url,
                "region": testbed.s3_region,
                "access_key": testbed.s3_access_key,
                "secret_key": testbed.s3_secret_key,
            },
        },
        "redis": {"host": testbed.redis_host, "port": testbed.redis_port, "db": redis_db},
        "tasks": {"lease": 3},
        "status": {"cache_ttl": 0},
    }


class Gateway:
    """One ``firecrest-server serve`` process."""

    def __init__(self, process: Process, url: str, log: Path, config: Path) -> None:
        self._process = process
        self._config = config
        self._log = log
        self.url = url

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process.returncode is None

    @property
    def log(self) -> str:
        """What it wrote so far."""
        return self._log.read_text()

    async def reload(self, config: Config) -> str:
        """Give it another configuration by SIGHUP; what it logs until it has decided."""
        before = len(self.log)
        self._config.write_text(yaml.safe_dump(config))
        self._process.send_signal(signal.SIGHUP)

        async def decided() -> str | None:
            lines = self.log[before:]
            return lines if "configuration" in lines and "reloaded" in lines else None

        return await eventually(decided, "the configuration was reloaded or refused")

    def terminate(self) -> None:
        """SIGTERM."""
        if self.running:
            self._process.terminate()

    async def stop(self) -> int:
        """SIGTERM; the exit status."""
        self.terminate()
        return await self.ended()

    async def ended(self) -> int:
        """The exit status, once it has ended."""
        async with asyncio.timeout(30):
            return await self._process.wait()

    async def kill(self) -> None:
        """SIGKILL."""
        self._process.send_signal(signal.SIGKILL)
        await self._process.wait()

    def freeze(self) -> None:
        """It stands still, as on a machine that swaps; its connections stay."""
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Undo :meth:`freeze`."""
        self._process.send_signal(signal.SIGCONT)


@asynccontextmanager
async def running_gateway(config: Config, directory: Path) -> AsyncIterator[Gateway]:
    """Start a gateway, wait until it listens, and stop it at the end."""
    directory.mkdir(parents=True, exist_ok=True)
    number = len(list(directory.glob("gateway*.log")))
    file, log = directory / f"config{number}.yaml", directory / f"gateway{number}.log"
    file.write_text(yaml.safe_dump(config))
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "firecrest", "serve", "--config", str(file)),
            stdin=DEVNULL,
            stdout=output,
            stderr=output,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
    try:
        url = await eventually(lambda: _listening(process, log), "the gateway listens", limit=30)
        gateway = Gateway(process, url, log, file)
        yield gateway
    finally:
        if process.returncode is None:
            process.terminate()
            try:
                async with asyncio.timeout(30):
                    await process.wait()
            except TimeoutError:
                process.kill()
                await process.wait()


async def _listening(process: Process, log: Path) -> str | None:
    if process.returncode is not None:
        raise AssertionError(f"the gateway ended:\n{log.read_text()}")
    for line in log.read_text().splitlines():
        if "Running on " in line:
            return line.partition("Running on ")[2].split()[0]
    return None
