"""From exit status and English text, or from an SFTP code, to a :class:`Fault`.

Contract: rest-v1 §4.2 (clean-up) and §4.4 (classification, first match wins).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from firecrest.errors import TIMED_OUT, AccessDenied, CommandFailed, Fault, FirecrestError

TIMEOUT_STATUS = 124
WRAPPER_STATUS = 118

#: Bytes of what a tool prints that are looked at and told; what prints more is no ordinary tool.
MOST_WORDS = 1 << 16

# Users choose what is read here, and it is read on the event loop: no pattern looks at a line
# more often than once.
_NOISE = re.compile(
    r"^(?:tput: No value for \$TERM and no -T specified"
    r"|Could not chdir to home directory .*: No such file or directory"
    r"|.*warning: setlocale: .*)(?:\n|\Z)",
    re.MULTILINE,
)

# a name as tools quote it; with several on a line all that is between them goes, too
_QUOTED = re.compile(r"^([^'`\"‘\n]*+)['`\"‘].*['\"’]", re.MULTILINE)

Rule = tuple[Callable[[str], bool], Fault]


def _has(*needles: str) -> Callable[[str], bool]:
    return lambda text: all(needle in text for needle in needles)


def _permission(text: str) -> bool:
    return (
        "Permission denied" in text
        or "not permitted" in text
        or "read permission" in text
        or ("cannot open" in text and "No such file" not in text)
    )


# Rows 5 to 16 of rest-v1 §4.4, in their order.
_RULES: tuple[Rule, ...] = (
    (_permission, Fault.PERMISSION),
    (_has("No such file", "cannot stat"), Fault.SOURCE_NOT_FOUND),
    (_has("No such file", "cannot create"), Fault.INVALID_PATHS),
    (_has("No such file", "cannot move"), Fault.INVALID_PATHS),
    (_has("No such file"), Fault.INVALID_PATH),
    (_has("cannot access"), Fault.INVALID_PATH),
    (_has("File exists"), Fault.EXISTS),
    (_has("Not a directory"), Fault.NOT_A_DIRECTORY),
    (_has("Is a directory"), Fault.IS_A_DIRECTORY),
    (_has("directory"), Fault.IS_A_DIRECTORY),
    (_has("overwrite"), Fault.EXISTS),
    (_has("invalid group"), Fault.INVALID_GROUP),
    (_has("invalid user"), Fault.INVALID_OWNER),
    (_has("invalid mode"), Fault.INVALID_MODE),
)


def clean(output: bytes) -> str:
    """One line of text for people: noise dropped, inner newlines made blanks.

    At most the first :data:`MOST_WORDS` bytes are told.
    """
    return _told(output).replace("\n", " ").strip()


def without_names(text: str, *paths: str) -> str:
    """What a tool says without the names in it, which may read like errors.

    :param paths: that it was given, for tools that do not quote
    """
    for path in sorted(paths, key=len, reverse=True):
        if "/" in path:  # any other may be a part of any word
            text = text.replace(path, "")
    return _QUOTED.sub(r"\1", text)


def _told(output: bytes) -> str:
    """The lines that are no noise."""
    return _NOISE.sub("", output[:MOST_WORDS].decode("utf-8", "replace").rstrip("\n"))


def classify(
    status: int, output: bytes, *, operand: str | None, paths: Sequence[str] = ()
) -> FirecrestError:
    """The error for a failed command.

    :param status: exit status; 124 is the remote ``timeout``, 118 the cluster's wrapper
    :param output: stderr, or stdout where stderr is empty
    :param operand: the path the caller sent
    :param paths: all that the tool was given
    """
    if status == TIMEOUT_STATUS:
        return CommandFailed(Fault.TIMEOUT, TIMED_OUT, operand)
    if status == WRAPPER_STATUS:
        refused = "Command execution is not allowed in machine"
        return CommandFailed(Fault.WRAPPER_REFUSED, refused, operand)
    message = clean(output)
    said = without_names(_told(output), *paths)
    if "OPENSSH" in said:
        return AccessDenied(message)
    for matches, fault in _RULES:
        if matches(said):
            return CommandFailed(fault, message, operand)
    return CommandFailed(Fault.OTHER, message or f"exit status {status}", operand)
