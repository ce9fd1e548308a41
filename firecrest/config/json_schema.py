"""The settings as JSON Schema, for editors that complete and check ``config.yaml``.

It is made from the declarations. What a rule of a value says beyond types, choices and
bounds, and relations between values, only ``check-config`` knows.
"""

from __future__ import annotations

from pathlib import PurePath
from typing import Any

from marshmallow import fields, validate

from firecrest.config.settings import Settings
from firecrest.config.values import AddressField, Secret
from firecrest.schema import MISSING, Item, items

Schema = dict[str, Any]

_REFERENCE = {
    "description": "the value of an environment variable, or the contents of a file",
    "type": "object",
    "properties": {"env": {"type": "string"}, "file": {"type": "string"}},
    "minProperties": 1,
    "maxProperties": 1,
    "additionalProperties": False,
}
_TYPES: tuple[tuple[type[fields.Field[Any]], str], ...] = (
    (fields.Boolean, "boolean"),
    (fields.Integer, "integer"),
    (fields.Float, "number"),
    (fields.String, "string"),
)


def json_schema() -> Schema:
    """The whole of it."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Configuration of firecrest-server",
        **_object(Settings),
        "$defs": {"reference": _REFERENCE},
    }


def _object(declared: type[Any]) -> Schema:
    declarations = items(declared)
    return {
        "description": (declared.__doc__ or "").strip(),
        "type": "object",
        "properties": {item.name: _item(item) for item in declarations},
        "required": [item.name for item in declarations if item.required],
        "additionalProperties": False,
    }


def _item(item: Item) -> Schema:
    if item.nested is not None:
        inner = _object(item.nested)
        array = {"type": "array", "items": inner, "minItems": item.minimum}
        return array if item.many else inner
    if item.field is None:
        raise TypeError(f"{item.name} is neither a value nor nested")
    schema = {**_field(item.field), "description": item.help}
    if item.field.allow_none:
        schema["anyOf"].append({"type": "null"})
    if not item.required and (default := _plain(item.default)) is not MISSING:
        schema["default"] = default
    return schema


def _field(field: fields.Field[Any]) -> Schema:
    """The type of a value; whatever is a scalar may be a reference."""
    if isinstance(field, fields.List):
        return {"anyOf": [{"type": "array", "items": _field(field.inner)}]}
    name = next(name for kind, name in _TYPES if isinstance(field, kind))
    schema: Schema = {"type": name}
    for rule in field.validators:
        schema |= _rule(rule)
    if isinstance(field, AddressField):
        schema["minLength"] = 1
    return {"anyOf": [schema, {"$ref": "#/$defs/reference"}]}


def _rule(rule: Any) -> Schema:
    match rule:
        case validate.OneOf():
            return {"enum": list(rule.choices)}
        case validate.Length() if rule.min:
            return {"minLength": rule.min}
        case validate.Regexp():  # \Z is Python's word for the end
            return {"pattern": "^{}$".format(str(rule.regex.pattern).removesuffix(r"\Z"))}
        case validate.Range():
            lowest = "minimum" if rule.min_inclusive else "exclusiveMinimum"
            bounds = {lowest: rule.min, "maximum": rule.max}
            return {name: bound for name, bound in bounds.items() if bound is not None}
    return {}


def _plain(default: Any) -> Any:
    """A default as YAML has it; :data:`MISSING` for what is better not shown."""
    match default:
        case Secret():
            return MISSING
        case PurePath():
            return str(default)
        case tuple():
            return [_plain(member) for member in default]
    return default
