"""Rules of the house that no linter knows."""

from __future__ import annotations

import inspect
import pkgutil
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

import firecrest
from firecrest.api.http.endpoint import Endpoint
from firecrest.api.v1 import endpoints, errors
from firecrest.config.settings import Settings
from firecrest.errors import CommandFailed, Fault, FirecrestError
from firecrest.model.tasks import Kind, Status
from firecrest.schema import items
from firecrest.tasks.states import FINAL, targets
from firecrest.telemetry.metrics import Metrics

ROOT = Path(__file__).parents[2]
MODULES = sorted(module.name for module in pkgutil.walk_packages(firecrest.__path__, "firecrest."))
ENDPOINT = endpoints()[0]
#: Not answers to a request: raised before there is one, or answered by the pipeline.
NEVER_RENDERED = {"ConfigError", "Unauthenticated", "UnknownKey"}


def subclasses(cls: type[FirecrestError]) -> list[type[FirecrestError]]:
    return [found for sub in cls.__subclasses__() for found in (sub, *subclasses(sub))]


#: Imports each module in a fork of its own; foreign packages are loaded once, before.
IMPORT_ALONE = """
import importlib, os, sys
import aiobotocore.session, aiohttp.web, asyncssh, click, jwt, marshmallow, orjson, redis.asyncio
import prometheus_client, yaml
for name in sys.argv[1:]:
    if os.fork() == 0:
        importlib.import_module(name)
        os._exit(0)
    if os.wait()[1]:
        print(name)
"""


@pytest.mark.timeout(400)  # some hundred imports, which others on the machine may slow down
def test_every_module_can_be_imported_alone() -> None:
    names = [name for name in MODULES if not name.endswith("__main__")]
    done = subprocess.run(
        [sys.executable, "-c", IMPORT_ALONE, *names], capture_output=True, text=True, check=True
    )
    assert done.stdout == "", done.stderr


def test_no_file_has_grown_past_one_idea() -> None:
    sources = [*ROOT.glob("firecrest/**/*.py"), *ROOT.glob("scripts/**/*.py")]
    long = {str(path): n for path in sources if (n := len(path.read_text().splitlines())) > 400}
    assert not long


def test_tests_wait_for_conditions_not_for_the_clock() -> None:
    offenders = [
        str(path)
        for path in ROOT.glob("tests/**/*.py")
        if path.name not in {"waiting.py", "test_house.py"}
        and re.search(r"asyncio\.sleep\((?!0\))|time\.sleep\(", path.read_text())
    ]
    assert not offenders


@pytest.mark.parametrize("endpoint", endpoints(), ids=lambda e: f"{e.method} {e.path}")
def test_every_endpoint_is_documented(endpoint: Endpoint) -> None:
    assert inspect.getdoc(endpoint.handler)
    assert re.fullmatch(r"rest-v1 §\d+(\.\d+)?", endpoint.contract)


def test_no_operation_is_declared_twice() -> None:
    operations = [(endpoint.method, endpoint.path) for endpoint in endpoints()]
    assert len(operations) == len(set(operations))


@pytest.mark.parametrize(
    "error", [e for e in subclasses(FirecrestError) if e.__name__ not in NEVER_RENDERED]
)
def test_v1_words_every_error(error: type[FirecrestError]) -> None:
    needed = [
        p
        for p in inspect.signature(error.__init__).parameters.values()
        if p.name not in {"self", "args", "kwargs"} and p.default is p.empty
    ]
    samples: dict[str, Any] = {"fault": Fault.OTHER, "message": "text", "limit": 1}
    made = error(**{p.name: samples[p.name] for p in needed})
    reply = errors.render(made, ENDPOINT)
    assert 400 <= reply.status <= 500
    assert isinstance(reply.body, dict)


@pytest.mark.parametrize("fault", Fault)
def test_v1_words_every_fault(fault: Fault) -> None:
    reply = errors.render(CommandFailed(fault, "text", "/path"), ENDPOINT)
    assert reply.headers


def keys(cls: type[Any], prefix: str = "") -> set[str]:
    found = set()
    for item in items(cls):
        if item.nested:
            found |= keys(item.nested, f"{prefix}{item.name}.")
        else:
            found.add(f"{prefix}{item.name}")
    return found


def written(value: Any, prefix: str = "") -> set[str]:
    if isinstance(value, list) and value:
        return set().union(*(written(member, prefix) for member in value))
    if isinstance(value, dict) and not value.keys() <= {"env", "file"}:
        return set().union(*(written(inner, f"{prefix}{key}.") for key, inner in value.items()))
    return {prefix.rstrip(".")}


def test_config_yaml_shows_every_setting() -> None:
    document = yaml.safe_load((ROOT / "config.yaml").read_text())
    assert keys(Settings) - written(document) == set()


def test_every_setting_says_what_it_means() -> None:
    def silent(cls: type[Any]) -> list[str]:
        found = [i.name for i in items(cls) if not i.nested and not i.help]
        return [*found, *(n for i in items(cls) if i.nested for n in silent(i.nested))]

    assert silent(Settings) == []


def test_no_task_can_show_status_101() -> None:
    assert "101" not in list(Status)


@pytest.mark.parametrize("kind", Kind)
def test_every_state_of_a_task_leads_to_an_end(kind: Kind) -> None:
    reachable, todo = set(), [Status.QUEUED]
    while todo:
        state = todo.pop()
        if state not in reachable:
            reachable.add(state)
            todo += targets(kind, state)
    assert all(state in FINAL or targets(kind, state) for state in reachable)
    assert reachable & FINAL


def test_every_metric_is_described() -> None:
    told = re.findall(r"^# TYPE (firecrest_\w+) (\w+)$", Metrics().text().decode(), re.MULTILINE)
    made = {(name, kind) for name, kind in told if not name.endswith("_created")}
    table = (ROOT / "docs" / "metrics.md").read_text()
    assert set(re.findall(r"^\| `(firecrest_\w+)` \| (\w+) \|", table, re.MULTILINE)) == made
