"""One request as a handler sees it."""

from __future__ import annotations

import asyncio
from typing import Any, TypeVar

from aiohttp import web

from firecrest.api.http.body import Form, first_values, read_form
from firecrest.api.http.endpoint import Endpoint
from firecrest.api.http.large import has_large_body
from firecrest.api.http.origin import public_origin
from firecrest.api.http.parts import PARTS, Parts
from firecrest.errors import InvalidInput, NoSystem
from firecrest.machines import Machine
from firecrest.model.principal import Principal
from firecrest.schema import SchemaError, load

T = TypeVar("T")

PRINCIPAL = web.RequestKey("principal", Principal)


class Call:
    """A request that has passed token and routing.

    :param again: whether its answer was made before, and could not be sent at once
    """

    def __init__(self, request: web.Request, endpoint: Endpoint, *, again: bool = False) -> None:
        self.again = again
        self.request = request
        self.endpoint = endpoint
        self.parts: Parts = request.app[PARTS]
        self.principal = request[PRINCIPAL]
        self._machine: Machine | None = None
        self._place: asyncio.Semaphore | None = None

    @property
    def user(self) -> str:
        """The caller's user name."""
        return self.principal.user

    @property
    def machine(self) -> Machine:
        """The machine the request names (Contract: rest-v1 §2.1).

        :raises NoSystem, UnknownSystem: the header is missing or names none
        """
        if self._machine is None:
            machines = self.parts.machines.serving(self.endpoint.family.name)
            self._machine = machines.open(self.user, self._machine_name())
        return self._machine

    def _machine_name(self) -> str:
        name = self.request.headers.get("X-Machine-Name")
        if name is None and self.endpoint.family.machine == "optional":
            settings = self.parts.settings
            name = settings.storage.default_system
            if not name and len(settings.systems) == 1:
                name = settings.systems[0].name
        if not name:
            raise NoSystem
        return name

    @property
    def public_url(self) -> str:
        """Origin under which the client knows this server, without trailing slash."""
        server = self.parts.settings.server
        return server.public_url or public_origin(self.request, server.trusted_proxies)

    async def form(self) -> Form:
        """The body, up to its file part; a large one is not read before there is room for it.

        :raises InvalidInput, TooLarge: see :func:`read_form`
        :raises Unauthenticated: the token was revoked meanwhile
        """
        if self._place is None and has_large_body(self.request):
            places = self.parts.bodies.of(self.user)
            await places.acquire()
            self._place = places
            self.parts.tokens.check_still(self.principal)
        return await read_form(self.request)

    def make_room(self) -> None:
        """The body is in memory no more, or what follows of it never will be as a whole."""
        if self._place is not None:
            self._place.release()
            self._place = None

    async def read_params(self, cls: type[T]) -> T:
        """Query parameters (GET) or form fields (others), checked.

        :raises InvalidInput: naming the first wrong one in order of declaration
        """
        if self.request.method == "GET":
            values = first_values(self.request.rel_url.raw_query_string)
        else:
            values = (await self.form()).fields
        return self.check(cls, values)

    def check(self, cls: type[T], values: dict[str, Any]) -> T:
        """Load declared parameters from values by wire name."""
        try:
            return load(cls, values)
        except SchemaError as error:
            name, reason = error.first
            raise InvalidInput(f"'{name}' {reason}") from error
