"""The event stream as an AsyncAPI document (AsyncAPI 3.0), from what its messages are made of
and its actions are checked by."""

from __future__ import annotations

import inspect
from typing import Any

from firecrest import __version__
from firecrest.api.events.asked import End, EventsQuery, Renew
from firecrest.api.events.session import CHANNELS
from firecrest.api.events.told import (
    ErrorMessage,
    GapMessage,
    Hello,
    Ref,
    Renewed,
    Subscribed,
    Unsubscribed,
)
from firecrest.api.events.websocket import PROTOCOL, REASONS
from firecrest.api.http.counting import EVENTS_PATH
from firecrest.api.openapi.shapes import Schema, Shapes, example, form

_ABOUT = f"""\
Transitions of tasks, changes of batch jobs and what these write, pushed to their owner.

`GET {EVENTS_PATH}` is a websocket (subprotocol `{PROTOCOL}`), or, with \
`Accept: text/event-stream`, the same messages as server-sent events of all tasks: `id:` is the \
event id to resume from, `event:` the kind, `data:` the message. Scripts send \
`Authorization: Bearer <token>`; browsers offer `bearer.<token>` as a second subprotocol. All \
channels share one connection."""
#: The channel of what concerns the connection as a whole.
_CONNECTION = "connection"
#: Actions besides subscribing: what they are, and the answer.
_ACTIONS = {
    "unsubscribe": ("unsubscribe", End, Unsubscribed),
    "renew_token": ("token", Renew, Renewed),
}


def describe_stream() -> dict[str, Any]:
    """The document."""
    stream = _Stream()
    for told in (Hello, GapMessage, ErrorMessage):
        stream.tell(_CONNECTION, told)
    for name, (action, asked, answer) in _ACTIONS.items():
        stream.ask(_CONNECTION, name, action, asked, answer)
    for key, offer in CHANNELS.items():
        stream.tell(key, offer.tells)
        stream.ask(key, f"subscribe_{key}", "subscribe", offer.asked, Subscribed)
    return stream.document()


class _Stream:
    """The document, as it is made."""

    def __init__(self) -> None:
        self._shapes = Shapes()
        self._messages: dict[str, Any] = {}
        self._channels: dict[str, dict[str, Any]] = {}
        self._operations: dict[str, Any] = {}

    def tell(self, channel: str, told: type[Any]) -> None:
        """The server sends these messages on a channel."""
        name = self._told(channel, told)
        self._operations[f"tell_{name}"] = {
            "action": "send",
            "channel": _channel(channel),
            "summary": self._messages[name]["summary"],
            "messages": [_message(channel, name)],
        }

    def ask(
        self, channel: str, name: str, action: str, asked: type[Any], answer: type[Any]
    ) -> None:
        """A client sends an action on a channel, and is answered."""
        keys = form(asked)
        payload: Schema = {
            "type": "object",
            "properties": {
                "action": {"const": action},
                "ref": self._shapes.of(Ref),
                **keys["properties"],
            },
            "required": ["action", *keys.get("required", ())],
        }
        self._add(channel, name, payload, asked)
        answers = [self._told(channel, answer), self._told(channel, ErrorMessage)]
        self._operations[f"take_{name}"] = {
            "action": "receive",
            "channel": _channel(channel),
            "summary": self._messages[name]["summary"],
            "messages": [_message(channel, name)],
            "reply": {
                "channel": _channel(channel),
                "messages": [_message(channel, answer) for answer in answers],
            },
        }

    def document(self) -> dict[str, Any]:
        return {
            "asyncapi": "3.0.0",
            "info": {
                "title": "FirecREST events",
                "version": __version__,
                "description": _ABOUT,
                "license": {"name": "BSD-3-Clause"},
            },
            "defaultContentType": "application/json",
            "channels": self._channels,
            "operations": self._operations,
            "components": {
                "messages": self._messages,
                "schemas": dict(sorted(self._shapes.named.items())),
                "securitySchemes": {
                    "token": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}
                },
            },
        }

    def _told(self, channel: str, told: type[Any]) -> str:
        """Make a message of the server's known on a channel; its name."""
        reference = self._shapes.of(told)
        name: str = self._shapes.named[told.__name__]["properties"]["event"]["enum"][0]
        self._add(channel, name, reference, told)
        return name

    def _add(self, channel: str, name: str, payload: Schema, about: type[Any]) -> None:
        self._messages[name] = {
            "name": name,
            "summary": " ".join((inspect.getdoc(about) or "").split()),
            "payload": payload,
            "examples": [{"payload": example(payload, self._shapes.named)}],
        }
        made = self._channels.setdefault(channel, _open_channel(channel))
        made["messages"][name] = {"$ref": f"#/components/messages/{name}"}


def _open_channel(name: str) -> dict[str, Any]:
    channel: dict[str, Any] = {
        "address": EVENTS_PATH,
        "description": _described(name),
        "messages": {},
        "bindings": {"ws": {"method": "GET", "query": form(EventsQuery)}},
    }
    if name == _CONNECTION:
        channel["x-close-codes"] = {
            str(int(code)): reason.decode() for code, reason in sorted(REASONS.items())
        }
    return channel


def _described(channel: str) -> str:
    if channel == _CONNECTION:
        return "What concerns the connection as a whole."
    return inspect.getdoc(CHANNELS[channel].asked) or ""


def _channel(name: str) -> dict[str, str]:
    return {"$ref": f"#/channels/{name}"}


def _message(channel: str, name: str) -> dict[str, str]:
    return {"$ref": f"#/channels/{channel}/messages/{name}"}
