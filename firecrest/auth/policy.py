"""Whether a user may use a system: what an Open Policy Agent says (Contract: auth §5)."""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import orjson

from firecrest.config.settings import Opa
from firecrest.errors import AccessDenied, CommandFailed, Fault
from firecrest.streams import whole
from firecrest.telemetry.metrics import Metrics
from firecrest.telemetry.trace import outgoing

_log = logging.getLogger(__name__)

_NO_ANSWER = "Authorization server error"
_MAX_BYTES = 64 * 1024
_MAX_REMEMBERED = 10_000


class Policy:
    """Asks before anything is done on a system; no answer is as good as a refusal."""

    def __init__(self, settings: Opa, session: aiohttp.ClientSession, metrics: Metrics) -> None:
        self._metrics = metrics
        self._settings = settings
        self._session = session
        self._url = f"{settings.url}/{settings.policy_path}"
        self._allowed: dict[tuple[str, str], float] = {}

    async def permit(self, user: str, system: str) -> None:
        """Return if the user may use the system.

        :raises AccessDenied: the policy says no
        :raises CommandFailed: it cannot be asked
        """
        now = time.monotonic()
        if self._allowed.get((user, system), now) > now:
            return
        try:
            async with (
                asyncio.timeout(self._settings.timeout),
                self._session.post(
                    self._url,
                    data=orjson.dumps({"input": {"user": user, "system": system}}),
                    headers={"Content-Type": "application/json", **outgoing()},
                    allow_redirects=False,
                ) as response,
            ):
                allowed = _verdict(response.status, await whole(response.content, _MAX_BYTES))
        except (aiohttp.ClientError, OSError, ValueError, TimeoutError) as error:
            _log.error("the policy cannot be asked: %s", error or type(error).__name__)
            self._metrics.policy_calls.labels("failed").inc()
            raise CommandFailed(Fault.OTHER, _NO_ANSWER) from error
        self._metrics.policy_calls.labels("allowed" if allowed else "denied").inc()
        if not allowed:
            raise AccessDenied(f"Permission denied for user {user} in {system}")
        if len(self._allowed) >= _MAX_REMEMBERED:
            self._allowed.clear()
        self._allowed[user, system] = now + self._settings.remember


@asynccontextmanager
async def connect(settings: Opa, metrics: Metrics | None = None) -> AsyncIterator[Policy]:
    """The policy for as long as the context lasts; nothing is sent before it is asked."""
    context = ssl.create_default_context(cafile=settings.ca_file) if settings.ca_file else True
    connector = aiohttp.TCPConnector(ssl=context)
    async with aiohttp.ClientSession(connector=connector) as session:
        yield Policy(settings, session, metrics or Metrics())


def _verdict(status: int, body: bytes) -> bool:
    """:raises ValueError: this is no verdict"""
    if status != 200:
        raise ValueError(f"it answers {status}")
    answer: Any = orjson.loads(body)
    if not isinstance(answer, dict):
        raise ValueError("it answers no object")
    result = answer.get("result")
    return isinstance(result, dict) and result.get("allow") is True
