"""Listing by SFTP and by commands: the same entries."""

from __future__ import annotations

import os
import secrets
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from firecrest.commands.listing import Ls, LsNames
from firecrest.config.values import Address
from tests.harness.sshd import ssh_server
from tests.harness.testbed import Testbed
from tests.parts.both_ways.ways import Ways, both
from tests.parts.watching import settings_for

names = (
    st.binary(min_size=1, max_size=40)
    .map(lambda raw: raw.replace(b"/", b"_"))
    .filter(lambda raw: b"\0" not in raw and raw not in {b".", b".."})
)
kinds = st.sampled_from(["file", "directory", "link", "pipe"])


@given(
    tree=st.dictionaries(
        names, st.tuples(kinds, st.integers(0, 0o7777), st.integers(-(2**31), 2**33))
    ),
    hidden=st.booleans(),
    numeric=st.booleans(),
)
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_listings_of_any_tree(
    ways: Ways,
    workdir: Path,
    tree: dict[bytes, tuple[str, int, int]],
    hidden: bool,
    numeric: bool,
) -> None:
    root = os.fsencode(workdir) + b"/" + secrets.token_hex(8).encode()
    Path(os.fsdecode(root)).mkdir(mode=0o755)
    for name, (kind, mode, moment) in tree.items():
        path = Path(os.fsdecode(root + b"/" + name))
        if kind == "link":
            path.symlink_to(os.fsdecode(name * 2))
            continue
        if kind == "directory":
            path.mkdir()
        elif kind == "pipe":
            os.mkfifo(path)
        else:
            path.touch()
        os.utime(path, (moment, moment))
        path.chmod(mode)
    listing = Ls(path=os.fsdecode(root), hidden=hidden, numeric_ids=numeric)
    expected = await ways.exec.run(listing)
    bare = LsNames(path=listing.path, hidden=hidden)
    for _ in range(2):  # the first one by a command that learns
        assert await ways.sftp.run(listing) == expected
    for machine in ways:
        assert await machine.run(bare) == [entry.name for entry in expected]


MOMENTS = [0, 1_704_110_400, 1_711_846_799, 1_711_846_800, 1_719_835_200, 1_729_990_800, 2**31 - 1]


@pytest.mark.parametrize("zone", ["Europe/Berlin", "Asia/Kathmandu", "America/St_Johns"])
async def test_times_are_those_of_the_machine(
    testbed: Testbed, workdir: Path, tmp_path: Path, zone: str
) -> None:
    for moment in MOMENTS:
        path = workdir / f"{moment:010}"
        path.touch()
        os.utime(path, (moment, moment))
    expected = [
        datetime.fromtimestamp(moment, ZoneInfo(zone)).isoformat()[:19] for moment in MOMENTS
    ]
    known_hosts = tmp_path / "known_hosts"
    async with ssh_server(tmp_path, testbed.ca_key, tmp_path, zone=zone) as sshd:
        known_hosts.write_text(sshd.known_as())
        address = Address("127.0.0.1", sshd.port)
        async with both(settings_for(testbed, address=address, known_hosts=known_hosts)) as ways:
            for machine in ways:
                for _ in range(3):
                    rows = await machine.run(Ls(path=str(workdir)))
                    assert [entry.last_modified for entry in rows] == expected
