"""The list of what is revoked: what its lines mean, and that no mistake brings anything back."""

from __future__ import annotations

import logging
import math
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from firecrest.auth.revocation import RevocationList, parsed
from firecrest.errors import ConfigError
from firecrest.model.principal import Principal
from tests.harness.waiting import eventually

NOON = 1_795_694_400.0  # 2026-11-26T12:00:00Z


def principal(
    user: str = "alice", client: str = "web", issued: float = NOON, **marks: str
) -> Principal:
    return Principal(user, "https://issuer", client, NOON + 60, issued, tuple(marks.items()))


def holds(text: str, whom: Principal, directory: Path) -> bool:
    path = directory / "revoked"
    path.write_text(text)
    return RevocationList(path, 1).holds(whom)


@pytest.mark.parametrize(
    ("text", "revoked"),
    [
        ("", False),
        ("# jti one\n\n", False),
        ("jti one", True),
        ("  jti\tone  # the laptop\r\n", True),
        ("sid s", True),
        ("sub alice-id", True),
        ("client web", True),
        ("user alice", True),
        ("jti One", False),
        ("jti on", False),
        ("sub one", False),  # a jti is no sub
        ("user alice-id", False),
        ("sub alice-id before 2026-11-26T12:00:00Z", False),  # issued at that moment
        ("sub alice-id before 2026-11-26T12:00:01Z", True),
        ("sub alice-id before 2026-11-26T13:00:01+01:00", True),
        ("sub alice-id before 2026-11-26T12:00:01", True),  # UTC, unless it says otherwise
        ("user alice before 2026-11-26", False),
        # the latest of several counts
        ("user alice before 2026-11-27\nuser alice before 2026-11-26", True),
        ("user alice\nuser alice before 2026-11-26", True),
    ],
)
def test_an_entry(text: str, revoked: bool, tmp_path: Path) -> None:
    whom = principal(jti="one", sid="s", sub="alice-id")
    assert holds(text, whom, tmp_path) is revoked


def test_a_token_that_does_not_tell_its_age_counts_as_old(tmp_path: Path) -> None:
    assert holds("user alice before 2026-11-26", principal(issued=0), tmp_path)


def test_only_those_shut_out_for_good_are_denied(tmp_path: Path) -> None:
    path = tmp_path / "revoked"
    path.write_text("user mallory\nuser alice before 2026-11-26\nsub bob")
    assert RevocationList(path, 1).users == {"mallory"}


def test_without_a_file_nothing_is_revoked() -> None:
    nothing = RevocationList(None, 1)
    assert not nothing.holds(principal())
    assert nothing.users == frozenset()


@pytest.mark.parametrize(
    "line",
    [
        "one",
        "jti",
        "JTI one",
        "token one",
        "jti one two",
        "jti one before",
        "jti one before noon",
        "jti one after 2026-11-26",
        "jti one before 2026-11-26 12:00:00",
        "user \xff\xfe two",
    ],
)
def test_what_is_no_entry_is_named_by_its_line_and_never_shown(line: str, tmp_path: Path) -> None:
    path = tmp_path / "revoked"
    path.write_text(f"# a list\n{line}\n")
    with pytest.raises(ConfigError) as caught:
        RevocationList(path, 1)
    (problem,) = caught.value.problems
    assert problem.startswith(f"auth.revoked_file: {path}:2: not an entry like: jti ID")


def test_a_file_of_something_else_is_not_complained_of_line_by_line() -> None:
    entries, wrong = parsed(b"nonsense\n" * 1000)
    assert not entries
    assert len(wrong) == 11
    assert wrong[-1] == " and 990 lines more"


def test_a_list_that_is_not_there_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        RevocationList(tmp_path / "missing", 1)
    with pytest.raises(ConfigError, match="Is a directory"):
        RevocationList(tmp_path, 1)


class Watched:
    """A list that is looked at all the time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.changes = 0
        self.list = RevocationList(path, 0.01)

    def changed(self) -> None:
        self.changes += 1

    async def write(self, text: str) -> None:
        """Replace it, and wait until that is heeded."""
        before = self.changes
        new = self.path.with_suffix(".new")
        new.write_text(text)
        new.rename(self.path)
        await self.until(lambda: self.changes > before)

    async def until(self, condition: Callable[[], bool]) -> None:
        async def look() -> bool:
            return condition()

        await eventually(look, "the list is heeded")


@pytest.fixture
async def watched(tmp_path: Path) -> AsyncIterator[Watched]:
    path = tmp_path / "revoked"
    path.write_text("user mallory\n")
    made = Watched(path)
    made.list.start(made.changed)
    yield made
    await made.list.stop()


async def test_entries_come_and_go(watched: Watched) -> None:
    alice, mallory = principal(jti="one"), principal("mallory")
    assert (watched.list.holds(alice), watched.list.holds(mallory)) == (False, True)
    await watched.write("jti one\n")
    assert (watched.list.holds(alice), watched.list.holds(mallory)) == (True, False)


async def test_a_mistake_brings_nothing_back_and_keeps_nothing_out(
    watched: Watched, caplog: pytest.LogCaptureFixture
) -> None:
    await watched.write("user mallroy before\njti one\n")
    assert watched.list.holds(principal("mallory"))
    assert watched.list.holds(principal(jti="one"))
    assert f"{watched.path}:1: not an entry" in caplog.text
    assert "mallroy" not in caplog.text
    await watched.write("jti two\n")
    assert not watched.list.holds(principal("mallory"))


@pytest.mark.parametrize("how", ["removed", "a directory", "huge"])
async def test_a_list_that_cannot_be_read_stays_in_force_and_is_told_once(
    watched: Watched,
    how: str,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looks = 0
    real = Path.open

    def opened(self: Path, *args: object, **options: object) -> object:
        nonlocal looks
        looks += 1
        return real(self, *args, **options)  # type: ignore[call-overload]

    monkeypatch.setattr(Path, "open", opened)
    watched.path.unlink()
    if how == "a directory":
        watched.path.mkdir()
    if how == "huge":
        monkeypatch.setattr("firecrest.auth.revocation._MAX_BYTES", 5)
        watched.path.write_text("user eve\n")
    before = looks
    await watched.until(lambda: looks > before + 3)
    assert watched.list.holds(principal("mallory"))
    assert not watched.list.holds(principal("eve"))
    errors = [r for r in caplog.records if r.levelno == logging.ERROR]
    assert len(errors) == 1
    assert "what was revoked stays so" in errors[0].getMessage()
    monkeypatch.undo()
    if how == "a directory":
        watched.path.rmdir()
    await watched.write("user alice\n")
    assert watched.list.holds(principal("alice"))


def test_infinity_is_for_ever() -> None:
    entries, _ = parsed(b"user alice")
    assert entries == {("user", "alice"): math.inf}
