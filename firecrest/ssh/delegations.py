"""What lets the gateway in, system by system, as the configuration says."""

from __future__ import annotations

from contextlib import AsyncExitStack

from firecrest.config.settings import Settings
from firecrest.ssh import signing_service
from firecrest.ssh.certificates import CertificateAuthority, ca_keys
from firecrest.ssh.delegation import Delegation
from firecrest.ssh.service_key import ServiceKey


def own_keys(settings: Settings) -> dict[str, Delegation]:
    """Those by a key of the gateway's own, by system; most share one.

    :raises ConfigError: a key cannot be read
    """
    ssh, paths = settings.ssh, ca_keys(settings)
    authorities = {
        path: CertificateAuthority(path, ssh.cert_validity, ssh.source_address)
        for path in set(paths.values())
    }
    found: dict[str, Delegation] = {name: authorities[path] for name, path in paths.items()}
    for system in settings.systems:
        delegation = system.delegation
        if delegation.type == "service_key" and delegation.key_path is not None:
            found[system.name] = ServiceKey(delegation.key_path)
    return found


async def delegations(stack: AsyncExitStack, settings: Settings) -> dict[str, Delegation]:
    """All of them, by system; signing services can be asked for as long as the stack lasts.

    :raises ConfigError: a key cannot be read
    """
    found = own_keys(settings)
    for system in settings.systems:
        if system.delegation.type == "signing_service":
            service = signing_service.connect(system.delegation, settings.ssh)
            found[system.name] = await stack.enter_async_context(service)
    return found
