"""Who is calling."""

from __future__ import annotations

from msgspec import Struct


class Account(Struct, frozen=True):
    """A user or group of a machine; both are texts."""

    name: str
    id: str


class Identity(Struct, frozen=True):
    """A user of a machine with the groups."""

    user: Account
    group: Account
    groups: tuple[Account, ...]


class Principal(Struct, frozen=True):
    """A user whose token was verified (Contract: auth §2, §3).

    :param user: name on the machines; safe as a certificate principal and path component
    :param issuer: the claim ``iss``
    :param client: the OAuth client (claim ``azp``, else ``clientId``), empty if not told
    :param expires: when the token ends, seconds since 1970
    :param issued: when it was issued (claim ``iat``), 0 if not told
    :param marks: those of the claims ``jti``, ``sid`` and ``sub`` that it has, with their values
    """

    user: str
    issuer: str
    client: str
    expires: float
    issued: float = 0.0
    marks: tuple[tuple[str, str], ...] = ()
