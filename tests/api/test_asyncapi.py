"""The stream's description of itself. That messages agree with it, every test's client checks."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
from jsonschema import Draft7Validator, Draft202012Validator, ValidationError

from firecrest.api.events.asked import JobsAsked, OutputAsked, Renew, TasksAsked
from firecrest.api.events.told import Told
from firecrest.api.openapi.shapes import form
from firecrest.api.openapi.stream import describe_stream
from firecrest.schema import SchemaError, load
from tests.harness.client import Client
from tests.harness.described import check_asked, check_told
from tests.harness.gateway import Gateway
from tests.harness.tokens import TokenMint

OFFICIAL = Path(__file__).parents[1] / "data" / "asyncapi" / "3.0.0.json"


async def test_the_document_is_valid_and_complete(gateway: Gateway) -> None:
    async with Client(gateway.url, None) as anonymous:
        answer = await anonymous.get("/asyncapi.json")
    assert (answer.status, answer.headers["Content-Type"]) == (200, "application/json")
    document = answer.json
    Draft7Validator(json.loads(OFFICIAL.read_text())).validate(document)
    assert set(document["channels"]) == {"connection", "tasks", "jobs", "output"}
    messages = document["components"]["messages"]
    kinds = {get_args(get_type_hints(shape)["event"])[0] for shape in get_args(Told)}
    assert len(kinds) == len(get_args(Told))
    assert kinds <= set(messages)
    assert all(message["summary"] for message in messages.values())
    assert document["channels"]["connection"]["x-close-codes"]["4409"] == "too slow"
    for pointer in _references(document):
        _resolved(document, pointer)


async def test_a_wrong_document_would_be_noticed() -> None:
    document = describe_stream()
    del document["operations"]["tell_task"]["channel"]
    with pytest.raises(ValidationError):
        Draft7Validator(json.loads(OFFICIAL.read_text())).validate(document)


def test_every_example_fits_its_message() -> None:
    components = describe_stream()["components"]
    for message in components["messages"].values():
        schema = {**message["payload"], "components": components}
        assert message["examples"]
        for example in message["examples"]:
            Draft202012Validator(schema).validate(example["payload"])


async def test_every_described_action_is_taken(
    alice: Client, mint: TokenMint, gateway: Gateway
) -> None:
    messages = describe_stream()["components"]["messages"]
    actions = ["subscribe_tasks", "subscribe_jobs", "subscribe_output", "unsubscribe"]
    assert set(actions) | {"renew_token"} == {
        name for name, one in messages.items() if "action" in one["payload"].get("properties", {})
    }
    async with alice.events() as events:
        for name in actions:
            action = copy.deepcopy(messages[name]["examples"][0]["payload"])
            if name == "unsubscribe":
                action["ref"] = "subscribe_tasks"
            else:
                action["ref"] = name
            await events.send(**action)
            answer = await events.next()
            while answer.get("ref") != action["ref"]:
                answer = await events.next()
            assert answer["event"] in {"subscribed", "unsubscribed"}, answer
        await events.send(action="token", ref="t", token=mint.token("alice"))
        while (answer := await events.next()).get("ref") != "t":
            pass  # what the subscriptions bring
        assert answer["event"] == "token", answer


ASKED: dict[type[Any], tuple[str, list[Any]]] = {
    TasksAsked: ("tasks", ["*", [], ["a"], "a", [1], None, {}, 7]),
    JobsAsked: (
        "jobs",
        [
            {"system": "cluster", "ids": ["7"]},
            {"system": "cluster", "ids": ["7"], "more": 1},
            {"system": "cluster", "ids": []},
            {"system": "cluster", "ids": ["7"] * 1001},
            {"system": "cluster", "ids": "7"},
            {"system": "cluster", "ids": [7]},
            {"system": 1, "ids": ["7"]},
            {"system": "cluster"},
            {"ids": ["7"]},
            [],
            "*",
            None,
        ],
    ),
    OutputAsked: (
        "output",
        [
            {"system": "cluster", "jobid": "7", "stream": "stdout", "offset": 0},
            {"system": "cluster", "jobid": 7, "stream": "stderr"},
            {"system": "cluster", "jobid": "7", "stream": "stdout", "offset": -1},
            {"system": "cluster", "jobid": "7", "stream": "stdout", "offset": 2**63},
            {"system": "cluster", "jobid": "7", "stream": "stdout", "offset": True},
            {"system": "cluster", "jobid": "7", "stream": "stdout", "offset": "0"},
            {"system": "cluster", "jobid": True, "stream": "stdout"},
            {"system": "cluster", "jobid": ["7"], "stream": "stdout"},
            {"system": "cluster", "jobid": "7"},
            {"jobid": "7", "stream": "stdout"},
            "7",
        ],
    ),
    Renew: ("token", ["a.b.c", 7, None, ["x"], {}]),
}


@pytest.mark.parametrize(
    ("declared", "key", "value"),
    [(declared, key, value) for declared, (key, values) in ASKED.items() for value in values],
)
def test_what_is_described_is_what_is_accepted(declared: type[Any], key: str, value: Any) -> None:
    action = {"action": "subscribe", key: value}
    try:
        load(declared, action)
    except SchemaError:
        accepted = False
    else:
        accepted = True
    assert Draft202012Validator(form(declared)).is_valid(action) is accepted


def test_the_check_of_messages_can_fail() -> None:
    check_told({"event": "subscribed", "ref": 1})
    with pytest.raises(ValidationError):
        check_told({"event": "subscribed", "ref": []})
    with pytest.raises(ValidationError):
        check_told({"event": "subscribed", "ref": "x" * 257})
    with pytest.raises(ValidationError):
        check_told({"event": "output", "system": "cluster", "jobid": "7", "stream": "stdin"})
    with pytest.raises(AssertionError, match="not described"):
        check_told({"event": "unknown"})
    with pytest.raises(ValidationError):
        check_asked({"action": "subscribe", "tasks": [1]})
    check_asked({"action": "token", "ref": None, "token": "a.b.c"})


def _references(value: Any) -> list[str]:
    if isinstance(value, dict):
        own = [value["$ref"]] if isinstance(value.get("$ref"), str) else []
        return own + [found for one in value.values() for found in _references(one)]
    if isinstance(value, list):
        return [found for one in value for found in _references(one)]
    return []


def _resolved(document: dict[str, Any], pointer: str) -> Any:
    value: Any = document
    for part in pointer.removeprefix("#/").split("/"):
        value = value[part]
    return value
