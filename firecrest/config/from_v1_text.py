"""How a converted configuration is written down."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import yaml


def written(
    source: str, data: Mapping[str, Any], attention: Sequence[str], dropped: Sequence[str]
) -> str:
    """A converted configuration as the text of its file, remarks first."""
    return _comments(source, attention, dropped) + "\n".join(
        yaml.safe_dump({name: value}, sort_keys=False, allow_unicode=True, width=100_000)
        for name, value in data.items()
    )


def _comments(source: str, attention: Sequence[str], dropped: Sequence[str]) -> str:
    def lines() -> Iterator[str]:
        yield f"Converted from {source} by firecrest-server import-env."
        yield "Secrets stay in the environment: start the server with the variables named below."
        for heading, remarks in (("Look at these:", attention), ("Left behind:", dropped)):
            if remarks:
                yield ""
                yield heading
                yield from (f"- {remark}" for remark in remarks)

    return "".join(f"# {_printable(line)}".rstrip() + "\n" for line in lines()) + "\n"


def _printable(text: str) -> str:
    """Keep what a file says on the line of its comment."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)
