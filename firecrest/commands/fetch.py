"""Moving bytes between the machine and the object store, by curl on the machine.

The presigned URL is a key to the object: it goes to curl on standard input, because an
argument would show it to everybody on the machine.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from firecrest.commands.base import Argv, Completed, Silent
from firecrest.commands.faults import clean
from firecrest.errors import CommandFailed, Fault, FirecrestError

_CONNECT_TIMEOUT = 10
_STALLED_AFTER = 60

# curl's exit status where a sentence helps more than curl's own
_MEANINGS = {
    6: "Failed to connect to staging area server",
    7: "Failed to connect to staging area server",
    28: "Transfer timed out",
}


@dataclass(frozen=True)
class _Curl(Silent):
    """One transfer.

    :param url: presigned, so never shown
    :param path: the file on the machine
    """

    url: str = field(repr=False)
    path: str

    limited: ClassVar[bool] = False

    @property
    def operand(self) -> str:
        return self.path

    def argv(self) -> Argv:
        return ("curl", "--config", "-")

    def failure(self, completed: Completed) -> FirecrestError:
        message = _MEANINGS.get(completed.status) or clean(completed.stderr)
        fallback = f"curl exit status {completed.status}"
        return CommandFailed(Fault.OTHER, message or fallback, self.operand)


class Pull(_Curl):
    """Fetch a URL into a file."""

    def stdin(self) -> bytes:
        return _config(url=self.url, output=self.path)


class Push(_Curl):
    """Send a file to a presigned PUT URL."""

    def stdin(self) -> bytes:
        return _config(url=self.url, upload_file=self.path)


def _config(**options: str) -> bytes:
    """A curl configuration; ``globoff`` keeps brackets and braces in names literal."""
    lines = [
        "fail",
        "silent",
        "show-error",
        "globoff",
        f"connect-timeout = {_CONNECT_TIMEOUT}",
        "speed-limit = 1",
        f"speed-time = {_STALLED_AFTER}",
        # a body answered to an upload is of no use, and would count as output
        *(['output = "/dev/null"'] if "upload_file" in options else []),
        *(f"{name.replace('_', '-')} = {_quote(value)}" for name, value in options.items()),
    ]
    return "\n".join(lines).encode("utf-8", "surrogateescape") + b"\n"


def _quote(value: str) -> str:
    """A value for curl; a setting ends with its line, so that line ends are escaped too."""
    for plain, escaped in (("\\", "\\\\"), ('"', '\\"'), ("\n", "\\n"), ("\r", "\\r")):
        value = value.replace(plain, escaped)
    return f'"{value}"'
