"""Modes as ``chmod`` of coreutils takes and tells them (Contract: rest-v1 §6.5)."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from firecrest.commands.base import line
from firecrest.commands.files import ChangeMode
from firecrest.model.permissions import changed, told
from tests.unit.test_commands import SHELLS, shell

changes = st.builds(
    str.__add__, st.sampled_from("+-="), st.text(st.sampled_from("rwxX"), max_size=4)
)
clauses = st.builds(
    str.__add__,
    st.text(st.sampled_from("ugoa"), min_size=1, max_size=3),
    st.lists(changes, min_size=1, max_size=3).map("".join),
)
modes = st.lists(clauses, min_size=1, max_size=3).map(",".join) | st.integers(0, 0o777).map(
    lambda number: f"{number:o}"
)


@given(mode=modes, before=st.integers(0, 0o777), directory=st.booleans())
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_it_is_what_chmod_does_and_says(
    tmp_path: Path, mode: str, before: int, directory: bool
) -> None:
    path = tmp_path / ("directory $x" if directory else "file !")
    if not path.exists():
        path.mkdir() if directory else path.touch()
    path.chmod(before)
    command = ChangeMode(str(path), mode)
    said = command.result(shell(SHELLS[0], line(command, 5)))
    after = changed(mode, before, directory=directory)
    assert after == stat.S_IMODE(path.stat().st_mode)
    assert after is not None
    assert told(str(path), before, after) == said


@pytest.mark.parametrize("mode", ["+x", "=", "-w,u+r", "u+s", "g=s", "a+t", "1777", "2755", "4000"])
def test_what_depends_on_more_is_not_guessed(mode: str) -> None:
    assert changed(mode, 0o644, directory=False) is None


@pytest.mark.parametrize("special", [0o1000, 0o2000, 0o4000])
def test_neither_are_special_bits_that_are_there(special: int) -> None:
    assert changed("755", 0o644 | special, directory=True) is None


@pytest.mark.parametrize("path", ["it's", "ünï", "a\u200bb", "tab\t", "a\nb", "\x7f"])
def test_a_path_that_may_be_quoted_otherwise_is_left_to_chmod(path: str) -> None:
    assert told(path, 0o644, 0o600) is None
