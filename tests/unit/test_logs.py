"""What a log line holds, and where it goes (Contract: config §1)."""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from firecrest.config.settings import Logging
from firecrest.telemetry import logs
from firecrest.telemetry.trace import TRACE, Trace

TRACED = Trace("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7")


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    request, trace = logs.ON_BEHALF_OF.set("the-request"), TRACE.set(TRACED)
    yield
    logs.ON_BEHALF_OF.reset(request)
    TRACE.reset(trace)
    for handler in root.handlers:
        if handler not in handlers:
            handler.close()
    root.handlers[:], root.level = handlers, level


@pytest.fixture
def lines(tmp_path: Path) -> Any:
    """Configures logging into a file, and gives what was written."""

    class Lines:
        def configure(self, **settings: Any) -> None:
            logs.configure(Logging(type="file", path=tmp_path, **settings))

        def read(self) -> list[str]:
            return (tmp_path / logs.FILE_NAME).read_text().splitlines()

    return Lines()


def test_text_names_request_and_trace(lines: Any) -> None:
    lines.configure()
    logging.getLogger("firecrest.x").info("hello %s", "world")
    (line,) = lines.read()
    assert line.endswith(f"INFO    firecrest.x: hello world [the-request {TRACED.trace_id}]")


def test_json_has_the_fields_of_a_line_by_name(lines: Any) -> None:
    lines.configure(format="json")
    logs.ACCESS.info("%(user)s %(status)d", {"user": 'al"ice\n', "status": 200})
    try:
        raise ValueError("inside")
    except ValueError:
        logging.getLogger("firecrest.x").exception("failed")
    access, failure = [json.loads(line) for line in lines.read()]
    assert access.pop("time")
    assert access == {
        "level": "info",
        "logger": "firecrest.access",
        "message": 'al"ice\n 200',
        "user": 'al"ice\n',
        "status": 200,
        "request_id": "the-request",
        "trace_id": TRACED.trace_id,
    }
    assert failure["message"] == "failed"
    assert failure["exception"].endswith("ValueError: inside")


def test_audit_lines_can_be_json_among_text(lines: Any) -> None:
    lines.configure(audit_json=True, level="error")
    logs.AUDIT.info("%(user)s", {"user": "alice"})
    logging.getLogger("firecrest.x").info("not written")
    logging.getLogger("firecrest.x").error("written")
    audit, other = lines.read()
    audit = json.loads(audit)
    assert (audit["user"], audit["trace_id"]) == ("alice", TRACED.trace_id)
    assert "written" in other


def test_audit_lines_of_text_end_with_all_they_hold(lines: Any) -> None:
    lines.configure()
    held = {"user": "alice", "operand": '/a\nb\u2028 {"user": "bob"}', "argv": ["ls", "\ud800"]}
    logs.AUDIT.info("%(user)s %(operand)r", held)
    (line,) = lines.read()
    assert "firecrest.audit: alice '/a\\nb\\u2028 " in line
    text, _, rest = line.rpartition(' {"user": ')
    assert text.endswith(f"[the-request {TRACED.trace_id}]")
    assert json.loads('{"user": ' + rest) == held


def test_the_level_can_be_changed(lines: Any) -> None:
    lines.configure(level="warning")
    logging.getLogger("firecrest.x").info("before")
    lines.configure(level="debug")
    logging.getLogger("firecrest.x").debug("after")
    assert ["after" in line for line in lines.read()] == [True]


def test_a_new_day_begins_a_new_file_and_old_ones_go(lines: Any, tmp_path: Path) -> None:
    day = 86_400
    for age in (2, 3, 4):
        stamp = time.strftime("%Y-%m-%d", time.localtime(time.time() - age * day))
        (tmp_path / f"{logs.FILE_NAME}.{stamp}").write_text("old")
    (tmp_path / logs.FILE_NAME).write_text("yesterday\n")
    yesterday = time.time() - day
    os.utime(tmp_path / logs.FILE_NAME, (yesterday, yesterday))
    lines.configure(keep=2)
    logging.getLogger("firecrest.x").info("today")
    (line,) = lines.read()
    assert "today" in line
    kept = sorted(tmp_path.glob(f"{logs.FILE_NAME}.*"))
    assert [path.read_text() for path in kept] == ["old", "yesterday\n"]
