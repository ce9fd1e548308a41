"""What it means when a store does not do what it is asked."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from botocore.exceptions import BotoCoreError, ClientError

from firecrest.errors import StagingFailed

#: Seconds for all attempts at a question of which somebody waits for the answer.
LIMIT = 10.0


@contextmanager
def failures() -> Iterator[None]:
    """:raises StagingFailed: instead of any error of the library or the network"""
    try:
        yield
    except (ClientError, BotoCoreError, OSError, TimeoutError) as error:
        answered = isinstance(error, ClientError)
        raise StagingFailed(str(error) or type(error).__name__, answered=answered) from error


def code(error: ClientError) -> str:
    """The store's own word for an error."""
    word: str = error.response.get("Error", {}).get("Code", "")
    return word
