"""The demo's store answers what browsers ask before a page may use it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from wsgiref.types import StartResponse, WSGIEnvironment

from scripts.embedded.pages import filter_factory

ORIGIN = "http://127.0.0.1:8000"


def store(environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
    """Says no, and admits one page by itself."""
    start("403 Forbidden", [("access-control-allow-origin", ORIGIN), ("ETag", '"x"')])
    return [environ["REQUEST_METHOD"].encode()]


def asked(method: str, **headers: str) -> tuple[str, list[tuple[str, str]], bytes]:
    answers: list[tuple[str, list[tuple[str, str]]]] = []

    def start(status: str, told: list[tuple[str, str]], _: Any = None) -> Any:
        answers.append((status, told))

    environ = {"REQUEST_METHOD": method, **{f"HTTP_{name}": v for name, v in headers.items()}}
    body = b"".join(filter_factory({})(store)(environ, start))
    ((status, told),) = answers
    return status, told, body


def test_a_browser_may_send_what_it_asks_to_send() -> None:
    status, told, body = asked(
        "OPTIONS",
        ORIGIN=ORIGIN,
        ACCESS_CONTROL_REQUEST_METHOD="PUT",
        ACCESS_CONTROL_REQUEST_HEADERS="content-type",
    )
    assert (status, body) == ("200 OK", b"")
    assert dict(told)["Access-Control-Allow-Origin"] == "*"
    assert "PUT" in dict(told)["Access-Control-Allow-Methods"]
    assert dict(told)["Access-Control-Allow-Headers"] == "content-type"


def test_a_page_sees_the_answer_and_the_tag() -> None:
    status, told, body = asked("PUT", ORIGIN=ORIGIN)
    assert (status, body) == ("403 Forbidden", b"PUT")
    assert [v for name, v in told if name.lower() == "access-control-allow-origin"] == ["*"]
    assert dict(told)["Access-Control-Expose-Headers"] == "ETag"


def test_others_are_answered_as_ever() -> None:
    for method in ("OPTIONS", "PUT"):
        assert asked(method)[1] == [("access-control-allow-origin", ORIGIN), ("ETag", '"x"')]
    assert asked("OPTIONS", ORIGIN=ORIGIN)[2] == b"OPTIONS"
