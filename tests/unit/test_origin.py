"""Forwarded headers are believed of trusted proxies only."""

from __future__ import annotations

import pytest
from aiohttp.test_utils import make_mocked_request

from firecrest.api.http.origin import client_address, public_origin

PROXIES = ("10.0.0.0/8", "::1")


def asked(remote: str, headers: list[tuple[str, str]]) -> tuple[str, str]:
    """Address and origin of a request from ``remote``."""
    from multidict import CIMultiDict

    sent = CIMultiDict([("Host", "direct.example"), *headers])
    request = make_mocked_request("GET", "/", headers=sent).clone(remote=remote)
    return client_address(request, PROXIES), public_origin(request, PROXIES)


FORWARDED = [("X-Forwarded-Proto", "https"), ("X-Forwarded-Host", "api.example:8443")]


@pytest.mark.parametrize("remote", ["10.1.2.3", "::1", "::ffff:10.1.2.3"])
def test_a_trusted_proxy_is_believed(remote: str) -> None:
    headers = [*FORWARDED, ("X-Forwarded-For", "192.0.2.7")]
    assert asked(remote, headers) == ("192.0.2.7", "https://api.example:8443")


@pytest.mark.parametrize("remote", ["192.0.2.1", "::2", "11.0.0.1"])
def test_nobody_else_is(remote: str) -> None:
    headers = [*FORWARDED, ("X-Forwarded-For", "192.0.2.7")]
    assert asked(remote, headers) == (remote, "http://direct.example")


def test_what_the_client_wrote_before_the_proxies_does_not_count() -> None:
    headers = [("X-Forwarded-For", "10.9.9.9, 1.1.1.1"), ("X-Forwarded-For", "192.0.2.7, 10.0.0.2")]
    assert asked("10.0.0.1", headers)[0] == "192.0.2.7"


@pytest.mark.parametrize("spoiled", ["", "unknown", "192.0.2.7:80", "a\tb", "1.2.3"])
def test_what_is_no_address_is_left_out(spoiled: str) -> None:
    assert asked("10.0.0.1", [("X-Forwarded-For", spoiled)])[0] == "10.0.0.1"


@pytest.mark.parametrize("spoiled", ["a/b", "a b", "user@host", "h\u00f6st", "", "[::1", 'x"'])
def test_what_is_no_host_is_left_out(spoiled: str) -> None:
    headers = [("X-Forwarded-Host", spoiled), ("X-Forwarded-Proto", "javascript")]
    assert asked("10.0.0.1", headers)[1] == "http://direct.example"
