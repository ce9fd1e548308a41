"""``scripts/bench``: run benchmarks and print a table, or one JSON object per line."""

from __future__ import annotations

import asyncio
import os
import platform
import signal
import subprocess
import tempfile
import traceback
from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path

import click
import orjson

from scripts.benchmarks import compared, measure, table
from scripts.benchmarks.measure import Bench, Result

NAMES = (
    *("start", "tasks", "utilities", "compute", "events", "transfer", "fairness"),
    "memory",
)


@click.command()
@click.argument("names", nargs=-1, type=click.Choice([*NAMES, "all"]))
@click.option("--json", "as_json", is_flag=True, help="One JSON object per line.")
@click.option("--quick", is_flag=True, help="Short rounds: a first look, not a figure to quote.")
@click.option(
    "--compare",
    "earlier",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The output of an earlier run with --json: show what changed, and mark what is worse.",
)
@click.option("--markdown", is_flag=True, help="At the end print the results as a page's table.")
@click.option(
    "--page",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Put that table into this page, in place of the one it has: docs/benchmarks.md.",
)
@click.option(
    "--results",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Measure nothing; take the output of a run with --json.",
)
def main(
    names: tuple[str, ...],
    as_json: bool,
    quick: bool,
    earlier: Path | None,
    markdown: bool,
    page: Path | None,
    results: Path | None,
) -> None:
    """Measure the gateway beside the raw limit of the same work, in one run.

    ratio: 1.0 is the raw limit, higher is better. spread: (largest - smallest) / median of
    the rounds' ratios. The exit status is 1 if a benchmark broke off, never because of a
    figure.
    """
    if not names and results is None:
        raise click.UsageError("name a benchmark, or all")
    wanted = NAMES if "all" in names else names
    try:
        before = compared.read(earlier) if earlier else []
        broken: list[str] = []
        if results:
            found = compared.read(results)
        else:
            found, broken = asyncio.run(_run(wanted, as_json=as_json, quick=quick))
        if earlier:
            for text in compared.lines(before, found, wanted or NAMES):
                click.echo(text, err=as_json)
        if markdown:
            click.echo(table.markdown(found), err=as_json)
        if page and not broken:
            table.write(page, found)
    except ValueError as error:
        raise click.ClickException(str(error)) from error
    if broken:
        raise click.ClickException(f"broke off: {', '.join(broken)}")


async def _run(
    names: Sequence[str], *, as_json: bool, quick: bool
) -> tuple[list[Result], list[str]]:
    """All results, and which benchmarks broke off; one that does so spoils no other."""
    running = asyncio.current_task()
    if running is not None:  # so that what was started is ended
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, running.cancel)
    results, broken, revision = [], [], _revision()
    if not as_json:
        click.echo(measure.HEADING)
    for name in names:
        with tempfile.TemporaryDirectory(prefix="firecrest-bench-") as directory:
            bench = Bench(name=name, quick=quick, directory=Path(directory))
            try:
                async for result in import_module(f"scripts.benchmarks.{name}").run(bench):
                    made = replace(
                        result,
                        quick=quick,
                        revision=revision,
                        date=f"{datetime.now(UTC):%Y-%m-%d}",
                        machine=_machine(),
                        beside=", ".join(f"{part}: {one}" for part, one in bench.beside.items()),
                    )
                    results.append(made)
                    click.echo(orjson.dumps(asdict(made)) if as_json else measure.row(made))
            except Exception:  # noqa: BLE001  shown, and told by the exit status
                click.echo(traceback.format_exc(), err=True)
                broken.append(name)
    return results, broken


def _revision() -> str:
    """The commit that is measured."""
    asked = ("git", "describe", "--always", "--dirty")
    found = subprocess.run(asked, capture_output=True, text=True, check=False)  # noqa: S603
    return found.stdout.strip() or "unknown"


def _machine() -> str:
    return (
        f"{os.cpu_count()} cores, {platform.system()} {platform.release()},"
        f" Python {platform.python_version()}"
    )


if __name__ == "__main__":
    main(prog_name="scripts/bench")
