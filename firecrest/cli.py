"""``firecrest-server``: the command line."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import click

from firecrest import __version__, serving
from firecrest.api.http.tls import Certificate
from firecrest.api.v1 import endpoints
from firecrest.app import build, check
from firecrest.client.stream import Refused
from firecrest.client.terminal import Wanted, Watch
from firecrest.config.env_file import read_env_file
from firecrest.config.from_v1 import convert
from firecrest.config.json_schema import json_schema
from firecrest.config.load import check_files, load_settings, parse_settings
from firecrest.config.settings import Settings
from firecrest.diagnosis import Finding, diagnose
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
    continue them, then connections close. SIGHUP has the configuration read again: what is
    wrong with it is logged, and the former one stays in force.
    """
    settings = _load(config, overrides)
    logs.configure(settings.logging)
    app = build(settings, lambda: _checked(config, overrides))
    certificate = Certificate.of(settings.server.tls)
    running = serving.serve(
        app, settings.server, certificate, lambda text: click.echo(text, err=True)
    )
    try:
        asyncio.run(running)
    except OSError as error:
        raise click.ClickException(str(error)) from error


@main.command("check-config")
@_config
@_overrides
@click.option("--offline", is_flag=True, help="Look at files only.")
@click.option("--user", default="", help="Also log in to each system under this name.")
def check_config(config: Path, overrides: tuple[str, ...], offline: bool, user: str) -> None:
    """Check the configuration, the files it names, and whether all it names answers.

    Redis, the store, issuers that publish keys, the policy and the host key of each system
    are asked; with --user also login by certificate, the batch system and the file systems.
    Exit 1 if anything is wrong.
    """
    settings = _load(config, overrides)
    systems = ", ".join(system.name for system in settings.systems)
    click.echo(f"{config}: good; systems: {systems}")
    if offline:
        return
    findings = asyncio.run(diagnose(settings, user))
    widths = [max(len(row[column]) for row in map(_row, findings)) for column in range(3)]
    for finding in findings:
        cells = [cell.ljust(width) for cell, width in zip(_row(finding), widths, strict=False)]
        click.echo("  ".join((*cells, finding.detail)).rstrip())
    if not all(finding.good for finding in findings):
        raise SystemExit(1)


@main.group("config")
def config_group() -> None:
    """About the configuration as such."""


@config_group.command("schema")
def schema() -> None:
    """Print the JSON Schema of config.yaml, for editors."""
    click.echo(json.dumps(json_schema(), indent=2))


def _row(finding: Finding) -> tuple[str, str, str]:
    return finding.part, finding.name, "ok" if finding.good else "FAILED"


@main.command("import-env")
@click.argument("file", type=click.Path(path_type=Path))
def import_env(file: Path) -> None:
    """Convert an environment file of FirecREST v1 (F7T_...) to a config.yaml, on standard output.

    Secrets are not copied: the configuration names their variables. What needs a look is told
    on standard error, and all remarks are comments of the result. Exit 1 if the file cannot be
    read (then nothing is written), or if the result lacks something only the site can add.
    """
    try:
        environment = read_env_file(file)
        converted = convert(environment, file.name)
        click.echo(converted.text, nl=False)
        for remark in converted.attention:
            click.echo(f"attention: {remark}", err=True)
        parse_settings(converted.text, Path("config.yaml"), environment.values)
    except ConfigError as error:
        _complain(error)


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
        return _checked(config, overrides)
    except ConfigError as error:
        _complain(error)


def _checked(config: Path, overrides: tuple[str, ...]) -> Settings:
    """:raises ConfigError: with everything that is wrong"""
    settings = load_settings(config, overrides)
    if problems := check_files(settings):
        raise ConfigError(problems)
    check(settings)
    return settings


def _complain(error: ConfigError) -> NoReturn:
    for problem in error.problems:
        click.echo(f"error: {problem}", err=True)
    raise SystemExit(1) from error
