"""Many users of a cluster whose batch system answers at once, so that the gateway is measured.

The login node is OpenSSH with users made by ``scripts/testbed/crowd``, else the demo's, which costs
as much as the gateway; its ``sbatch`` is a few lines of shell that print what Slurm's would, and
start nothing.
"""

from __future__ import annotations

import asyncio
import shutil
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass

from scripts.benchmarks import openssh
from scripts.benchmarks.load import Client, multipart
from scripts.benchmarks.measure import Bench
from scripts.benchmarks.servers import Surroundings, surroundings

#: What people submit.
SCRIPT = multipart(b"#!/bin/sh\n#SBATCH --job-name=bench\ntrue\n")

_ASKED = 100  # ids in one request
_PAUSE = 0.2  # seconds
_SHOWN = 150  # characters of an error
_RULE = "sbatch: -------------------- --------------------"
_PROGRAMS = {
    "sbatch": f"""\
#!/bin/sh
for word; do case $word in --chdir=*) chdir=${{word#--chdir=}};; esac; done
printf '%s\\n' 'sbatch: defined options' '{_RULE}' "sbatch: chdir               : $chdir" \\
  'sbatch: job-name            : bench' '{_RULE}' 'sbatch: end of defined options' >&2
echo "Submitted batch job $$"
""",
    "scontrol": "#!/bin/sh\necho 'slurm 22.05.8'\n",
    "squeue": "#!/bin/sh\n",
}


@dataclass(frozen=True)
class Crowd:
    """A gateway, and a client of each user, connected."""

    pid: int
    served: Surroundings
    clients: dict[str, Client]


@asynccontextmanager
async def crowd(bench: Bench, users: int, changed: Mapping[str, object]) -> AsyncIterator[Crowd]:
    """So many users, who have made no request yet.

    :param changed: settings of the gateway by key
    """
    bench = bench.within("crowd")
    programs = bench.directory / "bin"
    programs.mkdir()
    for name, text in _PROGRAMS.items():
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    real = openssh.crowd(users)
    if real is None:
        bench.remark("no OpenSSH with users of scripts/testbed/crowd")
    names = real or [f"user{number}" for number in range(users)]
    settings = {"systems.0.scheduler.type": "Slurm", **changed}
    async with AsyncExitStack() as stack:
        person = names[0] if real else None
        around = surroundings(bench, settings, person=person, users=names, programs=programs)
        served = await stack.enter_async_context(around)
        for name in real or ():
            shutil.chown(bench.directory / "home" / name, name)
        for path in (bench.directory.parent, bench.directory):
            path.chmod(0o711)
        running = await stack.enter_async_context(served.started())
        clients = {}
        for name in names:
            headers = {
                "Authorization": f"Bearer {served.minter.token(name)}",
                "X-Machine-Name": "cluster",
            }
            clients[name] = client = Client(served.port, headers)
            await client.open()
            stack.callback(client.close)
        yield Crowd(running.pid, served, clients)


async def all_done(client: Client, wanted: set[str], patience: float) -> Counter[str]:
    """Wait until these tasks of one user are finished.

    :param wanted: their ids
    :param patience: seconds
    :returns: what is lost, by what became of it: failed, not there, or unfinished when patience
        ends
    """
    left, lost = set(wanted), Counter[str]()
    with suppress(TimeoutError):  # what is not done by then is lost
        async with asyncio.timeout(patience):
            while left:
                asked = sorted(left)[:_ASKED]
                _, found = await client.ask("GET", f"/tasks?tasks={','.join(asked)}")
                tasks = found.get("tasks", {})
                ended = {one: task for one, task in tasks.items() if task["status"] >= "200"}
                lost.update(
                    f"task {task['status']}: {task['data']}"[:_SHOWN]
                    for task in ended.values()
                    if task["status"] != "200"
                )
                left -= ended.keys()
                if not ended:
                    await asyncio.sleep(_PAUSE)
    lost.update("unfinished" for _ in left)
    return lost
