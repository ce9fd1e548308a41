"""What the operators' documentation names exists: files, settings, commands, messages."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from firecrest.cli import main
from firecrest.config.from_v1 import declared
from firecrest.config.settings import Settings
from firecrest.schema import items

ROOT = Path(__file__).parents[2]
PAGES = sorted((ROOT / "docs" / "operators").glob("*.md"))
TROUBLES = ROOT / "docs" / "operators" / "troubleshooting.md"
#: Settings of the contract that this version may not have, and says so.
PLANNED = {"ssh.wrapper_enabled"}

_SECTIONS = "|".join(item.name for item in items(Settings))
_SETTING = re.compile(rf"`((?:{_SECTIONS})(?:\[\])?\.[a-z0-9_.\[\]]+)(?:: [^`]*)?`")
_LINK = re.compile(r"\]\(([^)#]+)\)")
#: Said by libraries, not by us.
_FOREIGN = {"address already in use"}


@pytest.fixture(params=PAGES, ids=lambda page: page.name)
def page(request: pytest.FixtureRequest) -> Path:
    found: Path = request.param
    return found


def test_links_lead_somewhere(page: Path) -> None:
    links = [link for link in _LINK.findall(page.read_text()) if "://" not in link]
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_every_setting_exists(page: Path) -> None:
    named = {key.replace("[]", "") for key in _SETTING.findall(page.read_text())}
    assert {key for key in named if not declared(key)} <= PLANNED


def test_every_command_and_file_exists(page: Path) -> None:
    text = page.read_text()
    commands = set(re.findall(r"firecrest-server ([a-z][a-z-]+)", text))
    assert {name for name in commands if name not in main.commands} == set()
    files = re.findall(r"(?<![\w/.])((?:scripts|deploy)/[\w./-]+\w)", text)
    assert [name for name in files if not (ROOT / name).exists()] == []


def test_the_index_has_every_page() -> None:
    index = (ROOT / "docs" / "operators" / "README.md").read_text()
    assert {p.name for p in PAGES if f"({p.name})" not in index} == {"README.md"}


def test_every_message_is_one_of_ours() -> None:
    sources = "\n".join(path.read_text() for path in (ROOT / "firecrest").rglob("*.py"))
    messages = [
        message
        for line in TROUBLES.read_text().split("## Alerts")[0].splitlines()
        if line.startswith("| `")
        for message in re.findall(r"`([^`]+)`", line.split("|")[1])
    ]
    assert len(messages) > 30
    parts = [part for message in messages if message not in _FOREIGN for part in message.split("…")]
    assert [part for part in parts if part.strip() not in sources] == []
