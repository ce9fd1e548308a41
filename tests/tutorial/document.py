"""The tutorial as a list of exchanges: what to send, in two languages, and what is answered."""

from __future__ import annotations

import re
import textwrap
from dataclasses import dataclass, field
from pathlib import Path

DOCUMENT = Path(__file__).parents[1] / "data" / "tutorial" / "tutorial-2020.rst"
_DIRECTIVE = re.compile(r"( *)\.\. code-(tab|block):: (\w+)\n")


@dataclass
class Exchange:
    """A request as it is printed, with the answers printed below it.

    :param line: of the tutorial, from 1
    :param snippets: by language, ``bash`` and ``python``
    """

    line: int
    snippets: dict[str, str] = field(default_factory=dict)
    answers: list[str] = field(default_factory=list)


def exchanges() -> list[Exchange]:
    """All of them, in order; the first one has answers only."""
    text = DOCUMENT.read_text()
    found = [Exchange(1)]
    for match in _DIRECTIVE.finditer(text):
        indent, kind, language = match.groups()
        body = _body(text[match.end() :], len(indent))
        if kind == "block":
            found[-1].answers.append(body)
            continue
        if language == "bash":
            found.append(Exchange(text.count("\n", 0, match.start()) + 1))
        found[-1].snippets[language] = body
    return found


def _body(text: str, indent: int) -> str:
    """What is indented more than the directive, without its options."""
    lines = []
    for line in text.split("\n"):
        if line.strip() and len(line) - len(line.lstrip()) <= indent:
            break
        if not line.strip().startswith(":"):
            lines.append(line)
    body = textwrap.dedent("\n".join(lines)).strip("\n")
    return re.sub(r"^\$ ", "", body, flags=re.MULTILINE)
