"""Log lines on standard error."""

from __future__ import annotations

import json
import logging
import logging.config
from contextvars import ContextVar
from dataclasses import dataclass

from firecrest.config.settings import Logging

#: One record per action on a cluster in a user's name; its message is a mapping.
AUDIT = logging.getLogger("firecrest.audit")
#: One record per request, without its query string: that may hold what nobody should read.
ACCESS = logging.getLogger("firecrest.access")
#: Id of the request or task for which something is done; in audit lines and certificates.
ON_BEHALF_OF: ContextVar[str] = ContextVar("on_behalf_of", default="-")


@dataclass(frozen=True, slots=True)
class Caller:
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


class _JsonLines(logging.Formatter):
    """An audit record as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        fields = record.args if isinstance(record.args, dict) else {}
        return json.dumps({"time": self.formatTime(record, "%Y-%m-%dT%H:%M:%S%z"), **fields})


def configure(settings: Logging) -> None:
    """Send logs to standard error as the settings want them."""
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {
                "text": {"format": "%(asctime)s %(levelname)-7s %(name)s: %(message)s"},
                "json": {"()": _JsonLines},
            },
            "handlers": {
                "text": {"class": "logging.StreamHandler", "formatter": "text"},
                "json": {"class": "logging.StreamHandler", "formatter": "json"},
            },
            "root": {"level": settings.level.upper(), "handlers": ["text"]},
            "loggers": {
                AUDIT.name: {
                    "level": "INFO",
                    "handlers": ["json" if settings.audit_json else "text"],
                    "propagate": False,
                },
                # every channel opened and every request signed is news to them
                "asyncssh": {"level": "WARNING"},
                "botocore": {"level": "WARNING"},
                "aiobotocore": {"level": "WARNING"},
            },
        }
    )
