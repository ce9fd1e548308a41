"""Dashboard and alerts ask for metrics that are documented, in words Prometheus understands."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
RULES = ROOT / "deploy" / "prometheus" / "firecrest.rules.yaml"
DASHBOARD = ROOT / "deploy" / "grafana" / "firecrest.json"
DOCUMENT = ROOT / "docs" / "metrics.md"
TROUBLES = ROOT / "docs" / "operators" / "troubleshooting.md"

_METRIC = re.compile(r"\b((?:firecrest|process)_[a-z0-9_]+)\b")
_SELECTOR = re.compile(r"\b((?:firecrest|process)_[a-z0-9_]+)\{([^}]*)\}")
_LABEL = re.compile(r'([a-z_]+)\s*(?:=~|!~|!=|=)\s*"')
#: Added by Prometheus, or by the histogram.
_COMMON = {"job", "instance", "le"}
_VARIABLES = {"$job": "firecrest", "$instance": ".*", "$system": ".*", "$__rate_interval": "5m"}

#: What raises each alert: series, minutes at which it is asked for, labels of one alert.
RAISING: dict[str, tuple[dict[str, str], dict[str, str]]] = {
    "FirecrestDown": (
        {'up{job="firecrest",instance="a"}': "0x30"},
        {"job": "firecrest", "instance": "a"},
    ),
    "FirecrestErrors": (
        {
            'firecrest_requests_total{route="/tasks",status="500"}': "0+60x30",
            'firecrest_requests_total{route="/tasks",status="200"}': "0+600x30",
        },
        {},
    ),
    "FirecrestSlow": (
        {
            'firecrest_request_duration_seconds_bucket{route="/utilities/ls",le="5"}': "0+1x30",
            'firecrest_request_duration_seconds_bucket{route="/utilities/ls",le="10"}': "0+60x30",
            'firecrest_request_duration_seconds_bucket{route="/utilities/ls",le="+Inf"}': "0+60x30",
        },
        {},
    ),
    "FirecrestRedisFailing": (
        {'firecrest_redis_calls_total{command="hget",outcome="failed"}': "0+60x30"},
        {},
    ),
    "FirecrestStoreFailing": (
        {'firecrest_s3_calls_total{operation="HeadObject",outcome="failed"}': "0+60x30"},
        {},
    ),
    "FirecrestSystemUnavailable": (
        {'firecrest_ssh_connects_total{system="s",outcome="unavailable"}': "0+6x30"},
        {"system": "s"},
    ),
    "FirecrestLoginsDenied": (
        {
            'firecrest_ssh_connects_total{system="s",outcome="denied"}': "0+6x30",
            'firecrest_ssh_connects_total{system="s",outcome="ok"}': "0+1x30",
        },
        {"system": "s"},
    ),
    "FirecrestCommandsTimeOut": (
        {
            'firecrest_commands_total{system="s",command="ls",outcome="timeout"}': "0+6x30",
            'firecrest_commands_total{system="s",command="ls",outcome="ok"}': "0+6x30",
        },
        {"system": "s"},
    ),
    "FirecrestWaitingForChannels": (
        {
            'firecrest_ssh_channel_wait_seconds_bucket{system="s",le="1"}': "0+1x30",
            'firecrest_ssh_channel_wait_seconds_bucket{system="s",le="5"}': "0+60x30",
            'firecrest_ssh_channel_wait_seconds_bucket{system="s",le="+Inf"}': "0+60x30",
        },
        {"system": "s"},
    ),
    "FirecrestTasksUnattended": ({"firecrest_tasks_overdue_seconds": "120x30"}, {}),
    "FirecrestEventsLate": (
        {
            'firecrest_event_lag_seconds_bucket{le="1"}': "0+1x30",
            'firecrest_event_lag_seconds_bucket{le="5"}': "0+60x30",
            'firecrest_event_lag_seconds_bucket{le="+Inf"}': "0+60x30",
        },
        {},
    ),
    "FirecrestSlowListeners": ({"firecrest_event_slow_clients_total": "0+6x40"}, {}),
    "FirecrestReloadRefused": (
        {'firecrest_reloads_total{instance="a",outcome="refused"}': "0x20 1x20"},
        {"instance": "a", "outcome": "refused"},
    ),
}


def documented() -> dict[str, tuple[str, set[str]]]:
    """Type and labels of every metric in the document."""
    found = {}
    for line in DOCUMENT.read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) >= 4 and (name := re.fullmatch(r"`(firecrest_\w+)`", cells[0])):
            found[name[1]] = (cells[1], set(re.findall(r"`(\w+)`", cells[2])))
    return found


def rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load(RULES.read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def panels() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(DASHBOARD.read_text())["panels"]
    return found


def dashboard_expressions() -> Iterator[str]:
    for panel in panels():
        for target in panel.get("targets", []):
            expression = target["expr"]
            for name, value in _VARIABLES.items():
                expression = expression.replace(name, value)
            yield expression
    for variable in json.loads(DASHBOARD.read_text())["templating"]["list"]:
        if variable["type"] == "query":
            yield variable["query"]["query"].replace("$job", "x")


def expressions() -> list[str]:
    return [*dashboard_expressions(), *(rule["expr"] for rule in rules())]


def test_every_metric_is_documented_with_its_labels() -> None:
    known = documented()
    assert known
    for expression in expressions():
        for name in _METRIC.findall(expression):
            if name.startswith("firecrest_"):
                base = re.sub(r"_(bucket|sum|count)$", "", name)
                assert base in known, f"{name} in {expression}"
                assert (known[base][0] == "histogram") == (base != name), name
        for name, selector in _SELECTOR.findall(expression):
            if name.startswith("firecrest_"):
                allowed = known[re.sub(r"_(bucket|sum|count)$", "", name)][1] | _COMMON
                assert set(_LABEL.findall(selector)) <= allowed, expression


def test_every_documented_metric_is_on_the_dashboard() -> None:
    shown = " ".join(dashboard_expressions())
    missing = {name for name in documented() if name not in shown}
    assert missing == set()


def test_panels_have_their_own_places() -> None:
    ids = [panel["id"] for panel in panels()]
    assert len(ids) == len(set(ids))
    taken: set[tuple[int, int]] = set()
    for panel in panels():
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert place["x"] + place["w"] <= 24
        taken |= cells


def promtool(*arguments: str | Path) -> None:
    done = subprocess.run(
        ["/usr/bin/promtool", *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_prometheus_understands_every_expression(tmp_path: Path) -> None:
    promtool("check", "rules", RULES)
    records = [
        {"record": f"panel:{number}", "expr": expression}
        for number, expression in enumerate(dashboard_expressions())
        if not expression.startswith("label_values(")
    ]
    file = tmp_path / "dashboard.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "g", "rules": records}]}))
    promtool("check", "rules", file)


def case(rule: dict[str, Any], series: dict[str, str], labels: dict[str, str]) -> dict[str, Any]:
    expected = {**rule["labels"], **labels}
    return {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": [],
        "alert_rule_test": [
            {"eval_time": "0m", "alertname": rule["alert"], "exp_alerts": []},
            {
                "eval_time": "30m",
                "alertname": rule["alert"],
                "exp_alerts": [{"exp_labels": expected, "exp_annotations": rule["annotations"]}],
            },
        ],
    }


def test_every_alert_is_raised_by_what_it_is_for(tmp_path: Path) -> None:
    assert RAISING.keys() == {rule["alert"] for rule in rules()}
    plain = yaml.safe_load(RULES.read_text())
    for group in plain["groups"]:
        for rule in group["rules"]:
            rule["annotations"] = {}  # texts with numbers in them, which other tests are about
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(plain))
    tests = [
        case(rule, *RAISING[rule["alert"]]) for group in plain["groups"] for rule in group["rules"]
    ]
    file = tmp_path / "tests.yaml"
    file.write_text(yaml.safe_dump({"rule_files": ["rules.yaml"], "tests": tests}))
    promtool("test", "rules", file)


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule["alert"])
def test_every_alert_says_what_is_wrong_and_what_to_do(rule: dict[str, Any]) -> None:
    assert rule["annotations"].keys() == {"summary", "description"}
    assert rule["labels"]["severity"] in {"critical", "warning", "info"}
    assert f"`{rule['alert']}`" in TROUBLES.read_text()
