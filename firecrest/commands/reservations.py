"""The site's tool for reservations of the batch system (Contract: rest-v1 §10)."""

from __future__ import annotations

import re
from itertools import islice

from firecrest.commands.base import Argv, Command, Completed, Long
from firecrest.commands.faults import TIMEOUT_STATUS, clean
from firecrest.errors import TIMED_OUT, AccessDenied, CommandFailed, Fault, FirecrestError
from firecrest.turns import Pieces, each

_RULE = re.compile(r"^[^\S\n]*-{3,}[^\S\n]*$", re.MULTILINE)
_PREFIXES = re.compile(r"(?:(?:timeout:|rsvmgmt:|Error:)\s*)*")
#: What sudo says to who may not, and what the tool does.
_REFUSALS = ("Permission", "SystemAdministrator")


class _Tool(Command[str], frozen=True):
    """One run of the tool; its output is the answer."""

    def parse(self, stdout: bytes) -> str:
        return clean(stdout)

    def failure(self, completed: Completed) -> FirecrestError:
        return tool_failure(completed)


class ListReservations(Long[list[dict[str, str]]], frozen=True):
    """All reservations, each as its attributes in lower case."""

    tool: str

    def argv(self) -> Argv:
        return (self.tool, "-l")

    def read(self, stdout: bytes) -> Pieces[list[dict[str, str]]]:
        text = stdout.decode("utf-8", "replace")
        rules = [rule.span() for rule in islice(_RULE.finditer(text), 2)]
        if len(rules) < 2:
            return []
        (_, begin), (end, _) = rules
        found = yield from each(text[begin:end].splitlines(), _attributes)
        return [attributes for attributes in found if attributes]

    def failure(self, completed: Completed) -> FirecrestError:
        return tool_failure(completed)


class CreateReservation(_Tool, frozen=True):
    """Reserve ``nodes`` nodes of a kind for an account."""

    tool: str
    name: str
    account: str
    nodes: int
    node_type: str
    start: str
    end: str

    def argv(self) -> Argv:
        nodes = str(self.nodes)
        return (
            *(self.tool, "-a", self.account, nodes, self.node_type, self.start, self.end),
            self.name,
        )


class UpdateReservation(_Tool, frozen=True):
    """Change what is reserved, and when."""

    tool: str
    name: str
    nodes: int
    node_type: str
    start: str
    end: str

    def argv(self) -> Argv:
        nodes = str(self.nodes)
        return (self.tool, "-u", self.name, nodes, self.node_type, self.start, self.end)


class DeleteReservation(_Tool, frozen=True):
    """Give a reservation up."""

    tool: str
    name: str

    def argv(self) -> Argv:
        return (self.tool, "-d", self.name)


def tool_failure(completed: Completed) -> FirecrestError:
    """What the tool's refusal means, without the prefixes it puts before its words."""
    if completed.status == TIMEOUT_STATUS:
        return CommandFailed(Fault.TIMEOUT, TIMED_OUT)
    text = clean(completed.stderr or completed.stdout)
    if any(word in text for word in _REFUSALS):
        return AccessDenied(text)
    text = _PREFIXES.sub("", text, count=1)
    return CommandFailed(Fault.OTHER, text or f"exit status {completed.status}")


def _attributes(text: str) -> dict[str, str]:
    pairs = (word.partition("=") for word in text.split() if "=" in word)
    return {key.lower(): value for key, _, value in pairs}
