"""Drives the public client: runs in its own virtual environment, told what to do line by line.

Each line on standard input is a JSON object: ``call`` names a method (of the client, or of the
object ``on`` that an earlier call returned) and ``args`` holds its arguments; ``read`` names a
property. The answer is one line: ``{"result": …}``, or ``{"object": <number>}`` for what is no
JSON, or ``{"raised": [<class>, <text>]}``.
"""

import asyncio
import importlib
import inspect
import json
import sys
from typing import Any


class Authorization:
    """What the client asks for its token."""

    def __init__(self, token: str) -> None:
        self._token = token

    def get_access_token(self) -> str:
        return self._token


def client_class(kind: str) -> Any:
    """The class of either generation of the package; from version 3 on it is in ``v1``."""
    try:
        package = importlib.import_module("firecrest.v1")
    except ModuleNotFoundError:
        package = importlib.import_module("firecrest")
    return getattr(package, kind)


def main() -> None:
    kind, url, token = sys.argv[1:]
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    cls = client_class(kind)
    if kind == "AsyncFirecrest":

        async def make() -> Any:
            return cls(firecrest_url=url, authorization=Authorization(token))

        objects: list[Any] = [loop.run_until_complete(make())]
    else:
        objects = [cls(firecrest_url=url, authorization=Authorization(token))]
    for line in sys.stdin:
        told = json.loads(line)
        target = objects[told.get("on", 0)]
        try:
            if "methods" in told:
                names = [name for name, _ in inspect.getmembers(cls, inspect.isfunction)]
                result: Any = [name for name in names if not name.startswith("_")]
            elif "read" in told:
                result = getattr(target, told["read"])
            else:
                result = getattr(target, told["call"])(**told.get("args", {}))
            if inspect.isawaitable(result):
                result = loop.run_until_complete(_awaited(result))
            answer: dict[str, Any] = {"result": result}
            text = json.dumps(answer)
        except TypeError as error:
            if "not JSON serializable" not in str(error):
                text = json.dumps({"raised": [type(error).__name__, str(error)]})
            else:
                objects.append(result)
                text = json.dumps({"object": len(objects) - 1})
        except Exception as error:  # noqa: BLE001  whatever the client raises is an answer
            text = json.dumps({"raised": [type(error).__name__, str(error)]})
        sys.stdout.write(text + "\n")
        sys.stdout.flush()


async def _awaited(result: Any) -> Any:
    return await result


if __name__ == "__main__":
    main()
