"""JSON Schema of Python types and of parameters."""

from __future__ import annotations

import inspect
import types
from collections.abc import Iterator, Mapping
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

        ``Annotated[T, such_as(…)]`` adds its keywords to the schema of ``T``.
        """
        origin, arguments = get_origin(shape), get_args(shape)
        if origin is Annotated:
            made = self.of(arguments[0])
            for about in arguments[1:]:
                made |= about.keywords
            return made
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
        schema = form(item.nested) if item.nested else _field(item.field)
        if item.default not in (MISSING, None, "", ()):
            schema["default"] = item.default
        yield item, schema


def form(*declared: type[Any]) -> Schema:
    """The schema of an object with the items of ``@declared`` classes, each with its help."""
    found = [field for one in declared for field in parameters(one)]
    schema: Schema = {
        "type": "object",
        "properties": {item.name: {**about, "description": item.help} for item, about in found},
    }
    if required := [item.name for item, _ in found if item.required]:
        schema["required"] = required
    return schema


def _field(field: fields.Field[Any] | None) -> Schema:
    about = getattr(field, "about", None)
    if about is None:
        about = next((schema for kind, schema in _FIELDS if isinstance(field, kind)), None)
    if about is None or field is None:
        raise TypeError(f"no JSON Schema for {field!r}")
    return {**about, **field.metadata}


def example(schema: Schema, named: Mapping[str, Schema]) -> Any:
    """A value that fits, made of the examples of its parts.

    :param named: schemas that others refer to
    :raises LookupError: some part has neither an example nor but one value
    """
    if "examples" in schema:
        return schema["examples"][0]
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return schema["enum"][0]
    if "$ref" in schema:
        return example(named[schema["$ref"].rpartition("/")[2]], named)
    if "anyOf" in schema:
        return example(schema["anyOf"][0], named)
    match schema.get("type"):
        case "boolean":
            return schema.get("default", True)
        case "array":
            return [example(schema["items"], named)]
        case "object" if "properties" in schema:
            return {name: example(one, named) for name, one in schema["properties"].items()}
        case "object" if "additionalProperties" in schema:
            return {"cluster": example(schema["additionalProperties"], named)}
    raise LookupError(f"no example of {schema}")
