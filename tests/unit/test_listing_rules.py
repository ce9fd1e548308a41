"""What a listing by command tells of a directory (Contract: rest-v1 §6.1)."""

from __future__ import annotations

import struct
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from asyncssh import SFTPAttrs, SFTPName

from firecrest.commands.listing import Ls, without_dots
from firecrest.config.settings import Scheduler, Ssh, System
from firecrest.config.values import Address
from firecrest.errors import CommandFailed, Fault
from firecrest.model.files import Entry
from firecrest.ssh.listing import SMALL, Directories, RemoteListings
from firecrest.ssh.pool import Pool
from firecrest.turns import at_once

BERLIN = Path("/usr/share/zoneinfo/Europe/Berlin")
#: Seconds since 1970 at which the impossible rules begin.
TURN = 1_800_000_000
SUMMER, WINTER = "2024-07-01T12:00:00+0200", "2024-01-01T12:00:00+0100"


class Zoned(RemoteListings):
    """Listings of a machine whose zone is known without asking it, and its one file.

    :ivar modified: when that was changed, seconds since 1970
    """

    def __init__(self, tmp_path: Path, rules: bytes | None) -> None:
        (tmp_path / "known_hosts").touch()
        ssh = Ssh(ca_key_path=tmp_path / "ca", known_hosts=tmp_path / "known_hosts")
        system = System(
            name="cluster",
            address=Address("127.0.0.1", 1),
            scheduler=Scheduler(base_fs=tmp_path),
        )
        super().__init__(Pool(ssh, {}), "alice", system, 1.0)
        self._rules = rules
        self.modified = TURN

    async def read(self, path: str, offset: int, size: int) -> bytes:
        if self._rules is None:
            raise CommandFailed(Fault.INVALID_PATH, "none", path)
        return self._rules

    async def _read(self, *_: object, **__: object) -> tuple[list[SFTPName], list[bytes]]:
        """One file."""
        longname = b"-rw-r--r--    1 alice    users    1 Jan 15 08:00 file"
        attributes = SFTPAttrs(permissions=0o100644, uid=1, gid=1, size=1, mtime=self.modified)
        return [SFTPName(b"file", longname, attributes)], [b""]


def rules(hours: int) -> bytes:
    """A zone that is universal time until :data:`TURN`, and then so many hours before it."""
    head = b"TZif2" + bytes(15) + struct.pack(">6l", 0, 0, 0, 1, 2, 8)
    kinds = b"".join(struct.pack(">lbb", 3600 * h, 0, 4 * (h != 0)) for h in (0, hours))
    body = struct.pack(">qb", TURN, 1) + kinds + b"UTC\0ODD\0"
    first = b"TZif2" + bytes(15) + struct.pack(">6l", 0, 0, 0, 0, 1, 4) + bytes(6) + b"UTC\0"
    return first + head + body + b"\n\n"


def entry(name: str, modified: str, mark: str = "") -> Entry:
    kind = "d" if name in {".", ".."} else "-"
    return Entry(name, kind, f"rwxr-xr-x{mark}", "alice", "users", 1, modified, "")


def printed(*times: str, mark: str = "") -> list[Entry]:
    files = [entry(f"file{number}", moment, mark) for number, moment in enumerate(times)]
    return [entry(".", times[0], mark), entry("..", times[0], "+"), *files]


@pytest.mark.skipif(not BERLIN.exists(), reason="no time zones")
async def test_a_zone_that_explains_every_time_is_taken(tmp_path: Path) -> None:
    listings = Zoned(tmp_path, BERLIN.read_bytes())
    found = await listings.learn(printed(SUMMER, WINTER), None)
    assert found is not None
    moment = datetime(2024, 8, 1, 10, tzinfo=UTC)
    assert moment.astimezone(found.zone).hour == 12
    # one that is known and does not explain them any more is read anew
    found = await listings.learn(printed(SUMMER, WINTER), UTC)
    assert found is not None
    assert found.zone is not UTC


@pytest.mark.skipif(not BERLIN.exists(), reason="no time zones")
@pytest.mark.parametrize(
    "times",
    [
        ["2024-07-01T12:00:00+0100"],
        [SUMMER, "2024-01-01T12:00:00+0200"],
        ["2106-02-07T07:28:16+0100"],
        ["1969-12-31T00:00:00+0100"],
        ["12024-07-01T12:00:00+0200"],
    ],
)
async def test_a_time_that_it_does_not_explain_leaves_it_to_commands(
    tmp_path: Path, times: list[str]
) -> None:
    assert await Zoned(tmp_path, BERLIN.read_bytes()).learn(printed(*times), None) is None


@pytest.mark.parametrize(
    "content", [None, b"nothing like it", b"TZif2", rules(1)[:-30]], ids=range(4)
)
async def test_a_machine_without_a_zone_has_universal_time(
    tmp_path: Path, content: bytes | None
) -> None:
    found = await Zoned(tmp_path, content).learn(printed("2024-07-01T12:00:00+0000"), None)
    assert found is not None
    assert found.zone is UTC


async def test_impossible_rules_explain_nothing(tmp_path: Path) -> None:
    listings = Zoned(tmp_path, rules(25))
    before, after = "2024-07-01T12:00:00+0000", "2027-07-01T12:00:00+0000"
    assert await listings.learn(printed(before, after), None) is None
    # where they are impossible for what is there later only, a command tells
    directory = await listings.learn(printed(before), None)
    assert directory is not None
    assert await listings.entries(Ls(path="/dir"), directory) is None
    listings.modified = TURN - 1
    found = await listings.entries(Ls(path="/dir"), directory)
    assert found is not None
    assert found[0].last_modified == "2027-01-15T07:59:59"


async def test_marks_are_taken_only_if_they_are_all_the_same(tmp_path: Path) -> None:
    listings = Zoned(tmp_path, None)
    rows = printed("2024-07-01T12:00:00+0000", mark=".")
    found = await listings.learn(rows, None)
    assert found is not None
    assert (found.mark, found.permissions) == (".", "rwxr-xr-x")
    for odd in ("+", ""):
        added = [*rows, entry("odd", "2024-07-01T12:00:00+0000", odd)]
        assert await listings.learn(added, None) is None
    assert await listings.learn(printed("2024-07-01T12:00:00+0000", mark="+"), None) is None


async def test_files_and_large_directories_are_left_to_commands(tmp_path: Path) -> None:
    listings = Zoned(tmp_path, None)
    now = "2024-07-01T12:00:00+0000"
    assert await listings.learn([entry("/home/alice/file", now)], None) is None
    assert await listings.learn(printed(*[now] * SMALL), None) is not None
    assert await listings.learn(printed(*[now] * (SMALL + 1)), None) is None


def test_what_is_known_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("firecrest.ssh.listing.time.monotonic", lambda: now)
    known = Directories()
    known.keep(None, "alice", "cluster", "/home")
    assert known.knows("alice", "cluster", "/home")
    assert not known.knows("bob", "cluster", "/home")
    now += 31
    assert not known.knows("alice", "cluster", "/home")
    for number in range(10_001):
        known.keep(None, "alice", "cluster", str(number))
    assert not known.knows("alice", "cluster", "0")
    assert known.knows("alice", "cluster", "1")


def test_what_one_user_is_told_of_the_time_is_not_told_to_another() -> None:
    known = Directories()
    odd = timezone(timedelta(hours=5))
    known.keep_zone(odd, "mallory", "cluster")
    assert known.zone("mallory", "cluster") is odd
    assert known.zone("alice", "cluster") is None
    assert known.zone("mallory", "other") is None
    for number in range(1000):
        known.keep_zone(UTC, str(number), "cluster")
    assert known.zone("mallory", "cluster") is None
    assert known.zone("0", "cluster") is UTC


def test_a_listing_without_dots_has_the_times_of_one() -> None:
    rows = [*printed(SUMMER), entry(".hidden", SUMMER)]
    plain = at_once(without_dots(rows, hidden=False))
    assert [(row.name, row.last_modified) for row in plain] == [("file0", SUMMER[:19])]
    assert [row.name for row in at_once(without_dots(rows, hidden=True))] == ["file0", ".hidden"]
    alone = at_once(without_dots([entry(".hidden", SUMMER)], hidden=False))
    assert [row.name for row in alone] == [".hidden"]


def test_offsets_and_dots_are_asked_for() -> None:
    argv = Ls(path="-x", dots=True, offsets=True).argv()
    assert "--time-style=+%Y-%m-%dT%H:%M:%S%z" in argv
    assert argv[-3:] == ("-a", "--", "-x")
    assert "-a" not in Ls(path="-x").argv()
