"""Words that answers, messages and parameters share: types, each with an example.

``Annotated[T, such_as(…)]`` adds to what is told of a type; ``openapi.shapes`` reads it.
"""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Struct


# hashed by identity, as members of unions must be
class About(Struct, frozen=True, eq=False):
    """What is told of a type besides.

    :param keywords: of JSON Schema
    """

    keywords: dict[str, Any]


def such_as(*examples: Any, **more: Any) -> About:
    """Examples of a type, and other keywords of JSON Schema."""
    return About({"examples": list(examples), **more} if examples else more)


UserName = Annotated[str, such_as("alice")]
GroupName = Annotated[str, such_as("users")]
SystemName = Annotated[str, such_as("cluster", description="Public name of a machine.")]
TaskId = Annotated[str, such_as("4b0c6dd5a6f14b4c9b7d3fbb5f9c2d11", pattern="^[0-9a-f]{32}$")]
TaskUrl = Annotated[
    str, such_as("https://firecrest.example.org/tasks/4b0c6dd5a6f14b4c9b7d3fbb5f9c2d11")
]
TaskStatus = Annotated[
    str, such_as("200", pattern="^[1-4][0-9]{2}$", description="Code of the state.")
]
JobId = Annotated[str, such_as("7", "7_3", description="Id of a batch job, or of a task of one.")]
JobState = Annotated[str, such_as("COMPLETED", "RUNNING")]
#: Where no offset is told, times are UTC.
Moment = Annotated[str, such_as("2026-05-02T10:00:00")]
