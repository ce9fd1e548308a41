"""The demo's object store: OpenStack Swift with its S3 interface, signatures enforced.

Swift is four servers. Here they are four listeners of one process, told apart
by their ports, with one ring, one replica and one directory for everything.

    S3_ACCESS_KEY=a:b S3_SECRET_KEY=s python -P -m scripts.embedded.swift --port 9000 --dir s3

The access key is an account and a user, joined by a colon.
"""

import argparse
import getpass
import importlib.metadata
import os
import secrets
import socket
from pathlib import Path
from wsgiref.types import WSGIApplication

REGION = "us-east-1"
BACKENDS = ("account", "container", "object")
NO_SYSLOG = "/nonexistent"
"""Address of the system's log: what goes wrong is written to stderr instead, see `serve`."""
LOGGING = f"log_level = WARNING\nlog_address = {NO_SYSLOG}"

SWIFT = """\
[swift-hash]
swift_hash_path_prefix = {prefix}
swift_hash_path_suffix = {suffix}
[storage-policy:0]
name = gold
default = yes
"""

BACKEND = """\
[DEFAULT]
user = {user}
swift_dir = {directory}
devices = {directory}/devices
mount_check = false
disable_fallocate = true
fallocate_reserve = 0
{logging}
[pipeline:main]
pipeline = {name}-server
[app:{name}-server]
use = egg:swift#{name}
"""

PROXY = """\
[DEFAULT]
user = {user}
swift_dir = {directory}
{logging}
[pipeline:main]
pipeline = catch_errors gatekeeper healthcheck pages s3post s3api tempauth bulk slo dlo proxy-server
[filter:catch_errors]
use = egg:swift#catch_errors
[filter:gatekeeper]
use = egg:swift#gatekeeper
[filter:healthcheck]
use = egg:swift#healthcheck
[filter:pages]
paste.filter_factory = scripts.embedded.pages:filter_factory
[filter:s3post]
paste.filter_factory = scripts.embedded.s3post:filter_factory
access_key = {access_key}
secret_key = {secret_key}
region = {region}
[filter:s3api]
use = egg:swift#s3api
location = {region}
s3_acl = false
[filter:tempauth]
use = egg:swift#tempauth
user_{account}_{account_user} = {secret_key} .admin
[filter:bulk]
use = egg:swift#bulk
[filter:slo]
use = egg:swift#slo
[filter:dlo]
use = egg:swift#dlo
[app:proxy-server]
use = egg:swift#proxy
allow_account_management = true
account_autocreate = true
"""


def name() -> str:
    """For the reader of the screen; raises `LookupError` if it is not installed."""
    try:
        return f"OpenStack Swift {importlib.metadata.version('swift')} with s3api"
    except importlib.metadata.PackageNotFoundError as error:
        raise LookupError("no object store: swift is not installed") from error


def keeps_attributes(directory: Path) -> bool:
    """Whether files there can have extended attributes; Swift keeps its metadata in them."""
    probe = directory / f".{secrets.token_hex(8)}"
    probe.touch()
    try:
        os.setxattr(probe, "user.swift", b"x" * 1024)
    except OSError:
        return False
    finally:
        probe.unlink()
    return True


def configure(directory: Path, ports: dict[str, int], access_key: str, secret_key: str) -> None:
    """Write all that Swift reads; `ports` are those of the backends."""
    (directory / "devices" / "disk").mkdir(parents=True)
    common = {
        "directory": directory,
        "user": getpass.getuser(),
        "logging": LOGGING,
    }
    swift = SWIFT.format(prefix=secrets.token_hex(8), suffix=secrets.token_hex(8))
    _write(directory / "swift.conf", swift)
    for backend in BACKENDS:
        _write(directory / f"{backend}.conf", BACKEND.format(name=backend, **common))
        _ring(directory, backend, ports[backend])
    account, _, account_user = access_key.partition(":")
    proxy = PROXY.format(
        access_key=access_key,
        secret_key=secret_key,
        account=account,
        account_user=account_user,
        region=REGION,
        **common,
    )
    _write(directory / "proxy.conf", proxy)


def _write(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o600)


def _ring(directory: Path, backend: str, port: int) -> None:
    """A ring of one device: everything is on this port."""
    from swift.common.ring import RingBuilder

    builder = RingBuilder(part_power=4, replicas=1, min_part_hours=1)
    where = {"ip": "127.0.0.1", "port": port}
    replication = {f"replication_{key}": value for key, value in where.items()}
    place = {"id": 0, "region": 1, "zone": 1, "weight": 1.0, "device": "disk", "meta": ""}
    builder.add_dev({**place, **where, **replication})
    builder.rebalance()
    builder.get_ring().save(str(directory / f"{backend}.ring.gz"))


def serve(port: int, directory: Path, access_key: str, secret_key: str) -> None:
    """Serve until the process is ended."""
    import eventlet
    from swift.common import utils, wsgi

    utils.monkey_patch()
    eventlet.hubs.use_hub(utils.get_hub())
    listeners = {server: eventlet.listen(("127.0.0.1", 0)) for server in BACKENDS}
    listeners["proxy"] = eventlet.listen(("127.0.0.1", port))
    ports = {server: listener.getsockname()[1] for server, listener in listeners.items()}
    configure(directory, ports, access_key, secret_key)
    utils.set_swift_dir(str(directory))
    # the first logger made for the console makes all the others do the same
    utils.get_logger({"log_address": NO_SYSLOG}, "s3", log_to_console=True)
    apps = {server: wsgi.loadapp(str(directory / f"{server}.conf")) for server in listeners}
    threads = [
        eventlet.spawn(_answer, listener, apps[server]) for server, listener in listeners.items()
    ]
    for thread in threads:
        thread.wait()


def _answer(listener: socket.socket, app: WSGIApplication) -> None:
    """What `swift.common.wsgi.run_server` does, but that one wants the event loop for itself."""
    import eventlet.wsgi
    from swift.common.http_protocol import SwiftHttpProtocol
    from swift.common.utils import NullLogger

    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    eventlet.wsgi.server(
        listener,
        app,
        NullLogger(),
        protocol=SwiftHttpProtocol,
        # S3 clients look for "ETag", not "Etag"
        capitalize_response_headers=False,
    )


def main() -> None:
    """Command line; the keys come by environment, where other users cannot read them."""
    parser = argparse.ArgumentParser(description="object store of the demo")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--dir", type=Path, required=True, help="for all its files; must not exist")
    options = parser.parse_args()
    directory = options.dir.resolve()
    directory.mkdir(parents=True)
    if not keeps_attributes(directory):
        parser.error(f"the file system of {directory} keeps no extended attributes")
    serve(options.port, directory, os.environ["S3_ACCESS_KEY"], os.environ["S3_SECRET_KEY"])


if __name__ == "__main__":
    main()
