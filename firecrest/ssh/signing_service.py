"""A certificate authority elsewhere, asked over HTTP for each connection.

What is sent, as a JSON object by POST::

    {"public_key": "ssh-ed25519 AAAA…", "principal": "alice", "validity": 300,
     "source_address": "192.0.2.1,192.0.2.2", "key_id": "alice@cluster:<task or request>",
     "force_command": null}

``source_address`` and ``force_command`` may be null. The answer is a JSON object whose
``certificate`` is one line as in ``id_ed25519-cert.pub``. It is used only if it is what was
asked for (Contract: auth §6).
"""

from __future__ import annotations

import asyncio
import logging
import ssl
import struct
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import asyncssh
import orjson

from firecrest.config.settings import Delegation as DelegationSettings
from firecrest.config.settings import Ssh
from firecrest.errors import SystemUnavailable
from firecrest.ssh.delegation import BACKDATE, Credential
from firecrest.streams import whole

_log = logging.getLogger(__name__)

_MAX_BYTES = 64 * 1024
#: From its beginning, which is in the past, to its end, in seconds.
_LONGEST_LIFE = BACKDATE + 300
_USER_CERTIFICATE = 1
_ALGORITHM = b"ssh-ed25519-cert-v01@openssh.com"


class SigningService:
    """Asks for a user certificate on a key that lives in memory only.

    :param session: closed by whoever made it
    """

    def __init__(
        self, settings: DelegationSettings, ssh: Ssh, session: aiohttp.ClientSession
    ) -> None:
        self._settings = settings
        self._ssh = ssh
        self._session = session

    async def credential(
        self, user: str, system: str, reference: str, command: bytes | None
    ) -> Credential:
        """See :meth:`firecrest.ssh.delegation.Delegation.credential`."""
        key = asyncssh.generate_private_key("ssh-ed25519")
        key_id = f"{user}@{system}:{reference}"
        try:
            question: dict[str, Any] = {
                "public_key": key.export_public_key().decode("ascii").strip(),
                "principal": user,
                "validity": self._ssh.cert_validity,
                "source_address": self._ssh.source_address or None,
                "key_id": key_id,
                "force_command": None if command is None else command.decode(),
            }
            # reading it verifies its signature
            certificate = asyncssh.import_certificate(await self._ask(question))
            check(certificate.public_data, key, question)
        except (
            aiohttp.ClientError,
            asyncssh.KeyImportError,
            OSError,
            ValueError,
            TimeoutError,
        ) as error:
            _log.error(
                "no certificate for %s from %s: %s",
                *(key_id, self._settings.url, str(error) or type(error).__name__),
            )
            raise SystemUnavailable("no certificate from the signing service") from error
        return key, certificate

    async def _ask(self, question: dict[str, Any]) -> str:
        """:raises ValueError: the answer is no certificate"""
        headers = {"Content-Type": "application/json"}
        if self._settings.token:
            headers["Authorization"] = f"Bearer {self._settings.token.reveal()}"
        async with (
            asyncio.timeout(self._settings.timeout),
            self._session.post(
                self._settings.url,
                data=orjson.dumps(question),
                headers=headers,
                allow_redirects=False,
            ) as response,
        ):
            if response.status not in (200, 201):
                raise ValueError(f"it answers {response.status}")
            body = await whole(response.content, _MAX_BYTES)
        answer: Any = orjson.loads(body)
        certificate = answer.get("certificate") if isinstance(answer, dict) else None
        if not isinstance(certificate, str):
            raise ValueError("it answers no certificate")
        return certificate


@asynccontextmanager
async def connect(settings: DelegationSettings, ssh: Ssh) -> AsyncIterator[SigningService]:
    """The service for as long as the context lasts; nothing is sent before it is asked."""
    context = ssl.create_default_context(cafile=settings.ca_file) if settings.ca_file else True
    connector = aiohttp.TCPConnector(ssl=context)
    async with aiohttp.ClientSession(connector=connector) as session:
        yield SigningService(settings, ssh, session)


def check(data: bytes, key: asyncssh.SSHKey, question: dict[str, Any]) -> None:
    """Compare a certificate with what was asked for.

    :param data: the certificate as OpenSSH's PROTOCOL.certkeys has it
    :raises ValueError: it permits something else, or more, or for longer
    """
    fields = _Fields(data)
    if fields.text() != _ALGORITHM:
        raise ValueError("it is for another key")
    _nonce, point = fields.text(), fields.text()
    _serial, kind, key_id = fields.number(8), fields.number(4), fields.text()
    principals = list(_Fields(fields.text()).texts())
    begins, ends = fields.number(8), fields.number(8)
    options = list(_Fields(fields.text()).texts())
    extensions = fields.text()
    critical = dict(zip(options[::2], options[1::2], strict=True))
    command, source = question["force_command"], question["source_address"]
    wanted = {b"force-command": _packed(command.encode())} if command is not None else {}
    if source is not None or b"source-address" in critical:
        # of how the addresses are written the service is the judge
        wanted[b"source-address"] = critical.get(b"source-address", b"")
    rules = {
        "it is no user certificate": kind == _USER_CERTIFICATE,
        "it is for another key": _packed(b"ssh-ed25519") + _packed(point) == key.public_data,
        "it is not for the user alone": principals == [question["principal"].encode()],
        "it has another key id": key_id == question["key_id"].encode(),
        "it is not valid now": begins <= time.time() < ends,
        "it is valid for too long": ends - begins <= _LONGEST_LIFE,
        "it has other critical options": critical == wanted
        and wanted.get(b"source-address") != b"",
        "it has extensions": not extensions,
    }
    for complaint, kept in rules.items():
        if not kept:
            raise ValueError(complaint)


class _Fields:
    """Reads the encoding of SSH; raises ValueError at the end of the data."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def take(self, size: int) -> bytes:
        if len(self._data) < size:
            raise ValueError("it ends early")
        taken, self._data = self._data[:size], self._data[size:]
        return taken

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def text(self) -> bytes:
        return self.take(self.number(4))

    def texts(self) -> Iterator[bytes]:
        while self._data:
            yield self.text()


def _packed(text: bytes) -> bytes:
    return struct.pack(">I", len(text)) + text
