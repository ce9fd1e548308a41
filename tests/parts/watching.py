"""What tests of watching stand on: settings, and machines with a batch system of their choice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from firecrest.config.services import S3, Events, JobInterval, Storage, Tasks
from firecrest.config.settings import Auth, Scheduler, Settings, Ssh, System
from firecrest.config.values import Address, Secret
from firecrest.machines import Machines
from firecrest.scheduler.slurm import Slurm
from firecrest.ssh.delegations import own_keys
from firecrest.ssh.pool import Pool
from firecrest.turns import Turns
from tests.harness.testbed import Testbed
from tests.parts.scripted import ScriptedScheduler

SHORTEST = 0.05
#: Far more than a test lasts: what happens in time did not wait for it.
NEVER = 300.0


def settings_for(
    testbed: Testbed,
    *,
    lease: float = 3.0,
    address: Address | None = None,
    known_hosts: Path | None = None,
    **events: Any,
) -> Settings:
    """``cluster`` is asked by each user, ``open`` by one account for all.

    :param address: of the SSH server, and its keys in ``known_hosts``; default: the testbed's
    :param events: settings of the section
    """
    address = address or Address(testbed.ssh_host, testbed.ssh_port)
    base = Path("/home")
    intervals = events.pop("job_interval", JobInterval(shortest=SHORTEST, longest=0.2))
    return Settings(
        auth=Auth(issuers=()),
        ssh=Ssh(
            ca_key_path=testbed.ca_key,
            known_hosts=known_hosts or testbed.known_hosts,
            connect_timeout=3.0,
        ),
        systems=(
            System(name="cluster", address=address, scheduler=Scheduler(base_fs=base)),
            System(
                name="open",
                address=address,
                scheduler=Scheduler(base_fs=base, watch_account="seer"),
            ),
        ),
        storage=Storage(
            s3=S3(public_url="http://x", access_key=Secret("x"), secret_key=Secret("x"))
        ),
        tasks=Tasks(lease=lease),
        events=Events(job_interval=intervals, **{"job_grace": NEVER, **events}),
    )


def machines_for(settings: Settings, scheduler: ScriptedScheduler | Slurm) -> tuple[Pool, Machines]:
    """The machines of the settings, all with this batch system."""
    pool = Pool(settings.ssh, own_keys(settings))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("firecrest.machines.resolve", lambda _: scheduler)
        return pool, Machines(pool, settings, Turns())
