"""What every object store offers."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Protocol

from firecrest.config.settings import Storage
from firecrest.model.staging import Audience, Form, Key, Part, Staged, StagedPart


class Store(Protocol):
    """One object store. Every method may raise ``StagingFailed``."""

    @property
    def technology(self) -> str:
        """Its name in task data, e.g. ``Amazon S3 - Signature v4``."""

    async def prepare(self, user: str) -> None:
        """Make the user's bucket, with expiry of what is in it."""

    async def upload_form(self, key: Key) -> Form:
        """A form by which a client uploads the object."""

    async def get_url(self, key: Key, audience: Audience) -> str:
        """A URL that yields the object to an anonymous GET."""

    async def put_url(self, key: Key) -> str:
        """A URL by which the machine uploads the object."""

    async def size(self, key: Key) -> int | None:
        """Bytes of the object, None if there is none now."""

    async def arrived(self, key: Key) -> int | None:
        """The same as :meth:`size`, up to a second late: for who asks for many, again and again."""

    async def describe(self, key: Key) -> Staged | None:
        """The object with its checksum, None if there is none; as :meth:`arrived` has just told."""

    async def delete(self, key: Key) -> None:
        """Remove the object; one that is gone is no error."""

    async def delete_all(self, user: str, task_id: str) -> None:
        """Remove every object of a task; no URL yields anything any more."""

    def reload(self, settings: Storage, origins: Collection[str]) -> None:
        """Heed these limits from now on; where the store is does not change.

        :param origins: of web pages that may use presigned URLs
        """

    async def ping(self) -> None:
        """Fail unless the store answers."""

    @property
    def in_parts(self) -> InParts:
        """How objects are made of parts."""


class InParts(Protocol):
    """Objects that are sent in parts. Every method may raise ``StagingFailed``.

    Until it is completed such an object is no object, and its parts are to be had by nobody.
    """

    async def begin(self, key: Key) -> str | None:
        """What the new upload is called; None if the store knows no parts."""

    async def urls(
        self, key: Key, upload: str, parts: list[Part], audience: Audience
    ) -> dict[int, str]:
        """For each part a URL that takes as many bytes as the part has."""

    async def there(self, key: Key, upload: str) -> dict[int, StagedPart] | None:
        """The parts that have arrived, by number; None if there is no such upload (any more)."""

    async def complete(self, key: Key, upload: str, parts: Mapping[int, StagedPart]) -> bool:
        """Make them the object; whether there was such an upload."""

    async def abort(self, key: Key, upload: str) -> None:
        """Forget an upload and its parts; one that is gone is no error."""
