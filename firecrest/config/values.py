"""Kinds of values that appear in the settings: secrets, addresses, origins, versions."""

from __future__ import annotations

import re
from collections.abc import Callable
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from marshmallow import ValidationError, fields, validate
from msgspec import Struct

_ADDRESS = re.compile(
    r"(?:\[(?P<ipv6>[0-9A-Fa-f:.]+(?:%\w+)?)\]|(?P<host>[A-Za-z0-9_](?:[A-Za-z0-9._-]*)))"
    r"(?::(?P<port>[0-9]{1,5}))?"
)
_VERSION = re.compile(  # PEP 440 in its canonical spelling
    r"(?:[0-9]+!)?(?P<release>[0-9]+(?:\.[0-9]+)*)(?P<pre>(?:a|b|rc)[0-9]+)?"
    r"(?:\.post[0-9]+)?(?P<dev>\.dev[0-9]+)?(?:\+[a-z0-9]+(?:[._-][a-z0-9]+)*)?"
)
_OLDEST_VERSION = (1, 16)


class Secret:
    """A text that shows itself only when asked: never in ``repr``, logs or messages."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The text itself."""
        return self._text

    def __bool__(self) -> bool:
        return bool(self._text)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._text == other._text

    def __hash__(self) -> int:
        return hash(self._text)

    def __repr__(self) -> str:
        return "Secret('…')" if self._text else "Secret('')"


class Address(Struct, frozen=True):
    """Where a server listens; ``host`` of an IPv6 address has no brackets."""

    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


class SecretField(fields.String):
    """A text loaded as :class:`Secret`."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> Any:
        return Secret(super()._deserialize(value, *args, **kwargs))


class PathField(fields.String):
    """A path loaded as :class:`~pathlib.Path`; whoever loads it makes it absolute."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> Any:
        text = super()._deserialize(value, *args, **kwargs)
        if not text or "\0" in text:
            raise ValidationError("Not a valid path.")
        return Path(text)


class AddressField(fields.String):
    """``host[:port]`` or ``[IPv6][:port]`` loaded as :class:`Address`.

    :param port: what a missing port means
    """

    def __init__(self, *, port: int = 22, **options: Any) -> None:
        super().__init__(**options)
        self._port = port

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> Any:
        text = super()._deserialize(value, *args, **kwargs)
        match = _ADDRESS.fullmatch(text)
        port = int(match["port"] or self._port) if match else 0
        if match is None or not 0 < port < 65536:
            raise ValidationError("Not host, host:port, [IPv6] or [IPv6]:port.")
        return Address(match["ipv6"] or match["host"], port)


class Whole(fields.Integer):
    """An integer, or the text of one; a fraction is refused instead of being cut off."""

    def _validated(self, value: Any) -> int:
        if isinstance(value, float):
            raise self.make_error("invalid", input=value)
        return super()._validated(value)


def whole(minimum: int, maximum: int | None = None) -> Whole:
    """An integer within bounds, both included."""
    return Whole(validate=validate.Range(min=minimum, max=maximum))


def seconds(*, zero: bool = False) -> fields.Float:
    """A duration in seconds, fractions allowed.

    :param zero: whether 0 is allowed
    """
    return fields.Float(validate=validate.Range(min=0, min_inclusive=zero))


def at_most(longest: float) -> fields.Float:
    """Seconds from none to so many."""
    return fields.Float(validate=validate.Range(min=0, max=longest))


def rate(least: float) -> fields.Float:
    """A number per second, at least so many."""
    return fields.Float(validate=validate.Range(min=least))


def text(rule: Callable[[str], Any] | None = None) -> fields.String:
    """A text, possibly empty; ``rule`` is asked only if it is not."""
    return fields.String(validate=(lambda value: rule(value) if value else None) if rule else None)


def required_text(rule: Callable[[str], Any] | None = None) -> fields.String:
    """A text that is not empty."""
    return fields.String(validate=[validate.Length(min=1), *([rule] if rule else [])])


def origin(value: str) -> None:
    """Check ``scheme://host[:port]``: no path, not even a slash, no user, no query."""
    try:
        parts = urlsplit(value)
        whole_value = f"{parts.scheme}://{parts.netloc}" == value and parts.port != 0
    except ValueError:
        parts, whole_value = None, False
    if (
        parts is None
        or not whole_value
        or parts.scheme not in ("http", "https")
        or not parts.hostname
        or "@" in parts.netloc
        or not value.isprintable()
        or " " in value
    ):
        raise ValidationError("Not an origin like https://host:port without path or final slash.")


def is_loopback(host: str) -> bool:
    """Whether a server that listens there is reached from its own machine only."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def secure_url(value: str) -> None:
    """Check for a URL that nobody on the way can answer in the place of its host."""
    try:
        parts = urlsplit(value)
    except ValueError:
        raise ValidationError("Not an https URL.") from None
    local = parts.hostname in {"localhost", "127.0.0.1", "::1"}
    if not (parts.hostname and (parts.scheme == "https" or (parts.scheme == "http" and local))):
        raise ValidationError("Not an https URL.")


def cors_origin(value: str) -> None:
    """Check an origin, or ``*`` for any."""
    if value != "*":
        origin(value)


def version(value: str) -> None:
    """Check a version as clients parse it: PEP 440, not older than 1.16.0."""
    match = _VERSION.fullmatch(value)
    if match is None:
        raise ValidationError("Not a version after PEP 440.")
    release = tuple(int(part) for part in match["release"].split("."))
    while release and release[-1] == 0:
        release = release[:-1]
    preview = release == _OLDEST_VERSION and (match["pre"] or match["dev"])
    if "!" not in value and (release < _OLDEST_VERSION or preview):
        raise ValidationError("Older than 1.16.0: clients would fall back to older answers.")


def pattern(value: str) -> None:
    """Check a regular expression."""
    try:
        re.compile(value)
    except re.error as error:
        raise ValidationError(f"Not a valid regular expression: {error.msg}.") from None


def directive(value: str) -> None:
    """Check that a text can stand between quotes in a directive of a batch script."""
    if not value.isprintable() or set('"\\') & set(value):
        raise ValidationError("Quotes, backslashes and control characters are not allowed.")


def network(value: str) -> None:
    """Check one address or network."""
    try:
        ip_network(value, strict=False)
    except ValueError:
        raise ValidationError("Not an address or a network.") from None


def networks(value: str) -> None:
    """Check addresses or networks joined by commas, as OpenSSH wants them."""
    try:
        for part in value.split(","):
            ip_network(part.strip(), strict=False)
    except ValueError:
        raise ValidationError("Not a list of addresses or networks joined by commas.") from None
