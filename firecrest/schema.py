"""One typed class is the declaration, the value and the validator.

::

    class LsParams(Declared):
        target_path: str = item(RemotePath(), name="targetPath")
        show_hidden: bool = item(Flag(), name="showhidden", default=False)

    params = load(LsParams, request.query)   # LsParams(target_path=…, show_hidden=…)

Instances are frozen, and made with keywords only; the marshmallow schema is built once, when it is
first needed. The settings and the parameters of every endpoint are declared this way.
"""

from __future__ import annotations

import copy
import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any, ClassVar, Literal, TypeVar, dataclass_transform

from marshmallow import Schema, ValidationError, fields, missing, post_load, validate
from msgspec import UNSET, Struct, StructMeta, field

T = TypeVar("T")
Unknown = Literal["exclude", "raise"]

_SCHEMAS: dict[tuple[type[Any], Unknown], Schema] = {}
_DECLARED = "__declared__"
_DEFAULTS: dict[type[Any], Any] = {}
MISSING: Any = UNSET
"""Stands for "no default": the value is required."""


class SchemaError(ValueError):
    """The data do not fit the declaration.

    :param errors: every ``(path, message)``, in order of declaration; the path joins wire
        names and list positions with dots (``systems.0.name``) and is empty for the whole
    """

    def __init__(self, errors: list[tuple[str, str]]) -> None:
        super().__init__("; ".join(f"{path}: {message}" for path, message in errors))
        self.errors = errors

    @property
    def first(self) -> tuple[str, str]:
        """Path and message of the first error in order of declaration."""
        return self.errors[0]


class _Declaration(Struct, frozen=True):
    """One value of a class, as it stands there until the class is made."""

    build: Callable[[Unknown], fields.Field[Any]]
    name: str | None
    default: Any
    help: str
    about: dict[str, Any]


class Item(Struct, frozen=True):
    """What was declared about one value.

    :param attribute: its name in Python
    :param name: its key on the wire
    :param field: its marshmallow field; ``None`` for sections and listings
    :param default: value if the key is absent; :data:`MISSING` if it is required
    :param help: meaning and unit
    :param nested: the declared class of a section or of the members of a listing
    :param many: whether this is a listing
    :param minimum: least number of its members
    """

    attribute: str
    name: str
    field: fields.Field[Any] | None
    default: Any
    help: str
    nested: type[Any] | None = None
    many: bool = False
    minimum: int = 0

    @property
    def required(self) -> bool:
        """Whether there is no default."""
        return self.default is MISSING


def item(
    field: fields.Field[Any],
    *,
    name: str | None = None,
    default: Any = MISSING,
    help: str = "",  # noqa: A002 (the word every reader of a reference expects)
) -> Any:
    """Declare one value.

    :param field: converts and checks it; the messages of its ``ValidationError`` are
        reported as they are
    :param name: wire key; the attribute's name if not given
    :param default: value if the key is absent; required without. ``None`` also allows null
    :param help: meaning and unit, for references and OpenAPI
    """
    # Copied because the declaration writes into it: one field may serve several items.
    made = copy.copy(field)
    made.allow_none = field.allow_none or default is None
    return _declare(lambda _unknown: copy.copy(made), name, default, help, field=made)


def section(
    cls: type[T],
    *,
    name: str | None = None,
    default: T = MISSING,
    help: str = "",  # noqa: A002
) -> T:
    """Declare one nested object of the declared class ``cls``; see :func:`item`."""
    declaration: T = _declare(
        lambda unknown: fields.Nested(_schema(cls, unknown), unknown=unknown),
        name,
        default,
        help,
        nested=cls,
    )
    return declaration


def listing(
    cls: type[T],
    *,
    name: str | None = None,
    default: tuple[T, ...] = MISSING,
    minimum: int = 0,
    help: str = "",  # noqa: A002
) -> tuple[T, ...]:
    """Declare a list of objects of the declared class ``cls``, loaded as a tuple.

    :param minimum: least number of members
    """
    declaration: tuple[T, ...] = _declare(
        lambda unknown: fields.List(
            fields.Nested(_schema(cls, unknown), unknown=unknown),
            validate=validate.Length(min=minimum),
            post_load=tuple,
        ),
        name,
        default,
        help,
        nested=cls,
        many=True,
        minimum=minimum,
    )
    return declaration


class _Declaring(StructMeta):
    """Keeps what was declared, and leaves the defaults."""

    def __new__(
        mcs, name: str, bases: tuple[type, ...], namespace: dict[str, Any], **_: bool
    ) -> Any:
        own = {key: told for key, told in namespace.items() if isinstance(told, _Declaration)}
        for key, told in own.items():
            namespace[key] = field() if told.default is MISSING else field(default=told.default)
        inherited = getattr(bases[0], _DECLARED, {})
        namespace[_DECLARED] = {**inherited, **own}
        return super().__new__(mcs, name, bases, namespace, frozen=True, kw_only=True)


@dataclass_transform(
    kw_only_default=True, frozen_default=True, field_specifiers=(item, section, listing)
)
class Declared(Struct, metaclass=_Declaring, frozen=True):
    """A frozen keyword-only value that :func:`load` can build."""


def items(cls: type[Any]) -> tuple[Item, ...]:
    """What a declared class declares, in order."""
    return tuple(
        Item(
            attribute=attribute,
            name=told.name or attribute,
            default=told.default,
            help=told.help,
            **told.about,
        )
        for attribute, told in _declarations(cls)
    )


def _declarations(cls: type[Any]) -> Iterable[tuple[str, _Declaration]]:
    told: dict[str, _Declaration] = getattr(cls, _DECLARED)
    return told.items()


def load(cls: type[T], data: Mapping[str, Any], *, unknown: Unknown = "exclude") -> T:
    """Check ``data`` and build a ``cls``.

    :param data: values by wire key, sections as mappings, listings as sequences
    :param unknown: what to do with keys nobody declared, at any depth
    :raises SchemaError: with every value that does not fit
    """
    if data != {}:
        return _load(cls, data, unknown)
    # One value for all, since nobody can change it: most requests have no parameters.
    made: T = _DEFAULTS.get(cls) or _DEFAULTS.setdefault(cls, _load(cls, {}, unknown))
    return made


def _load(cls: type[T], data: Mapping[str, Any], unknown: Unknown) -> T:
    schema = _schema(cls, unknown)
    if unknown == "exclude" and isinstance(data, dict):
        # its fields do, in a third of the time; where one of them refuses, the schema says it all
        with suppress(ValidationError):
            return _made(cls, schema, data)
    try:
        loaded: T = schema.load(data)
    except ValidationError as error:
        problems = list(_flatten(error.messages, schema, ""))
    else:
        return loaded
    # Raised outside the handler: a ValidationError carries the data, and with them secrets.
    raise SchemaError(problems)


def _made(cls: type[T], schema: Schema, data: dict[str, Any]) -> T:
    values = {}
    for attribute, told in schema.load_fields.items():
        key = told.data_key or attribute
        value = data.get(key, missing)
        if value is not missing or told.required:  # else the class has the default
            values[attribute] = told.deserialize(value, key, data)
    return cls(**values)


def _schema(cls: type[Any], unknown: Unknown) -> Schema:
    """Made when it is first needed, for most are not, and all would delay the start."""
    if (cls, unknown) not in _SCHEMAS:
        _SCHEMAS[cls, unknown] = _build_schema(cls, unknown)
    return _SCHEMAS[cls, unknown]


class _Schema(Schema):
    """Ends every load with the construction of the declared class."""

    class Meta:
        register = False  # marshmallow's registry would keep every class alive, by name

    error_messages = {"type": "must be an object"}  # noqa: RUF012
    builds: ClassVar[Callable[..., Any]]

    @post_load
    def _build(self, data: dict[str, Any], **_: Any) -> Any:
        return type(self).builds(**data)


def _declare(
    build: Callable[[Unknown], fields.Field[Any]],
    name: str | None,
    default: Any,
    text: str,
    **about: Any,
) -> Any:
    """What stands in the class; ``build`` gives a fresh marshmallow field for a schema."""
    about.setdefault("field", None)
    return _Declaration(build, name, default, text, about)


def _build_schema(cls: type[Any], unknown: Unknown) -> Schema:
    made: dict[str, Any] = {}
    for attribute, told in _declarations(cls):
        field = told.build(unknown)
        field.data_key = told.name or attribute
        field.required = told.default is MISSING
        if not field.required:
            field.load_default = told.default
        made[attribute] = field
    built: type[_Schema] = type(cls.__name__, (_Schema,), {**made, "builds": cls})
    return built(unknown=unknown)


def _flatten(messages: Any, schema: Schema | None, path: str) -> Iterator[tuple[str, str]]:
    """Turn marshmallow's tree of messages into paths, unknown keys last."""
    if not isinstance(messages, dict):
        lines = messages if isinstance(messages, list) else [messages]
        yield from ((path, str(line)) for line in lines)
        return
    known = {f.data_key: f for f in schema.fields.values()} if schema else {}
    strangers = []
    for key, inner in messages.items():
        if key == "_schema":
            yield from _flatten(inner, None, path)
        elif isinstance(key, int):
            yield from _flatten(inner, schema, f"{path}.{key}")
        elif schema and key not in known:
            strangers.append(str(key))
        else:
            yield from _flatten(inner, _nested(known.get(key)), _join(path, key))
    for key in sorted(strangers):
        yield _join(path, key), _unknown(key, (name for name in known if name))


def _nested(field: fields.Field[Any] | None) -> Schema | None:
    inner = field.inner if isinstance(field, fields.List) else field
    return inner.schema if isinstance(inner, fields.Nested) else None


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def _unknown(key: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(key, known, n=1)
    return f"unknown key; did you mean {near[0]!r}?" if near else "unknown key"
