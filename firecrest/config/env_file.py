"""Reading a file of environment variables, ``NAME=value`` a line, as FirecREST v1 takes them.

Blank lines and lines that begin with ``#`` count for nothing, ``export`` before a name is
passed over, and quotes around a value are taken off; nothing is expanded. No message shows a
value, because a value may be a secret.
"""

from __future__ import annotations

import re
from pathlib import Path

from msgspec import Struct, field

from firecrest.config.document import read_text
from firecrest.errors import ConfigError

_LINE = re.compile(r"(?:export\s+)?(?P<name>[A-Za-z_][A-Za-z0-9_]*)\s*=\s*(?P<value>.*)")
_QUOTES = "'\""


class EnvFile(Struct, frozen=True):
    """What an environment file says.

    :ivar values: by name, without the quotes around them; of a name given twice the last
    :ivar lines: where each was given
    :ivar quoted: names whose values stand in quotes
    :ivar repeated: names given more than once
    """

    values: dict[str, str] = field(default_factory=dict)
    lines: dict[str, int] = field(default_factory=dict)
    quoted: set[str] = field(default_factory=set)
    repeated: set[str] = field(default_factory=set)


def read_env_file(path: Path) -> EnvFile:
    """Parse a file.

    :raises ConfigError: if it cannot be read, or with every line that is none of a variable
    """
    found = EnvFile()
    problems = []
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        bare = line.strip()
        if not bare or bare.startswith("#"):
            continue
        match = _LINE.fullmatch(bare)
        if match is None:
            problems.append(f"{path}:{number}: not of the form NAME=value")
            continue
        name, value = match["name"], match["value"]
        if value[:1] in _QUOTES and value[:1] and (len(value) < 2 or value[-1] != value[0]):
            problems.append(f"{path}:{number}: {name}: the quote is not closed on its line")
            continue
        if name in found.values:
            found.repeated.add(name)
        found.quoted.discard(name)
        if value[:1] and value[0] in _QUOTES:
            found.quoted.add(name)
        found.values[name] = value.strip(_QUOTES)
        found.lines[name] = number
    if problems:
        raise ConfigError(problems)
    return found
