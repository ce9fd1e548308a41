"""``firecrest-server``: the command line."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

import click

from firecrest import __version__
from firecrest.api.http import listener
from firecrest.api.http.tls import Certificate
from firecrest.api.v1 import endpoints
from firecrest.app import build, check
from firecrest.client.stream import Refused
from firecrest.client.terminal import Wanted, Watch
from firecrest.config.load import check_files, load_settings
from firecrest.config.settings import Settings
from firecrest.errors import ConfigError
from firecrest.telemetry import logs

_config = click.option(
    "--config",
    type=click.Path(path_type=Path),
    default=Path("config.yaml"),
    show_default=True,
    help="Configuration file.",
)
_overrides = click.option(
    "--set",
    "overrides",
    metavar="KEY=VALUE",
    multiple=True,
    help="Replace one setting, e.g. --set server.port=8010; may be repeated.",
)


@click.group()
@click.version_option(__version__, prog_name="firecrest-server")
def main() -> None:
    """REST and event gateway between the web and supercomputers."""


@main.command()
@_config
@_overrides
def serve(config: Path, overrides: tuple[str, ...]) -> None:
    """Run the server until it is told to stop (SIGINT or SIGTERM).

    Open requests finish, running tasks reach a state from which another process can
    continue them, then connections close.
    """
    settings = _load(config, overrides)
    logs.configure(settings.logging)
    running = listener.serve(
        *(build(settings), settings.server, Certificate.of(settings.server.tls)),
        announce=lambda origin: click.echo(f"Running on {origin}", err=True),
    )
    asyncio.run(running)


@main.command("check-config")
@_config
@_overrides
def check_config(config: Path, overrides: tuple[str, ...]) -> None:
    """Check the configuration and the files it names; exit 1 if anything is wrong."""
    settings = _load(config, overrides)
    systems = ", ".join(system.name for system in settings.systems)
    click.echo(f"{config}: good; systems: {systems}")


@main.command()
def routes() -> None:
    """List every operation with the place that serves it and its contract section."""
    for endpoint in endpoints():
        code = endpoint.handler.__code__
        place = f"{endpoint.handler.__module__}:{code.co_firstlineno}"
        click.echo(f"{endpoint.method:6} {endpoint.path:36} {place:34} {endpoint.contract}")


@main.command()
@click.argument("tasks", nargs=-1, metavar="[TASK]...")
@click.option("--url", envvar="FIRECREST_URL", required=True, help="Origin of the gateway.")
@click.option(
    "--token-file",
    type=click.Path(path_type=Path),
    help="File with the token, read anew for each connection. Without it: FIRECREST_TOKEN.",
)
@click.option(
    "--job",
    "jobs",
    metavar="SYSTEM:ID",
    multiple=True,
    help="Follow a batch job; may be repeated.",
)
@click.option("--output", is_flag=True, help="Also show what the jobs write.")
@click.option("--since", default="", metavar="EVENT", help="First replay what followed this event.")
@click.option("--json", "as_json", is_flag=True, help="One JSON message per line.")
def watch(
    tasks: tuple[str, ...],
    url: str,
    token_file: Path | None,
    jobs: tuple[str, ...],
    output: bool,
    since: str,
    as_json: bool,
) -> None:
    """Follow tasks and jobs on the event stream of a gateway.

    With tasks or jobs named, it ends when all of them have: status 0 if all went well, 1 if
    not. Otherwise it shows every task of yours until interrupted. A lost connection is made
    again, and nothing is missed meanwhile.
    """
    wanted = Wanted(tasks=tasks, jobs=tuple(_job(name) for name in jobs), output=output)
    following = Watch(
        wanted=wanted,
        say=click.echo,
        remark=lambda text: click.echo(text, err=True),
        write=lambda name, text: click.echo(text, nl=False, err=name == "stderr"),
        as_json=as_json,
    )
    try:
        good = asyncio.run(following.run(url, _token_source(token_file), since))
    except Refused as error:
        raise click.ClickException(str(error)) from error
    raise SystemExit(0 if good else 1)


def _job(name: str) -> tuple[str, str]:
    system, colon, job_id = name.rpartition(":")
    if not (system and colon and job_id):
        raise click.BadParameter(f"{name!r} is not SYSTEM:ID", param_hint="--job")
    return system, job_id


def _token_source(path: Path | None) -> Callable[[], str]:
    token = os.environ.get("FIRECREST_TOKEN", "")  # an argument would show it to everybody
    if path is None and not token:
        raise click.UsageError("give --token-file or set FIRECREST_TOKEN")

    def read() -> str:
        try:
            return path.read_text().strip() if path else token
        except OSError as error:
            raise Refused(f"token file: {error}") from error

    return read


def _load(config: Path, overrides: tuple[str, ...]) -> Settings:
    try:
        settings = load_settings(config, overrides)
        problems = check_files(settings)
        if problems:
            raise ConfigError(problems)
        check(settings)
    except ConfigError as error:
        for problem in error.problems:
            click.echo(f"error: {problem}", err=True)
        raise SystemExit(1) from error
    return settings
