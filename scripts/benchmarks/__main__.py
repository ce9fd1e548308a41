"""``scripts/bench``: run benchmarks and print a table, or one JSON object per line."""

from __future__ import annotations

import asyncio
import pkgutil
import tempfile
import traceback
from collections.abc import Sequence
from dataclasses import asdict
from importlib import import_module
from pathlib import Path

import click
import orjson

from scripts.benchmarks import compared, measure, table
from scripts.benchmarks.measure import Bench, Result

_PARTS = {
    *(
        "measure",
        "reach",
        "compared",
        "table",
        "load",
        "servers",
        "sockets",
        "openssh",
        "crowd",
        "burst",
    ),
    *("bare", "bare_events"),
}
NAMES = sorted(
    module.name
    for module in pkgutil.iter_modules([str(Path(__file__).parent)])
    if module.name not in _PARTS and not module.name.startswith("_")
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
    try:
        before = compared.read(earlier) if earlier else []
        broken: list[str] = []
        if results:
            found = compared.read(results)
        else:
            wanted = NAMES if "all" in names else names
            found, broken = asyncio.run(_run(wanted, as_json=as_json, quick=quick))
        if earlier:
            click.echo(compared.HEADING, err=as_json)
            for text in compared.rows(before, found):
                click.echo(text, err=as_json)
        if markdown:
            click.echo(table.markdown(found, quick=quick), err=as_json)
        if page:
            table.write(page, table.markdown(found, quick=quick))
    except ValueError as error:
        raise click.ClickException(str(error)) from error
    if broken:
        raise click.ClickException(f"broke off: {', '.join(broken)}")


async def _run(
    names: Sequence[str], *, as_json: bool, quick: bool
) -> tuple[list[Result], list[str]]:
    """All results, and which benchmarks broke off; one that does so spoils no other."""
    results, broken = [], []
    if not as_json:
        click.echo(measure.HEADING)
    for name in names:
        with tempfile.TemporaryDirectory(prefix="firecrest-bench-") as directory:
            bench = Bench(name=name, quick=quick, directory=Path(directory))
            try:
                async for result in import_module(f"scripts.benchmarks.{name}").run(bench):
                    results.append(result)
                    _print(result, as_json=as_json)
            except Exception:  # noqa: BLE001  shown, and told by the exit status
                click.echo(traceback.format_exc(), err=True)
                broken.append(name)
    return results, broken


def _print(result: Result, *, as_json: bool) -> None:
    click.echo(orjson.dumps(asdict(result)).decode() if as_json else measure.row(result))


main(prog_name="scripts/bench")
