"""``scripts/bench``: run benchmarks and print a table, or one JSON object per line."""

from __future__ import annotations

import asyncio
import pkgutil
import tempfile
from dataclasses import asdict
from importlib import import_module
from pathlib import Path

import click
import orjson

from scripts.benchmarks import measure
from scripts.benchmarks.measure import Bench, Result

_PARTS = {"measure", "load", "bare", "bare_events", "servers", "sockets", "openssh"}
NAMES = sorted(
    module.name
    for module in pkgutil.iter_modules([str(Path(__file__).parent)])
    if module.name not in _PARTS and not module.name.startswith("_")
)


@click.command()
@click.argument("names", nargs=-1, required=True, type=click.Choice([*NAMES, "all"]))
@click.option("--json", "as_json", is_flag=True, help="One JSON object per line.")
@click.option("--quick", is_flag=True, help="Short rounds: a first look, not a figure to quote.")
def main(names: tuple[str, ...], as_json: bool, quick: bool) -> None:
    """Measure the gateway beside the raw limit of the same work, in one run.

    ratio: 1.0 is the raw limit, higher is better. spread: (largest - smallest) / median of
    the rounds' ratios.
    """
    wanted = NAMES if "all" in names else names
    asyncio.run(_run(wanted, as_json=as_json, quick=quick))


async def _run(names: tuple[str, ...] | list[str], *, as_json: bool, quick: bool) -> None:
    if not as_json:
        click.echo(measure.HEADING)
    for name in names:
        with tempfile.TemporaryDirectory(prefix="firecrest-bench-") as directory:
            bench = Bench(name=name, quick=quick, directory=Path(directory))
            async for result in import_module(f"scripts.benchmarks.{name}").run(bench):
                _print(result, as_json=as_json)


def _print(result: Result, *, as_json: bool) -> None:
    click.echo(orjson.dumps(asdict(result)).decode() if as_json else measure.row(result))


main(prog_name="scripts/bench")
