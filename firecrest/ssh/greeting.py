"""Whether a machine answers, and is the one that it should be: before anybody logs in."""

from __future__ import annotations

import asyncssh

from firecrest.config.settings import Ssh
from firecrest.config.values import Address
from firecrest.errors import SystemUnavailable
from firecrest.ssh.connecting import offered

#: Nobody's name: the exchange ends before it would be asked for anything.
_USER = "firecrest-check"


async def greet(place: Address, settings: Ssh, known_hosts: asyncssh.SSHKnownHosts) -> None:
    """Return once the machine has shown a host key that is known.

    :raises SystemUnavailable: it does not answer, or the key is not
    """
    try:
        async with asyncssh.connect(
            place.host,
            place.port,
            username=_USER,
            client_keys=None,
            known_hosts=known_hosts,
            agent_path=None,
            config=None,
            preferred_auth="none",
            **offered(settings.algorithms),
            connect_timeout=settings.connect_timeout,
            login_timeout=settings.connect_timeout,
        ):
            pass
    except asyncssh.PermissionDenied:
        pass  # it has shown its key, and rightly lets nobody in
    except (asyncssh.Error, OSError, TimeoutError) as error:
        raise SystemUnavailable(str(error) or type(error).__name__) from error
