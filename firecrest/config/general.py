"""What is written down about the server's work, and what holds for all systems.

Contract: config §1.
"""

from __future__ import annotations

from pathlib import Path

from marshmallow import fields, validate

from firecrest.config import values
from firecrest.schema import Declared, item


class Logging(Declared):
    """What is written, where to, and in which form (Contract: config §1)."""

    type: str = item(
        fields.String(validate=validate.OneOf(("stdout", "stderr", "file"))),
        default="stderr",
        help="where lines go: stdout, stderr, or file, which begins anew each midnight",
    )
    path: Path = item(
        values.PathField(),
        default=Path("/var/log"),
        help="directory of the file, firecrest.log; only with type file",
    )
    keep: int = item(values.whole(0), default=14, help="files of days before that are kept; 0: all")
    format: str = item(
        fields.String(validate=validate.OneOf(("text", "json"))),
        default="text",
        help="form of the lines: text for people, json for programs",
    )
    level: str = item(
        fields.String(validate=validate.OneOf(("debug", "info", "warning", "error"))),
        default="info",
        help="least severity written: debug, info, warning or error; tokens never are",
    )
    audit_json: bool = item(
        fields.Boolean(),
        default=False,
        help="audit lines, one per action on a machine, are JSON and no more, whatever the form of"
        " the others; if false, those of text end with the same JSON",
    )


class Tracing(Declared):
    """Who collects traces (Contract: config §1)."""

    enabled: bool = item(
        fields.Boolean(),
        default=False,
        help="whether spans are sent; remote commands and uploads then show the id of the trace",
    )
    agent: str = item(
        values.text(values.origin),
        default="",
        help="origin of a collector that takes OTLP over HTTP, e.g. http://otel:4318",
    )


class General(Declared):
    """What /status/parameters says about this installation (Contract: config §1)."""

    version: str = item(
        fields.String(validate=values.version),
        default="1.16.6",
        help="FIRECREST_VERSION: decides which answers clients expect; PEP 440, at least 1.16.0",
    )
    build: str = item(values.text(), default="", help="FIRECREST_BUILD, free text")
