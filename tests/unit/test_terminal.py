"""What ``watch`` shows of the output of jobs (Contract: events §4.6)."""

from __future__ import annotations

from typing import Any

import pytest

from firecrest.client.terminal import Wanted, Watch


class Shown:
    """A terminal, and the stream whose messages it shows."""

    def __init__(self) -> None:
        self.text = ""
        self.watch = Watch(
            wanted=Wanted(jobs=(("here", "7"),), output=True),
            say=lambda _: None,
            remark=lambda _: None,
            write=self._write,
        )

    def _write(self, _: str, text: str) -> None:
        self.text += text

    def output(
        self, offset: int, data: str, *, stream: str = "stdout", merged: bool = False
    ) -> None:
        where = {"system": "here", "jobid": "7", "stream": stream, "merged": merged}
        self.tell({"event": "output", **where, "offset": offset, "data": data, "eof": False})

    def cut(self) -> None:
        self.tell({"event": "cut", "reason": "test"})

    def tell(self, message: dict[str, Any]) -> None:
        self.watch._take(message)

    @property
    def asked(self) -> list[int]:
        """From where each stream is asked for."""
        subscriptions = self.watch._subscriptions()
        return [wanted["output"]["offset"] for wanted in subscriptions if "output" in wanted]


@pytest.fixture
def shown() -> Shown:
    return Shown()


def test_pieces_follow_each_other(shown: Shown) -> None:
    shown.output(0, "one\n")
    shown.output(4, "two\n")
    assert shown.text == "one\ntwo\n"


def test_after_a_cut_nothing_is_shown_twice_and_nothing_is_missing(shown: Shown) -> None:
    shown.output(0, "one\n")
    shown.output(4, "tw\u00f6\n")
    shown.cut()
    assert shown.asked == [4, 0]
    shown.output(4, "tw\u00f6\nthree\n")
    shown.output(15, "four\n")
    assert shown.text == "one\ntw\u00f6\nthree\nfour\n"


def test_output_begun_anew_is_shown_from_its_beginning(shown: Shown) -> None:
    """A requeued job writes into the same file again."""
    shown.output(0, "first run\n")
    shown.output(0, "second run\n")
    shown.cut()
    shown.output(0, "second run\n")
    shown.output(0, "third run\n")
    assert shown.text == "first run\nsecond run\nthird run\n"


def test_each_stream_is_resumed_by_itself(shown: Shown) -> None:
    shown.output(0, "out\n")
    shown.output(0, "err\n", stream="stderr")
    shown.cut()
    shown.output(0, "out\n")
    shown.output(0, "out again\n")
    shown.output(0, "err\nmore\n", stream="stderr")
    assert shown.text == "out\nerr\nout again\nmore\n"


def test_what_goes_to_one_file_is_shown_once(shown: Shown) -> None:
    shown.output(0, "both\n", stream="stderr", merged=True)
    shown.output(0, "both\n", merged=True)
    shown.output(5, "more\n", stream="stderr", merged=True)
    shown.cut()
    shown.output(0, "both\nmore\n", merged=True)
    shown.output(5, "more\n", stream="stderr", merged=True)
    assert shown.text == "both\nmore\n"
