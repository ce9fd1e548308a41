"""TLS from files, which may be replaced while connections are open (Contract: config §1)."""

from __future__ import annotations

import asyncio
import logging
import ssl
from pathlib import Path

from firecrest.config.settings import Tls
from firecrest.errors import ConfigError

_log = logging.getLogger(__name__)

_State = tuple[tuple[int, int, int], ...]


class Certificate:
    """The certificate that is shown to clients, with its key.

    Connections that exist go on with the one they began with.

    :param cert: chain of certificates, PEM
    :param key: the key of the first of them
    :param interval: seconds between looks at the files
    :raises ConfigError: they are no certificate chain with its key
    :ivar context: for a listener; it always leads to the newest
    """

    def __init__(self, cert: Path, key: Path, interval: float) -> None:
        self._files = (cert, key)
        self._interval = interval
        self._seen = self._look()
        try:
            self._current = self._loaded()
        except (ssl.SSLError, OSError) as error:
            problem = f"server.tls: no certificate with its key: {_reason(error)}"
            raise ConfigError([problem]) from error
        self.context = self._loaded()
        self.context.sni_callback = self._choose

    @classmethod
    def of(cls, settings: Tls) -> Certificate | None:
        """That of the settings, if there is one."""
        if settings.cert is None or settings.key is None:
            return None
        return cls(settings.cert, settings.key, settings.interval)

    def reload(self) -> bool:
        """Read the files again; whether that gave something to go on with.

        If not, the old ones stay in use, and the log says why.
        """
        self._seen = self._look()
        try:
            self._current = self._loaded()
        except (ssl.SSLError, OSError) as error:
            _log.error("server.tls: the new files are not used: %s", _reason(error))
            return False
        _log.info("server.tls: the certificate was read again")
        return True

    async def follow(self) -> None:
        """Reload whenever the files have changed, and did not change between two looks."""
        before = self._seen
        while True:
            await asyncio.sleep(self._interval)
            now = self._look()
            if now == before and now != self._seen:
                self.reload()
            before = now

    def _choose(self, connection: ssl.SSLObject, _name: str | None, _: ssl.SSLContext) -> None:
        connection.context = self._current

    def _loaded(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(*self._files)
        return context

    def _look(self) -> _State:
        found = []
        for path in self._files:
            try:
                about = path.stat()
            except OSError:
                continue
            found.append((about.st_ino, about.st_size, about.st_mtime_ns))
        return tuple(found)


def _reason(error: OSError) -> str:
    """Why, without a byte of the files."""
    return getattr(error, "reason", None) or error.strerror or type(error).__name__
