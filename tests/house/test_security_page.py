"""SECURITY.md names tests; they are there."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "SECURITY.md").read_text()
NAMED = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", PAGE)


def test_each_weakness_of_v1_has_a_test() -> None:
    rows = re.findall(r"^\| S(\d+) \|.*$", PAGE, re.MULTILINE)
    assert rows == [str(number) for number in range(1, 17)]
    for row in re.findall(r"^\| S\d+ \|.*$", PAGE, re.MULTILINE):
        assert "`tests/" in row, row


def test_the_tests_it_names_exist() -> None:
    assert NAMED
    for file, name in NAMED:
        source = (ROOT / file).read_text()
        assert not name or re.search(rf"^(?:async )?(?:def|class) {name}\b", source, re.MULTILINE)
