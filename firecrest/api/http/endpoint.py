"""Endpoints as values: one row each, declared beside the handler.

The router, ``firecrest-server routes`` and the tests read the same rows.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from msgspec import Struct, field

if TYPE_CHECKING:
    from firecrest.api.http.call import Call


class Reply(Struct, frozen=True):
    """What a handler answers.

    :param body: a JSON value, ready bytes, or None for no body at all
    """

    status: int
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    content_type: str = "application/json"


class Refusal(Exception):
    """An answer that ends the request where it stands."""

    def __init__(self, status: int, body: Any, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(status)
        self.reply = Reply(status, body, headers or {})


class Header(Struct, frozen=True):
    """A header, as it is described.

    :param about: its meaning
    """

    about: str
    example: str
    required: bool = False


class Failing(Struct, frozen=True):
    """One way in which requests fail, as it is described.

    :param name: of its example
    :param about: when it happens
    :param reply: what is then answered
    """

    name: str
    about: str
    reply: Callable[[Endpoint], Reply]


Handler = Callable[["Call", Any], Awaitable[Any]]
Declare = Callable[[Handler], Handler]


class Family(Struct, frozen=True, kw_only=True):
    """What the endpoints of one service have in common (Contract: rest-v1 §2.1, §4.5).

    :param machine: whether ``X-Machine-Name`` is required, optional, or not used
    :param unknown_error: ``error`` of the answer to an unknown machine
    :param unknown_description: its ``description``; None means the endpoint's ``on_error``
    :param denied_status: status where the machine refuses the user
    :param answer: type of the body of success, unless an endpoint says otherwise
    """

    name: str
    machine: str = "none"
    unknown_error: str = "Machine does not exists"
    unknown_description: str | None = None
    denied_status: int = 400
    answer: Any = None


class Endpoint(Struct, frozen=True, kw_only=True):
    """One operation.

    :param params: declared class of its parameters, or None if the handler reads none
    :param status: status of success
    :param on_error: ``description`` of its errors
    :param contract: the section that describes it
    :param answer: type of the body of success; None: that of the family
    :param sends_bytes: whether success is answered with the bytes of a file
    :param form: declared classes of the fields of a form that the handler reads by itself
    :param file: whether the form has a file part
    :param reads: headers the handler heeds
    :param sends: headers that success may have
    :param fails: ways to fail that its family and parameters do not tell
    """

    method: str
    path: str
    handler: Handler
    params: type[Any] | None
    family: Family
    status: int
    on_error: str
    contract: str
    answer: Any = None
    sends_bytes: bool = False
    form: tuple[type[Any], ...] = ()
    file: bool = False
    reads: Mapping[str, Header] = field(default_factory=dict)
    sends: Mapping[str, Header] = field(default_factory=dict)
    fails: tuple[Failing, ...] = ()


class Endpoints:
    """The endpoints of one module."""

    def __init__(self, family: Family) -> None:
        self._family = family
        self._rows: list[Endpoint] = []

    def __iter__(self) -> Iterator[Endpoint]:
        return iter(self._rows)

    def add(
        self,
        method: str,
        path: str,
        params: type[Any] | None = None,
        *,
        status: int = 200,
        on_error: str = "",
        contract: str,
        **described: Any,
    ) -> Declare:
        """Declare the decorated function as the handler of one operation.

        :param described: what else :class:`Endpoint` says of it
        """

        def declare(handler: Handler) -> Handler:
            self._rows.append(
                Endpoint(
                    method=method,
                    path=path,
                    handler=handler,
                    params=params,
                    family=self._family,
                    status=status,
                    on_error=on_error,
                    contract=contract,
                    **described,
                )
            )
            return handler

        return declare

    def get(self, path: str, params: type[Any] | None = None, **about: Any) -> Declare:
        """See :meth:`add`."""
        return self.add("GET", path, params, **about)

    def post(self, path: str, params: type[Any] | None = None, **about: Any) -> Declare:
        """See :meth:`add`."""
        return self.add("POST", path, params, **about)

    def put(self, path: str, params: type[Any] | None = None, **about: Any) -> Declare:
        """See :meth:`add`."""
        return self.add("PUT", path, params, **about)

    def delete(self, path: str, params: type[Any] | None = None, **about: Any) -> Declare:
        """See :meth:`add`."""
        return self.add("DELETE", path, params, **about)
