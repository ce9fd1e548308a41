"""Requests that become tasks, each once however often it is sent (Contract: events §6)."""

from __future__ import annotations

import re
from hashlib import sha256
from typing import Any

from msgspec import to_builtins

from firecrest.api.http.call import Call
from firecrest.api.http.endpoint import Header, Refusal
from firecrest.api.task_view import receipt
from firecrest.errors import TaskStoreUnavailable
from firecrest.model.tasks import Kind
from firecrest.tasks.receipts import Earlier, Once, Repeated

_HEADER = "Idempotency-Key"
#: What requests that become tasks heed.
HEADERS = {
    _HEADER: Header(
        "A key of the client's: repeating the request makes no second task.",
        "1c7f0a52-run-3",
    )
}
_KEY = re.compile(r"[\x20-\x7e]{1,255}")


class Creation:
    """How one request becomes a task.

    :param once: its mark, None if the client sent no key
    :param failed: the body of the answer if the task store cannot be used
    """

    def __init__(self, call: Call, once: Once | None, failed: dict[str, str]) -> None:
        self._call = call
        self._once = once
        self._failed = failed

    async def look_up(self) -> None:
        """Answer a repeated request at once, whatever has become of the machine meanwhile.

        :raises Refusal: the first receipt again, or why the key cannot be used
        """
        if self._once is None:
            return
        try:
            earlier = await self._call.parts.tasks.earlier(self._call.user, self._once)
        except TaskStoreUnavailable as error:
            raise Refusal(400, self._failed) from error
        if earlier is not None:
            raise self._repeated(earlier)

    async def create(
        self, kind: Kind, spec: Any, blob: bytes = b"", *, system: str | None = None
    ) -> dict[str, Any]:
        """Make the task and give its receipt.

        :param spec: the workflow's spec, a value
        :param system: where its work is done, None for the machine that the request names
        :raises Refusal: no task was made, or an equal request was faster
        """
        call = self._call
        try:
            task = await call.parts.engine.create(
                kind,
                user=call.user,
                system=system or call.machine.system.name,
                spec=to_builtins(spec),
                blob=blob,
                once=self._once,
            )
        except TaskStoreUnavailable as error:
            raise Refusal(400, self._failed) from error
        except Repeated as repeated:
            raise self._repeated(repeated.earlier) from repeated
        call.parts.seen.begin(call.user, call.principal.client, task.id)
        return receipt(task.id, call.public_url)

    def _repeated(self, earlier: Earlier) -> Refusal:
        """The answer to a key that was used before."""
        if self._once is None or earlier.request != self._once.request:
            error = f"The {_HEADER} was used for another request"
            return Refusal(422, {**_described(self._call), "error": error})
        body = receipt(earlier.task_id, self._call.public_url)
        return Refusal(self._call.endpoint.status, body, {"Idempotent-Replayed": "true"})


async def begin(call: Call, *content: str | bytes | None, failed: dict[str, str]) -> Creation:
    """Read the key of a request that is to become a task, and answer it if it is repeated.

    :param content: all values of the request that decide what the task does, always in the
        same order; the machine is added
    :param failed: the body of the answer if the task store cannot be used
    :raises Refusal: the key is malformed or was used for another request, or this is the
        answer
    :raises TooManyTasks: the caller has to wait
    """
    creation = Creation(call, _once(call, content), failed)
    await creation.look_up()
    call.parts.engine.admit(call.user)
    return creation


def _once(call: Call, content: tuple[str | bytes | None, ...]) -> Once | None:
    key = call.request.headers.get(_HEADER)
    if key is None:
        return None
    if not _KEY.fullmatch(key):
        error = f"The {_HEADER} must be 1 to 255 printable ASCII characters"
        raise Refusal(400, {**_described(call), "error": error})
    route = f"{call.endpoint.method} {call.endpoint.path}"
    return Once(_digest(route, key), _digest(call.machine.system.name, *content))


def _described(call: Call) -> dict[str, str]:
    return {"description": call.endpoint.on_error} if call.endpoint.on_error else {}


def _digest(*values: str | bytes | None) -> str:
    """A digest that no two different lists of values share."""
    whole = sha256()
    for value in values:
        if value is None:
            whole.update(b"-")
            continue
        raw = value.encode("utf-8", "surrogateescape") if isinstance(value, str) else value
        whole.update(b"%d:" % len(raw))
        whole.update(raw)
    return whole.hexdigest()
