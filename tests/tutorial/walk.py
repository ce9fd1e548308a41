"""One who goes through the tutorial, snippet by snippet, in one language."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from asyncio.subprocess import PIPE, STDOUT
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.harness.waiting import eventually
from tests.tutorial.document import Exchange, exchanges

#: Misprints of the python snippets, which is no Python: (line, what is printed, what is meant).
MISPRINTS = (
    (151, "'/home/test1\n", "'/home/test1'\n"),
    (327, "open(filename, 'rb')\n", "open(local_path, 'rb')}\n"),
    (
        361,
        "taskid = 9d9c69b640cfd1cccffb76e1b7297a98",
        "taskid = '9d9c69b640cfd1cccffb76e1b7297a98'",
    ),
    (
        441,
        "taskid = babda2e02fc654f4e2513595525e4fb4",
        "taskid = 'babda2e02fc654f4e2513595525e4fb4'",
    ),
    (
        631,
        "taskid = a78c226e2e17ea05ef1d72a812648145",
        "taskid = 'a78c226e2e17ea05ef1d72a812648145'",
    ),
    (
        714,
        "taskid = a78c226e2e17ea05ef1d72a812648145",
        "taskid = 'a78c226e2e17ea05ef1d72a812648145'",
    ),
    (
        740,
        "taskid = a78c226e2e17ea05ef1d72a812648145",
        "taskid = 'a78c226e2e17ea05ef1d72a812648145'",
    ),
    (795, "sourcePath = /home/test1/new-dir/file", "sourcePath = '/home/test1/new-dir/file'"),
    (
        820,
        "taskid = c958b5901cb7229ef15d9ae0e93e6d8b",
        "taskid = 'c958b5901cb7229ef15d9ae0e93e6d8b'",
    ),
)
#: The end of each python snippet, which shows what the text says of ``response``.
SHOW = "\nprint(response.text, end='')\n"
_MAX_LINE = 64 * 1024 * 1024
#: Runs python snippets, each a line of JSON, in one process: its start is what takes time.
RUNNER = """
import contextlib, io, json, sys
import requests
for line in sys.stdin:
    shown = io.StringIO()
    with contextlib.redirect_stdout(shown):
        exec(json.loads(line), {"requests": requests})
    print(json.dumps(shown.getvalue()), flush=True)
"""


class Walk:
    """One who goes through the tutorial in one language.

    :param replaced: what is put in the place of addresses, paths and ids, longest first
    """

    def __init__(self, language: str, settings: dict[str, str], directory: Path) -> None:
        self._language = language
        self._settings = settings
        self._directory = directory
        self._left = exchanges()
        self._runner: asyncio.subprocess.Process | None = None
        self.replaced: dict[str, str] = {}
        self.exchange = self._left[0]

    def next(self, line: int) -> Exchange:
        """Go on to the next exchange, which is the one at this line."""
        self._left.pop(0)
        self.exchange = self._left[0]
        assert self.exchange.line == line
        return self.exchange

    @property
    def over(self) -> bool:
        return len(self._left) == 1

    def put(self, text: str) -> str:
        """A printed text with what is replaced."""
        for printed in sorted(self.replaced, key=len, reverse=True):
            text = text.replace(printed, self.replaced[printed])
        return text

    def printed(self, number: int = 0) -> Any:
        """An answer as it is printed below the request."""
        return json.loads(self.put(self.exchange.answers[number]))

    async def say(self, edit: Callable[[str], str] = str, language: str = "") -> str:
        """Run the snippet; what is answered.

        :param edit: what the text asks the reader to change
        """
        language = language or self._language
        snippet = self.exchange.snippets[language]
        if language == "bash":
            return await self._run("bash", "-c", edit(self.put(f"{snippet} -s")))
        for line, wrong, right in MISPRINTS:
            if 0 <= line - self.exchange.line <= 10 and wrong in f"{snippet}\n":
                snippet = f"{snippet}\n".replace(wrong, right)
        settings = "".join(f"{name} = {value!r}\n" for name, value in self._settings.items())
        return await self._interpret(f"{settings}{edit(self.put(snippet))}{SHOW}")

    async def told(self, edit: Callable[[str], str] = str) -> Any:
        """The JSON of the answer."""
        return json.loads(await self.say(edit))

    async def task(self, status: str, edit: Callable[[str], str] = str) -> Any:
        """The answer of a poll, once the task has this status."""

        async def look() -> Any:
            answer = await self.told(edit)
            return answer if answer["task"]["status"] == status else None

        return await eventually(look, f"the task of line {self.exchange.line} is {status}")

    async def end(self) -> None:
        """End what runs the snippets."""
        if self._runner is not None:
            assert self._runner.stdin is not None
            self._runner.stdin.close()
            assert await self._runner.wait() == 0

    async def _interpret(self, program: str) -> str:
        if self._runner is None:
            self._runner = await asyncio.create_subprocess_exec(
                *(sys.executable, "-c", RUNNER),
                stdin=PIPE,
                stdout=PIPE,
                cwd=self._directory,
                limit=_MAX_LINE,
            )
        assert self._runner.stdin is not None
        assert self._runner.stdout is not None
        self._runner.stdin.write(json.dumps(program).encode() + b"\n")
        async with asyncio.timeout(60):
            line = await self._runner.stdout.readline()
        assert line, f"it failed:\n{program}"
        shown: str = json.loads(line)
        return shown

    async def _run(self, *words: str) -> str:
        process = await asyncio.create_subprocess_exec(
            *words,
            stdout=PIPE,
            stderr=STDOUT,
            cwd=self._directory,
            env={**os.environ, **self._settings},
        )
        async with asyncio.timeout(60):
            said, _ = await process.communicate()
        assert process.returncode == 0, said.decode()
        return said.decode()
