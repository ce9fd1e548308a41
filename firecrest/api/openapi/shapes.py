"""JSON Schema of Python types and of parameters."""

from __future__ import annotations

import inspect
import types
from collections.abc import Iterator
from typing import (
    Annotated,
    Any,
    Literal,
    NotRequired,
    Union,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)

from marshmallow import fields

from firecrest.schema import MISSING, Item, items

Schema = dict[str, Any]

_SIMPLE: dict[Any, Schema] = {
    str: {"type": "string"},
    int: {"type": "integer"},
    float: {"type": "number"},
    bool: {"type": "boolean"},
    type(None): {"type": "null"},
    Any: {},
}
_FIELDS: tuple[tuple[type[fields.Field[Any]], Schema], ...] = (
    (fields.Boolean, {"type": "boolean"}),
    (fields.String, {"type": "string"}),
)


class Shapes:
    """Schemas of types; those with a name are kept, and referred to.

    :ivar named: schemas by the name of their type, for ``components``
    """

    def __init__(self) -> None:
        self.named: dict[str, Schema] = {}

    def of(self, shape: Any) -> Schema:
        """The schema of a type: a simple one, a union, list, dict, literal or TypedDict.

        ``Annotated[T, {…}]`` adds its members to the schema of ``T``.
        """
        origin, arguments = get_origin(shape), get_args(shape)
        if origin is Annotated:
            return {**self.of(arguments[0]), **arguments[1]}
        if shape in _SIMPLE:
            return dict(_SIMPLE[shape])
        if is_typeddict(shape):
            return self._reference(shape)
        if origin is NotRequired:
            return self.of(arguments[0])
        if origin is Literal:
            return {"enum": list(arguments)}
        if origin in (Union, types.UnionType):
            return {"anyOf": [self.of(argument) for argument in arguments]}
        if origin is list:
            return {"type": "array", "items": self.of(arguments[0])}
        if origin is dict:
            return {"type": "object", "additionalProperties": self.of(arguments[1])}
        raise TypeError(f"no JSON Schema for {shape!r}")

    def _reference(self, shape: Any) -> Schema:
        name = shape.__name__
        if name not in self.named:
            self.named[name] = {}  # it may speak of itself
            hints = get_type_hints(shape, include_extras=True)
            self.named[name] = {
                "type": "object",
                "description": inspect.getdoc(shape) or "",
                "properties": {key: self.of(hint) for key, hint in hints.items()},
                "required": sorted(shape.__required_keys__),
            }
        return {"$ref": f"#/components/schemas/{name}"}


def parameters(declared: type[Any]) -> Iterator[tuple[Item, Schema]]:
    """What a ``@declared`` class of parameters takes, each with its schema."""
    for item in items(declared):
        schema = _field(item.field)
        if item.default not in (MISSING, None, "", ()):
            schema["default"] = item.default
        yield item, schema


def _field(field: fields.Field[Any] | None) -> Schema:
    about = getattr(field, "about", None)
    if about is not None:
        return dict(about)
    for kind, schema in _FIELDS:
        if isinstance(field, kind):
            return dict(schema)
    raise TypeError(f"no JSON Schema for {field!r}")
