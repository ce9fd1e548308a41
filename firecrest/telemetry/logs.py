"""Log lines: where they go, in which form, and what each of them says of its origin."""

from __future__ import annotations

import json
import logging
import logging.config
import time
from contextvars import ContextVar
from functools import lru_cache
from typing import Any, NamedTuple

from firecrest.config.settings import Logging
from firecrest.telemetry.trace import trace_id

#: One record per action on a cluster in a user's name; its message is a mapping.
AUDIT = logging.getLogger("firecrest.audit")
#: One record per request, without its query string: that may hold what nobody should read.
ACCESS = logging.getLogger("firecrest.access")
#: Id of the request or task for which something is done; in all lines and in certificates.
ON_BEHALF_OF: ContextVar[str] = ContextVar("on_behalf_of", default="-")
#: Id of the task that is worked on, for audit lines; empty where it is none.
TASK: ContextVar[str] = ContextVar("task", default="")

FILE_NAME = "firecrest.log"
_CLOCK, _ISO = "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S%z"
_TEXT = "%(asctime)s %(levelname)-7s %(name)s: %(message)s [%(request_id)s %(trace_id)s]"


class Caller(NamedTuple):
    """Who sent a request, for audit lines.

    :param client: the OAuth client the token was given to
    :param address: where the request came from
    """

    user: str = ""
    issuer: str = ""
    client: str = ""
    address: str = ""


NOBODY = Caller()
#: Whose request is being answered; what goes on by itself afterwards may see it, too.
CALLER: ContextVar[Caller] = ContextVar("caller", default=NOBODY)


class _Origin(logging.Filter):
    """Adds the ids of request and trace to every record."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.request_id = ON_BEHALF_OF.get()
        record.trace_id = trace_id() or "-"
        return True


class _Lines(logging.Formatter):
    """A record as one line: of text, or of JSON. An audit record always tells all it holds.

    :param as_json: a mapping among the record's arguments becomes keys of their own
    :param audit_json: an audit record is JSON of its own fields only
    """

    def __init__(self, *, as_json: bool, audit_json: bool) -> None:
        super().__init__(_TEXT)
        self._as_json = as_json
        self._audit_json = audit_json

    def format(self, record: logging.LogRecord) -> str:
        audit = record.name == AUDIT.name
        if audit and self._audit_json:
            return json.dumps(
                {"time": self._time(record), **_fields(record), "trace_id": _trace(record)}
            )
        if not self._as_json:
            text = super().format(record)
            # within the JSON quotes are escaped, so no path can pass for the beginning of it
            return f"{text} {json.dumps(_fields(record))}" if audit else text
        line = {
            "time": self._time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **_fields(record),
            "request_id": record.__dict__["request_id"],
            "trace_id": _trace(record),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: N802
        return f"{_moment(int(record.created), _CLOCK)},{int(record.msecs):03d}"

    def _time(self, record: logging.LogRecord) -> str:
        return _moment(int(record.created), _ISO)


@lru_cache(maxsize=2)
def _moment(second: int, form: str) -> str:
    """A second in local time, written once for all its records."""
    return time.strftime(form, time.localtime(second))


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    return record.args if isinstance(record.args, dict) else {}


def _trace(record: logging.LogRecord) -> str:
    trace: str = record.__dict__["trace_id"]
    return trace


def configure(settings: Logging) -> None:
    """Send logs where the settings want them; may be repeated with others.

    :raises OSError, ValueError: the file cannot be opened
    """
    # which thread, process and line of the code a record comes from is in none of the forms, and
    # to find it out takes a fifth of the time of a record
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging._srcfile = None  # noqa: SLF001  as the documentation of the library says
    form = {"()": _Lines, "as_json": settings.format == "json", "audit_json": settings.audit_json}
    out = {**_handler(settings), "formatter": "lines", "filters": ["origin"]}
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "filters": {"origin": {"()": _Origin}},
            "formatters": {"lines": form},
            "handlers": {"out": out},
            "root": {"level": settings.level.upper(), "handlers": ["out"]},
            "loggers": {
                AUDIT.name: {"level": "INFO"},
                # every channel opened and every request signed is news to them
                "asyncssh": {"level": "WARNING"},
                "botocore": {"level": "WARNING"},
                "aiobotocore": {"level": "WARNING"},
            },
        }
    )


def _handler(settings: Logging) -> dict[str, Any]:
    if settings.type != "file":
        return {"class": "logging.StreamHandler", "stream": f"ext://sys.{settings.type}"}
    return {
        "class": "logging.handlers.TimedRotatingFileHandler",
        "filename": str(settings.path / FILE_NAME),
        "when": "midnight",
        "backupCount": settings.keep,
        "encoding": "utf-8",
    }
