"""Requests that make one task however often they are sent (Contract: events §6)."""

from __future__ import annotations

from msgspec import Struct

#: Seconds for which a client's key gets its first receipt again (Contract: events §6).
RECEIPT_LIFE = 86_400


class Once(Struct, frozen=True):
    """The mark of a request that makes one task however often it is sent.

    :param key: digest of the client's key and the route, the same for each repetition
    :param request: digest of all that decides the work; a repetition has the same
    """

    key: str
    request: str


class Earlier(Struct, frozen=True):
    """The task that a request with the same key has made before.

    :param request: that request's digest
    """

    task_id: str
    request: str

    @classmethod
    def of(cls, receipt: bytes) -> Earlier:
        """Read what was kept as the receipt."""
        task_id, _, request = receipt.decode().partition(" ")
        return cls(task_id, request)


class Repeated(Exception):
    """A task was not created, because an earlier request with the same key made one."""

    def __init__(self, earlier: Earlier) -> None:
        super().__init__(earlier.task_id)
        self.earlier = earlier
