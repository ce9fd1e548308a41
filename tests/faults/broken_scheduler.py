"""A batch system whose module is defective."""

from __future__ import annotations

from typing import Any

SECRET = "an inner detail that is nobody's business"


class Broken:
    def __getattr__(self, name: str) -> Any:
        async def fail(*_: Any, **__: Any) -> Any:
            raise RuntimeError(f"{name}: {SECRET}")

        return fail


def create(_: Any) -> Broken:
    return Broken()
