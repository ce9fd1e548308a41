"""Where a request comes from, and under which address its client knows this server.

Headers that proxies add are believed only of proxies that are named in the settings: anybody
else could write them, too. Contract: rest-v1 §1.1, config §1 (``server.trusted_proxies``).
"""

from __future__ import annotations

import re
from functools import lru_cache, partial
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from aiohttp import web

_HOST = re.compile(r"[A-Za-z0-9._-]+(:[0-9]{1,5})?|\[[0-9A-Fa-f:.]+\](:[0-9]{1,5})?")


def client_address(request: web.Request, proxies: tuple[str, ...]) -> str:
    """The address of the client, empty if there is none (as on a Unix socket).

    Of ``X-Forwarded-For`` it is the last one that is no trusted proxy's: what stands before
    it was sent by the client itself.
    """
    address = request.remote or ""
    if not proxies:
        return address
    forwarded = ",".join(request.headers.getall("X-Forwarded-For", []))
    for hop in reversed(forwarded.split(",")):
        if not is_within(address, proxies) or _parsed(hop) is None:
            break
        address = hop.strip()
    return address


def public_origin(request: web.Request, proxies: tuple[str, ...]) -> str:
    """Scheme and host of the request as the client made it."""
    scheme, host = request.scheme, request.host
    if is_within(request.remote or "", proxies):
        told = request.headers.get("X-Forwarded-Proto", "")
        scheme = told if told in ("http", "https") else scheme
        told = request.headers.get("X-Forwarded-Host", "")
        host = told if _HOST.fullmatch(told) else host
    return f"{scheme}://{host}"


def is_within(address: str, networks: tuple[str, ...]) -> bool:
    """Whether an address is one of these or in one of these networks."""
    if not networks:  # asked twice for each request, and parsing takes its time
        return False
    parsed = _parsed(address)
    return parsed is not None and any(parsed in _network(network) for network in networks)


#: Networks come from the settings, so there are few.
_network = lru_cache(partial(ip_network, strict=False))


def _parsed(text: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(text.strip())
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address
