"""A channel that is closed in the same breath as it is opened."""

from __future__ import annotations

from typing import Any

import asyncssh
import pytest

from firecrest.ssh import session
from firecrest.ssh.link import Link


class Closing:
    """A connection whose channels asyncssh has forgotten before it says that they are there."""

    async def create_process(self, *_: Any, **__: Any) -> None:
        channel: Any = None
        channel.session_started()


async def test_it_is_an_error_of_the_connection_and_the_command_may_have_run() -> None:
    link = Link(lambda _: None)
    connection: Any = Closing()
    link.connection = connection
    with pytest.raises(asyncssh.ChannelOpenError) as refused:
        await session._started(link, "true", {})
    assert not session._surely_not_begun(refused.value)
