"""The demo: a gateway with a cluster, a Redis and an object store of its own.

    scripts/demo                 run until Ctrl-C
    scripts/demo --slurm         jobs go to the Slurm of this machine
    scripts/demo --check         bring everything up, run the smoke test, go away

Everything runs as the invoking user on loopback and keeps its files in one
directory. At the end no process, no job and no file is left.
"""

import argparse
import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from scripts import smoke
from scripts.embedded import guide, parts, slurm, state
from scripts.embedded.plan import MACHINE, ROOT, Demo, Ports

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def say(text: str) -> None:
    """Print; a reader who has gone must not stop the cleaning up."""
    with contextlib.suppress(OSError):
        print(text, flush=True)


@contextlib.contextmanager
def timed(title: str) -> Iterator[None]:
    """Print a line with the duration of what went well."""
    start = time.monotonic()
    yield
    say(smoke.line("ok", title, time.monotonic() - start))


async def bring_up(demo: Demo, stack: contextlib.AsyncExitStack) -> list[parts.Running]:
    """Start everything and wait until it answers; `stack` stops it in reverse order."""
    with timed("keys, tokens, home directories"):
        await demo.end_jobs()
        state.clear(demo.state)
        demo.prepare()
    stack.push_async_callback(demo.end_jobs)
    running = [
        await stack.enter_async_context(parts.started(part))
        for part in (demo.login_node(), demo.redis(), demo.store())
    ]
    for one in running:
        with timed(one.part.title):
            await one.ready()
    gateway = await stack.enter_async_context(parts.started(demo.server()))
    with timed(gateway.part.title):
        await gateway.ready()
    return [*running, gateway]


async def stay(demo: Demo, running: list[parts.Running]) -> None:
    """Show how to use it, until a part ends by itself (`PartError`) or Ctrl-C cancels this."""
    text = guide.Guide(
        gateway=demo.origin,
        user=demo.user,
        token=demo.token(),
        state=demo.state,
        home=demo.home,
        python=Path(sys.executable),
        components=[f"{one.part.title}, port {one.part.port}" for one in reversed(running)],
    )
    text.write_files()
    say(text.text())
    await parts.first_end(running)


async def check(demo: Demo, running: list[parts.Running]) -> bool:
    """Run the smoke test; when it fails, show what the parts have to say."""
    target = smoke.Target(
        url=demo.origin,
        token=demo.token(),
        machine=MACHINE,
        home=str(demo.home),
        default_system=True,
    )
    report = await smoke.run(target, say)
    if not report.good:
        for one in running:
            if tail := one.part.tail():
                say(f"\n{one.part.title} says at the end:\n{tail}")
    return report.good


async def run(demo: Demo, *, checking: bool) -> bool:
    """The demo from its first to its last file; False if anything went wrong."""
    start = time.monotonic()
    good = False
    try:
        with state.claimed(demo.state):
            async with contextlib.AsyncExitStack() as stack:
                try:
                    running = await bring_up(demo, stack)
                    if checking:
                        good = await check(demo, running)
                    else:
                        await stay(demo, running)
                finally:
                    ignore_signals()
    except parts.PartError as error:
        say(f"demo: {error}\n{error.tail}")
    except (state.UnusableError, LookupError, OSError) as error:
        say(f"demo: {error}")
    except asyncio.CancelledError:
        say("\nThe demo has stopped.")
        return not checking
    if checking:
        verdict = "ok" if good else "FAIL"
        say(smoke.line(verdict, "in all, with stopping", time.monotonic() - start))
    return good


def stop_on_signals() -> None:
    """Make Ctrl-C and signals cancel the current task, which then cleans up."""
    task = asyncio.current_task()
    assert task is not None  # noqa: S101 (called from a coroutine)
    for number in SIGNALS:
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)


def ignore_signals() -> None:
    """From here on everything comes to its end anyway, and impatience would leave things behind."""
    for number in SIGNALS:
        asyncio.get_running_loop().add_signal_handler(number, lambda: None)
    # time limits of the cleaning up would take an earlier cancellation for theirs
    if task := asyncio.current_task():
        while task.cancelling():
            task.uncancel()


async def main(options: argparse.Namespace) -> int:
    """Exit status."""
    stop_on_signals()
    if options.slurm and not await slurm.answers():
        say("demo: --slurm needs a Slurm that works here, but `sinfo` does not answer")
        return 1
    try:
        directory = (options.state or default_state(temporary=options.check)).resolve()
    except state.UnusableError as error:
        say(f"demo: {error}")
        return 1
    ports = Ports.choose(private=options.check)
    demo = Demo(state=directory, ports=ports, with_slurm=options.slurm)
    return 0 if await run(demo, checking=options.check) else 1


def default_state(*, temporary: bool) -> Path:
    """Where the files go if nobody says."""
    return state.temporary(ROOT) if temporary else ROOT / ".demo"


def arguments() -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(prog="scripts/demo", description="run firecrest-server here")
    parser.add_argument("--state", type=Path, metavar="DIR", help="where to keep files (.demo)")
    parser.add_argument("--slurm", action="store_true", help="use the Slurm of this machine")
    parser.add_argument("--check", action="store_true", help="run the smoke test and stop")
    return parser.parse_args()


if __name__ == "__main__":
    # everything is on loopback: no proxy has any business in between
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        os.environ.pop(name, None)
        os.environ.pop(name.upper(), None)
    sys.exit(asyncio.run(main(arguments())))
