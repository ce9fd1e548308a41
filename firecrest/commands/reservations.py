"""The site's tool for reservations of the batch system (Contract: rest-v1 §10)."""

from __future__ import annotations

import re

from firecrest.commands.base import Argv, Command, Completed
from firecrest.commands.faults import TIMEOUT_STATUS, clean
from firecrest.errors import TIMED_OUT, AccessDenied, CommandFailed, Fault, FirecrestError

_RULE = re.compile(r"-{3,}")
_PREFIXES = ("timeout:", "rsvmgmt:", "Error:")
#: What sudo says to who may not, and what the tool does.
_REFUSALS = ("Permission", "SystemAdministrator")


class _Tool(Command[str], frozen=True):
    """One run of the tool; its output is the answer."""

    def parse(self, stdout: bytes) -> str:
        return clean(stdout)

    def failure(self, completed: Completed) -> FirecrestError:
        return tool_failure(completed)


class ListReservations(Command[list[dict[str, str]]], frozen=True):
    """All reservations, each as its attributes in lower case."""

    tool: str

    def argv(self) -> Argv:
        return (self.tool, "-l")

    def parse(self, stdout: bytes) -> list[dict[str, str]]:
        lines = stdout.decode("utf-8", "replace").splitlines()
        rules = [number for number, text in enumerate(lines) if _RULE.fullmatch(text.strip())]
        if len(rules) < 2:
            return []
        found = [_attributes(text) for text in lines[rules[0] + 1 : rules[1]]]
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
    while prefix := next((prefix for prefix in _PREFIXES if text.startswith(prefix)), None):
        text = text.removeprefix(prefix).strip()
    return CommandFailed(Fault.OTHER, text or f"exit status {completed.status}")


def _attributes(text: str) -> dict[str, str]:
    pairs = (word.partition("=") for word in text.split() if "=" in word)
    return {key.lower(): value for key, _, value in pairs}
