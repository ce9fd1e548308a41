"""The demo's object store, for tests that must hold on it as on the testbed's."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

from scripts.embedded.swift import REGION
from tests.harness.daemons import Daemon, free_port
from tests.harness.gateway import Config
from tests.harness.testbed import Testbed

_ACCESS_KEY, _SECRET_KEY = "tests:tester", "known-to-tests"


@asynccontextmanager
async def embedded_store(directory: Path, testbed: Testbed) -> AsyncIterator[Testbed]:
    """The testbed with this store in place of its own."""
    port = free_port()
    argv = ["env", f"S3_ACCESS_KEY={_ACCESS_KEY}", f"S3_SECRET_KEY={_SECRET_KEY}"]
    argv += [sys.executable, "-m", "scripts.embedded.swift"]
    argv += ["--port", str(port), "--dir", str(directory / "files")]
    store = Daemon(argv, port, directory / "store.log")
    await store.start()
    try:
        yield replace(
            testbed,
            s3_url=f"http://127.0.0.1:{port}",
            s3_access_key=_ACCESS_KEY,
            s3_secret_key=_SECRET_KEY,
            s3_region=REGION,
        )
    finally:
        await store.stop()


def stored_in(config: Config, testbed: Testbed) -> Config:
    """Change a configuration so that objects are kept in that testbed's store."""
    config["storage"]["s3"] = {
        "public_url": testbed.s3_url,
        "region": testbed.s3_region,
        "access_key": testbed.s3_access_key,
        "secret_key": testbed.s3_secret_key,
    }
    return config
