"""What every object store offers."""

from __future__ import annotations

from typing import Protocol

from firecrest.config.settings import Storage
from firecrest.model.staging import Audience, Form, Key, Staged


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
        """Bytes of the object, None if there is none."""

    async def describe(self, key: Key) -> Staged | None:
        """The object with its checksum, None if there is none."""

    async def delete(self, key: Key) -> None:
        """Remove the object; one that is gone is no error."""

    async def delete_all(self, user: str, task_id: str) -> None:
        """Remove every object of a task; no URL yields anything any more."""

    def reload(self, settings: Storage) -> None:
        """Heed these limits from now on; where the store is does not change."""

    async def ping(self) -> None:
        """Fail unless the store answers."""
