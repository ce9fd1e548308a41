"""Declared classes: values, validators and reports in one."""

from __future__ import annotations

from typing import Any

import pytest
from marshmallow import ValidationError, fields

from firecrest.schema import MISSING, Declared, SchemaError, item, items, listing, load, section


def no_blank(value: str) -> None:
    if " " in value:
        raise ValidationError("has invalid char")


class Point(Declared):
    x: int = item(fields.Integer(), help="column")
    label: str = item(fields.String(validate=no_blank), name="theLabel", default="-")


class Drawing(Declared):
    title: str = item(fields.String(error_messages={"required": "not specified"}))
    origin: Point = section(Point, default=Point(x=0))
    points: tuple[Point, ...] = listing(Point, minimum=1)
    colour: str | None = item(fields.String(), default=None)


def errors_of(cls: type[Any], data: dict[str, Any], **options: Any) -> list[tuple[str, str]]:
    with pytest.raises(SchemaError) as caught:
        load(cls, data, **options)
    return caught.value.errors


def test_values_are_converted_and_defaults_filled_in() -> None:
    drawing = load(Drawing, {"title": "t", "points": [{"x": "3", "theLabel": "a"}]})
    assert drawing == Drawing(title="t", points=(Point(x=3, label="a"),))
    assert drawing.origin == Point(x=0, label="-")


def test_a_declared_class_is_frozen_keyword_only_and_without_dict() -> None:
    point = Point(x=1)
    with pytest.raises(AttributeError):
        point.x = 2  # type: ignore[misc]
    with pytest.raises(TypeError):
        Point(1)  # type: ignore[call-arg]
    assert not hasattr(point, "__dict__")


def test_the_wire_name_is_not_the_attribute_name() -> None:
    assert load(Point, {"x": 1, "label": "ignored"}).label == "-"


def test_all_errors_are_reported_in_order_of_declaration() -> None:
    data = {"colour": 5, "points": [{"x": 1}, {"theLabel": "a b"}, 7], "origin": {"x": "?"}}
    assert errors_of(Drawing, data) == [
        ("title", "not specified"),
        ("origin.x", "Not a valid integer."),
        ("points.1.x", "Missing data for required field."),
        ("points.1.theLabel", "has invalid char"),
        ("points.2", "must be an object"),
        ("colour", "Not a valid string."),
    ]


def test_the_first_error_is_the_first_declared() -> None:
    with pytest.raises(SchemaError) as caught:
        load(Drawing, {"points": []})
    assert caught.value.first == ("title", "not specified")


@pytest.mark.parametrize(
    ("data", "path"),
    [
        ({"title": "t", "points": []}, "points"),
        ({"title": "t", "points": {"x": 1}}, "points"),
        ({"title": "t", "points": [{"x": 1}], "origin": []}, "origin"),
        ({"title": None, "points": [{"x": 1}]}, "title"),
    ],
)
def test_a_value_of_the_wrong_shape_is_reported_at_its_place(
    data: dict[str, Any], path: str
) -> None:
    assert [place for place, _ in errors_of(Drawing, data)] == [path]


def test_none_is_allowed_only_where_it_is_the_default() -> None:
    data = {"title": "t", "points": [{"x": 1}], "colour": None}
    assert load(Drawing, data).colour is None


def test_unknown_keys_are_ignored_at_any_depth() -> None:
    data = {"title": "t", "points": [{"x": 1, "z": 1}], "depth": 3}
    assert load(Drawing, data, unknown="exclude").title == "t"


def test_unknown_keys_are_refused_with_the_nearest_name() -> None:
    data = {"titel": "t", "title": "t", "points": [{"x": 1, "thelabel": "a"}], "qqq": 0}
    assert errors_of(Drawing, data, unknown="raise") == [
        ("points.0.thelabel", "unknown key; did you mean 'theLabel'?"),
        ("qqq", "unknown key"),
        ("titel", "unknown key; did you mean 'title'?"),
    ]


def test_errors_carry_no_data() -> None:
    with pytest.raises(SchemaError) as caught:
        load(Point, {"x": "hunter2"})
    assert caught.value.__context__ is None
    assert "hunter2" not in str(caught.value)


def test_one_field_object_may_serve_several_items() -> None:
    shared = fields.Integer()

    class Range(Declared):
        low: int = item(shared, name="from")
        high: int = item(shared, default=9)

    assert load(Range, {"from": 1}) == Range(low=1, high=9)
    assert shared.data_key is None


def test_a_declaration_can_be_read_back() -> None:
    title, origin, points, colour = items(Drawing)
    assert (title.name, title.default, title.nested) == ("title", MISSING, None)
    assert (origin.nested, origin.many, origin.default) == (Point, False, Point(x=0))
    assert (points.nested, points.many) == (Point, True)
    assert isinstance(colour.field, fields.String)
    x, label = items(Point)
    assert (x.help, label.attribute, label.name) == ("column", "label", "theLabel")
