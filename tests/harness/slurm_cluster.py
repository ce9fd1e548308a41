"""A Slurm of a test module's own, whose daemons it may stop, freeze and kill.

Its configuration is the testbed's with ports and places of its own and a single node. munge and
MariaDB are the testbed's, the latter with a database of its own.
"""

from __future__ import annotations

import asyncio
import os
import re
import secrets
import shutil
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.harness.daemons import Daemon, free_port
from tests.harness.slurm import slurm
from tests.harness.sshd import SshServer, ssh_server
from tests.harness.waiting import eventually

#: Seconds that a tool waits for a daemon; by itself Slurm tries for minutes.
_PATIENCE = 2


@dataclass(frozen=True)
class SlurmCluster:
    """The daemons, and a machine whose sessions see them.

    :ivar state: where slurmctld saves what it knows
    :ivar conf: what the tools read, ``SLURM_CONF``
    :ivar tools: programs in this directory are found before those of the machine
    """

    ctld: Daemon
    dbd: Daemon
    rest: Daemon
    sshd: SshServer
    state: Path
    conf: Path
    tools: Path

    def reach_ctld_at(self, port: int) -> Path:
        """A configuration for tools that ask for slurmctld at another port."""
        conf = self.conf.with_name(f"wired-{port}.conf")
        conf.write_text(_changed(self.conf.read_text(), SlurmctldPort=str(port)))
        return conf

    def save(self, copy: Path) -> Path:
        """A copy of what slurmctld, which must be up, has saved."""
        self.ctld.freeze()  # else it may change while it is copied
        try:
            return shutil.copytree(self.state, copy)
        finally:
            self.ctld.thaw()

    def restore(self, copy: Path) -> None:
        """Let slurmctld, which must be down, know what it did when the copy was made."""
        shutil.rmtree(self.state)
        shutil.copytree(copy, self.state)
        for path in (self.state, *self.state.iterdir()):
            shutil.chown(path, "slurm", "slurm")

    async def works(self) -> None:
        """Wait until both daemons answer and the node takes jobs."""

        async def look() -> bool:
            where = f"SLURM_CONF={self.conf}"
            idle = await slurm("env", where, "sinfo", "--noheader", "--states=idle", "-o%D")
            accounted = await slurm("env", where, "sacct", "-X", "--noheader")
            return idle.stdout.strip() == "1" and accounted.status == 0

        await eventually(look, "Slurm works", limit=40)


@asynccontextmanager
async def slurm_cluster(directory: Path, ca_key: Path) -> AsyncIterator[SlurmCluster]:
    """A cluster in working order.

    :param directory: one that every user of this machine may look into
    """
    name = f"firecrest_test_{secrets.token_hex(4)}"
    base = Path(os.environ["SLURM_CONF"]).parent
    ctld_port, dbd_port, node_port, rest_port = (free_port() for _ in range(4))
    etc, state, tools = (directory / part for part in ("etc", "state", "tools"))
    for path in (etc, state, state / "ctld", tools):
        path.mkdir()
    for path in (state, state / "ctld"):
        shutil.chown(path, "slurm", "slurm")
    for other in ("cgroup.conf", "plugstack.conf"):
        shutil.copy(base / other, etc)

    places = {
        "StateSaveLocation": state / "ctld",
        "SlurmdSpoolDir": state / "node",
        "SlurmctldPidFile": state / "slurmctld.pid",
        "SlurmdPidFile": state / "slurmd.pid",
        "SlurmctldLogFile": state / "slurmctld.log",
        "SlurmdLogFile": state / "slurmd.log",
    }
    ports = {"SlurmctldPort": ctld_port, "AccountingStoragePort": dbd_port}
    own = {"ClusterName": name, "MinJobAge": 2, **places, **ports}
    text = re.sub(
        r"^(NodeName=n|PartitionName=p|PartitionName=debug|PartitionName=x).*\n",
        "",
        (base / "slurm.conf").read_text(),
        flags=re.MULTILINE,
    )
    text = _changed(text, **{key: str(value) for key, value in own.items()})
    text += (
        f"NodeName=n1 NodeHostname=n1 NodeAddr=127.0.0.1 Port={node_port}\n"
        "PartitionName=part01 Nodes=n1 Default=YES MaxTime=1-00:00:00\n"
    )
    (etc / "slurm.conf").write_text(text)
    conf = etc / "tools.conf"
    conf.write_text(_changed(text, MessageTimeout=str(_PATIENCE)))
    dbd_conf = etc / "slurmdbd.conf"
    dbd_conf.touch(mode=0o600)
    dbd_conf.write_text(
        _changed(
            (base / "slurmdbd.conf").read_text(),
            DbdPort=str(dbd_port),
            LogFile=str(state / "slurmdbd.log"),
            PidFile=str(state / "slurmdbd.pid"),
            StorageLoc=name,
        )
    )
    shutil.chown(dbd_conf, "slurm", "slurm")

    as_slurm = ["setpriv", "--reuid=slurm", "--regid=slurm", "--init-groups"]
    seen = ["env", f"SLURM_CONF={etc / 'slurm.conf'}"]
    log = directory / "daemons.log"
    dbd = Daemon([*as_slurm, *seen, "slurmdbd", "-D"], dbd_port, log)
    ctld = Daemon([*as_slurm, *seen, "slurmctld", "-D"], ctld_port, log)
    # a name of its own: the node's, as elsewhere
    node = Daemon(
        [*seen, "unshare", "--uts", "--", "sh", "-c", "hostname n1 && exec slurmd -D -N n1"],
        node_port,
        log,
    )
    # not Slurm's user, nor root: it asks in the name of its callers only
    rest = Daemon(
        [
            *("setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"),
            *("env", f"SLURM_CONF={conf}", "SLURM_JWT=daemon"),
            *("slurmrestd", "-a", "rest_auth/jwt", "-s", "openapi/v0.0.38"),
            f"127.0.0.1:{rest_port}",
        ],
        rest_port,
        log,
    )
    async with AsyncExitStack() as stack:
        stack.push_async_callback(
            _sql, f"drop database {name}; revoke all on {name}.* from 'slurm'@'127.0.0.1'"
        )
        await _sql(f"create database {name}; grant all on {name}.* to 'slurm'@'127.0.0.1'")
        stack.push_async_callback(dbd.stop)
        await dbd.start()
        await _run(*seen, "sacctmgr", "-i", "add", "cluster", name)
        for daemon in (ctld, node, rest):
            stack.push_async_callback(daemon.stop)
        stack.push_async_callback(_end_jobs, conf)
        sshd, *_ = await asyncio.gather(
            stack.enter_async_context(ssh_server(directory, ca_key, tools, slurm_conf=conf)),
            ctld.start(),
            node.start(),
            rest.start(),
        )
        cluster = SlurmCluster(ctld, dbd, rest, sshd, state / "ctld", conf, tools)
        await cluster.works()
        yield cluster


async def _end_jobs(conf: Path) -> None:
    """Processes of jobs outlive slurmd: none may be left when it goes."""
    where = ("env", f"SLURM_CONF={conf}")
    await slurm(*where, "scancel", "--user=alice")

    async def none_left() -> bool:
        said = await slurm(*where, "squeue", "--noheader", "--all", "--states=R,CG,S")
        return said.status == 0 and not said.stdout

    await eventually(none_left, "the jobs have ended")


def _changed(text: str, **values: str) -> str:
    """A configuration in which these keys have other values."""
    for key, value in values.items():
        text, count = re.subn(rf"^{key}=.*$", f"{key}={value}", text, flags=re.MULTILINE)
        assert count == 1, key
    return text


async def _sql(statements: str) -> None:
    socket = Path(os.environ["FIRECREST_TESTBED_ROOT"]) / "mysql" / "sock"
    words = ("mariadb", "--no-defaults", f"--socket={socket}", "--user=root", "-e", statements)
    await _run(*words)


async def _run(*argv: str) -> None:
    process = await asyncio.create_subprocess_exec(*argv, stdout=PIPE, stderr=PIPE)
    stdout, stderr = await process.communicate()
    assert process.returncode == 0, (argv, stdout, stderr)
