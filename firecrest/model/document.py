"""The task resource as JSON text, written once at each transition (Contract: tasks §1).

Lists, single views and events all send this text as it is; nobody decodes and encodes it
again. Only ``task_url`` is put in front when it is sent, because it depends on the address
by which a client knows the server.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import orjson
from msgspec import Struct

from firecrest.errors import CommandFailed, Fault
from firecrest.model.tasks import Status, Task

#: Bytes of the largest document, but for its times. A list of jobs is three times as long as what
#: the batch system prints of them, of which 5 MB are read unless the site wants more.
MAX_DOCUMENT = 20 * 1024 * 1024

# What is stored: end of life (10 digits, seconds since 1970), version (6 digits), then the
# JSON object, which begins {"hash_id":"<32 digits>","status":"<3 digits>",
_EXPIRES = slice(0, 10)
_VERSION = slice(10, 16)
_FIELDS = slice(17, None)
_ID = slice(28, 60)
_STATUS = slice(72, 75)


class Document(Struct, frozen=True):
    """A task as clients see it, at one moment; never changed. Comparison is by content."""

    stored: bytes

    @property
    def id(self) -> str:
        """32 lower-case hex digits."""
        return self.stored[_ID].decode()

    @property
    def status(self) -> Status:
        return Status(self.stored[_STATUS].decode())

    @property
    def expires(self) -> int:
        """When its life is over, seconds since 1970."""
        return int(self.stored[_EXPIRES])

    @property
    def version(self) -> int:
        """Number of transitions so far, from 1."""
        return int(self.stored[_VERSION])

    def json(self, public_url: str) -> bytes:
        """The whole resource; ``public_url`` is the origin for ``task_url``."""
        return _with_url(self.stored, _escaped(public_url))

    def decoded(self, public_url: str) -> dict[str, Any]:
        """The whole resource as a value."""
        value: dict[str, Any] = orjson.loads(self.json(public_url))
        return value


def listing(members: Iterable[bytes]) -> bytes:
    """The answer that holds resources by task id (Contract: rest-v1 §9).

    :param members: of the object, ``"<id>":<resource>``
    """
    parts = [*members] or [b""]
    # a text of a megabyte is not copied once more
    parts[0] = b'{"tasks":{' + parts[0]
    parts[-1] += b"}}"
    return b",".join(parts)


def members(documents: Iterable[Document], public_url: str) -> Iterator[bytes]:
    """A member for each document."""
    url = _escaped(public_url)
    stored = [document.stored for document in documents]
    ids = [text[_ID] for text in stored]
    rest = [text[_FIELDS] for text in stored]
    row = b'"%%b":{"task_url":"%b/tasks/%%b",%%b' % url.replace(b"%", b"%%")
    return map(row.__mod__, zip(ids, ids, rest, strict=True))


def living(stored: Iterable[bytes | None], now: float) -> list[Document]:
    """Those of the stored texts that exist and whose life is not over at ``now``."""
    limit = b"%010d" % int(now)
    return [Document(text) for text in stored if text is not None and text[_EXPIRES] > limit]


def head(task: Task) -> bytes:
    """The document up to its times, which the store adds by its own clock.

    :raises CommandFailed: ``OUTPUT_LIMIT``; what was found is too much to be kept
    :raises TypeError: JSON cannot hold its data
    """
    resource = {
        "hash_id": task.id,
        "status": task.status,
        "task_id": task.id,
        "user": task.user,
        "service": task.kind.service,
        "system": task.system,
        "description": task.status.description,
        "data": task.data,
    }
    text = orjson.dumps(resource)
    if len(text) > MAX_DOCUMENT:
        message = f"Command output exceeded buffer limit ({MAX_DOCUMENT})"
        raise CommandFailed(Fault.OUTPUT_LIMIT, message)
    return text[:-1] + b","


def _with_url(stored: bytes, url: bytes) -> bytes:
    return b'{"task_url":"%b/tasks/%b",%b' % (url, stored[_ID], stored[_FIELDS])


def _escaped(text: str) -> bytes:
    """A text as it stands between the quotes of a JSON string."""
    return orjson.dumps(text)[1:-1]
