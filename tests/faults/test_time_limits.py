"""Commands that take too long end, here and on the cluster (Contract: rest-v1 §4.1, §4.4)."""

from __future__ import annotations

from pathlib import Path

from tests.conftest import Connect, Gateways
from tests.faults.conftest import Cluster
from tests.harness.daemons import ended
from tests.harness.gateway import Config

TIMED_OUT = "Command has finished with timeout signal"


async def test_what_takes_too_long_is_told_in_the_words_that_clients_know(
    config: Config, cluster: Cluster, gateways: Gateways, connect: Connect, workdir: Path
) -> None:
    """pyfirecrest then submits a job instead."""
    config["utilities"] = {"timeout": 1}
    tar = cluster.tool("tar")
    tar.hold_before()
    client = connect(await gateways(config))
    form = {"sourcePath": str(workdir / "a.gz"), "targetPath": str(workdir / "b.gz")}
    for command in ("compress", "extract"):
        answer = await client.post(f"/utilities/{command}", data=form)
        assert (answer.status, answer.json["error"]) == (400, TIMED_OUT)
        assert answer.headers["X-Timeout"] == TIMED_OUT
    await ended(tar.runs)
