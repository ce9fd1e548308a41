"""Connect to the event stream, subscribe, and resume after a cut (Contract: events)."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Callable
from typing import Any

import aiohttp
import orjson

_FIRST_DELAY = 0.5
#: Seconds to wait for the first message, and for a connection that is given up to close.
_PATIENCE = 30.0
_CLOSING = 2.0
#: Heartbeats of the gateway that may be missed: a network that forgets tells nobody.
_MISSED_HEARTBEATS = 3
_LONGEST_DELAY = 10.0
_ENDS = {
    aiohttp.WSMsgType.CLOSE,
    aiohttp.WSMsgType.CLOSING,
    aiohttp.WSMsgType.CLOSED,
    aiohttp.WSMsgType.ERROR,
}
_TOKEN_EXPIRED = 4401
#: Closed for a reason that coming back at once would not change.
_FINAL_CODES = {4429: "too many connections of this user"}
_REFUSED = {400, 401, 403, 404, 426}

Message = dict[str, Any]


class Refused(Exception):
    """The gateway does not want this client; the message says why."""


class Stream:
    """A stream that outlives its connections.

    :param url: origin of the gateway
    :param token: gives the bearer token; asked again for each connection, so that a renewed
        one is found
    :param subscriptions: gives the ``subscribe`` actions without ``action`` and ``ref``; asked
        again for each connection, so that offsets can move on
    :param position: event id to resume after; empty: from now on
    """

    def __init__(
        self,
        url: str,
        token: Callable[[], str],
        subscriptions: Callable[[], list[Message]],
        position: str = "",
    ) -> None:
        self._url = f"{url.rstrip('/')}/events"
        self._token = token
        self._subscriptions = subscriptions
        self.position = position

    async def messages(self) -> AsyncGenerator[Message, None]:
        """Every message, in order; ``{"event": "cut", "reason"}`` tells of a lost connection.

        After a cut the stream goes on behind the last event it saw: none is missing and none
        comes twice. It ends when the consumer stops or with an error.

        :raises Refused: the token is not accepted (any more), or the request is not
        """
        delay = _FIRST_DELAY
        async with aiohttp.ClientSession() as http:
            while True:
                token = self._token()
                reason = ""
                try:
                    async with http.ws_connect(
                        self._url,
                        headers={"Authorization": f"Bearer {token}"},
                        params={"last_event_id": self.position} if self.position else {},
                        max_msg_size=0,
                        timeout=aiohttp.ClientWSTimeout(ws_close=_CLOSING),
                    ) as socket:
                        patience = _PATIENCE
                        for number, wanted in enumerate(self._subscriptions()):
                            action = {"action": "subscribe", "ref": number, **wanted}
                            await socket.send_str(orjson.dumps(action).decode())
                        # the gateway's heartbeats count, too
                        while (frame := await socket.receive(patience)).type not in _ENDS:
                            if frame.type is aiohttp.WSMsgType.TEXT:
                                delay = _FIRST_DELAY
                                message = self._seen(orjson.loads(frame.data))
                                if message["event"] == "hello":
                                    patience = _MISSED_HEARTBEATS * message["heartbeat"]
                                yield message
                        reason = _closed(socket.close_code, renewed=self._token() != token)
                except aiohttp.WSServerHandshakeError as error:
                    if error.status in _REFUSED:
                        raise Refused(f"the gateway answers {error.status}") from error
                    reason = f"the gateway answers {error.status}"
                except TimeoutError:
                    reason = "the gateway is silent"
                except (aiohttp.ClientError, OSError) as error:
                    reason = str(error) or type(error).__name__
                yield {"event": "cut", "reason": reason}
                await asyncio.sleep(delay * random.uniform(0.5, 1.0))  # noqa: S311
                delay = min(2 * delay, _LONGEST_DELAY)

    def _seen(self, message: Message) -> Message:
        if message["event"] == "hello":
            self.position = self.position or message["last_event_id"]
        elif "id" in message:
            self.position = message["id"]
        return message


def _closed(code: int | None, *, renewed: bool) -> str:
    """Why a connection was closed, if it is worth coming back.

    :raises Refused: it is not
    """
    if code == _TOKEN_EXPIRED and not renewed:
        raise Refused("the token has expired")
    if code in _FINAL_CODES:
        raise Refused(_FINAL_CODES[code])
    return f"closed with code {code}"
