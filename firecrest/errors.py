"""What can go wrong, in words that know no wire format.

Each API generation turns these into its own statuses, headers and bodies (see
``firecrest.api.v1.errors``); tasks store them as text.

::

    FirecrestError
    ├── ConfigError              the configuration cannot be used
    ├── Unauthenticated          the token is missing or not acceptable
    ├── InvalidInput             a value sent by the caller breaks its rule
    ├── TooLarge                 a body is over its limit
    ├── UnknownSystem            no such machine is configured
    ├── NoSystem                 no machine was named and none is the default
    ├── SystemUnavailable        SSH, DNS, TCP or time-out before any command ran
    ├── AccessDenied             SSH authentication or policy refused the user
    ├── CommandFailed            a command or file operation failed (see Fault)
    │   └── SchedulerRefused     the batch system said no, in its own words
    ├── StagingFailed            the object store refused or cannot be reached
    ├── TaskStoreUnavailable     Redis cannot be reached
    ├── TooManyTasks             as many tasks of the user are in work as may be
    ├── TaskNotFound             no such task, or it has expired
    ├── ForeignTask              the task belongs to another user
    └── StaleTask                somebody else moved the task on meanwhile
"""

from __future__ import annotations

from enum import Enum

MACHINE_NOT_AVAILABLE = "Machine is not available"
TIMED_OUT = "Command has finished with timeout signal"


class FirecrestError(Exception):
    """Root of every error this package raises on purpose."""


class ConfigError(FirecrestError):
    """The configuration cannot be used.

    :param problems: one line each, naming file, line and key
    """

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class Unauthenticated(FirecrestError):
    """The token is missing or not acceptable.

    :param body: the JSON object that says why (Contract: auth §4)
    """

    def __init__(self, body: dict[str, str]) -> None:
        super().__init__(body)
        self.body = body


class InvalidInput(FirecrestError):
    """A value sent by the caller breaks its rule.

    :param message: the whole sentence, e.g. ``'targetPath' has invalid char``
    """

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class TooLarge(FirecrestError):
    """A body is over its limit (bytes)."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"over {limit} bytes")
        self.limit = limit


class UnknownSystem(FirecrestError):
    """No machine of that name is configured."""


class NoSystem(FirecrestError):
    """No machine was named, and none can be assumed."""


class SystemUnavailable(FirecrestError):
    """The machine cannot be reached: name, network, banner, host key or time-out.

    :param answered: whether something answered at its address, if only to refuse
    """

    def __init__(self, reason: str = "", *, answered: bool = False) -> None:
        super().__init__(reason or MACHINE_NOT_AVAILABLE)
        self.answered = answered


class AccessDenied(FirecrestError):
    """The machine or the policy refused the user."""


class Fault(Enum):
    """Kinds of failed commands and file operations, whichever way they ran."""

    TIMEOUT = "timeout"
    WRAPPER_REFUSED = "wrapper refused"
    PERMISSION = "permission"
    SOURCE_NOT_FOUND = "source not found"
    INVALID_PATHS = "invalid source or target path"
    INVALID_PATH = "invalid path"
    EXISTS = "exists"
    NOT_A_DIRECTORY = "not a directory"
    IS_A_DIRECTORY = "is a directory"
    INVALID_GROUP = "invalid group"
    INVALID_OWNER = "invalid owner"
    INVALID_MODE = "invalid mode"
    OUTPUT_LIMIT = "output limit"
    OTHER = "other"


class CommandFailed(FirecrestError):
    """A command or file operation failed on the machine.

    :param fault: what kind of failure
    :param message: the cleaned text of the tool or of the file-transfer server
    :param operand: the path the caller sent, if the operation has one
    """

    def __init__(self, fault: Fault, message: str, operand: str | None = None) -> None:
        super().__init__(message)
        self.fault = fault
        self.message = message
        self.operand = operand


class SchedulerRefused(CommandFailed):
    """The batch system answered no; ``message`` holds its own words."""

    def __init__(self, message: str) -> None:
        super().__init__(Fault.OTHER, message)


class StagingFailed(FirecrestError):
    """The object store refused or cannot be reached.

    :param answered: whether it answered at all
    """

    def __init__(self, message: str, *, answered: bool = True) -> None:
        super().__init__(message)
        self.answered = answered


class TaskStoreUnavailable(FirecrestError):
    """Redis cannot be reached or refuses to write."""


class TooManyTasks(FirecrestError):
    """As many tasks of the user are in work, or as large ones, as may be at once.

    :param limit: how many that is, in words
    """

    def __init__(self, limit: str) -> None:
        super().__init__(f"{limit} are in work; wait until one of them has ended")


class TaskNotFound(FirecrestError):
    """No such task, or its life is over."""


class ForeignTask(FirecrestError):
    """The task belongs to another user."""


class StaleTask(FirecrestError):
    """A write came from somebody who no longer owns the task, or from the wrong state."""
