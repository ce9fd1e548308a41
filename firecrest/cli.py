"""``firecrest-server``: the command line."""

from __future__ import annotations

from pathlib import Path

import click
from aiohttp import web

from firecrest import __version__
from firecrest.api.v1 import endpoints
from firecrest.app import build, check
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
    server = settings.server
    web.run_app(
        build(settings),
        host=server.host,
        port=server.port,
        shutdown_timeout=server.shutdown_grace,
        # a client that goes away frees what its request holds
        handler_cancellation=True,
        access_log=None,
        print=lambda text: click.echo(text.splitlines()[0] if text else "", err=True),
    )


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
