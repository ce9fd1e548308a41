"""Load balancers in front of gateways, with the files of ``deploy`` as they are shipped."""

from __future__ import annotations

import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.harness.daemons import Daemon, free_port

DEPLOY = Path(__file__).parents[2] / "deploy"
NGINX = DEPLOY / "nginx" / "firecrest.conf"
HAPROXY = DEPLOY / "haproxy" / "haproxy.cfg"

_NGINX = """\
user root;
daemon off;
worker_processes 1;
pid {directory}/nginx.pid;
error_log {directory}/error.log;
events {{ worker_connections 1024; }}
http {{
    access_log {directory}/access.log;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    include {directory}/site.conf;
}}
"""


def changed(text: str, changes: dict[str, str]) -> str:
    """The text of a shipped file with what every site changes; each is there exactly once."""
    for old, new in changes.items():
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return text


def certificate(directory: Path) -> tuple[Path, Path]:
    """A certificate that nobody trusts, and its key."""
    certificate, key = directory / "tls.crt", directory / "tls.key"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
            *("-nodes", "-days", "1", "-subj", "/CN=firecrest.example.org"),
            *("-keyout", str(key), "-out", str(certificate)),
        ],
        check=True,
        capture_output=True,
    )
    return certificate, key


def nginx_files(directory: Path, port: int, gateways: tuple[int, int]) -> list[str]:
    """Write what nginx reads; its command line."""
    tls, key = certificate(directory)
    site = changed(
        NGINX.read_text(),
        {
            "192.0.2.11:8000": f"127.0.0.1:{gateways[0]}",
            "192.0.2.12:8000": f"127.0.0.1:{gateways[1]}",
            "listen 443": f"listen 127.0.0.1:{port}",
            "/etc/nginx/tls/firecrest.crt": str(tls),
            "/etc/nginx/tls/firecrest.key": str(key),
        },
    )
    (directory / "site.conf").write_text(site)
    (directory / "nginx.conf").write_text(_NGINX.format(directory=directory))
    return ["nginx", "-e", str(directory / "error.log"), "-c", str(directory / "nginx.conf")]


def haproxy_files(directory: Path, port: int, gateways: tuple[int, int]) -> list[str]:
    """Write what HAProxy reads; its command line."""
    tls, key = certificate(directory)
    pem = directory / "firecrest.pem"
    pem.write_text(tls.read_text() + key.read_text())
    text = changed(
        HAPROXY.read_text(),
        {
            "192.0.2.11:8000": f"127.0.0.1:{gateways[0]}",
            "192.0.2.12:8000": f"127.0.0.1:{gateways[1]}",
            "bind :443": f"bind 127.0.0.1:{port}",
            "/etc/haproxy/firecrest.pem": str(pem),
        },
    )
    (directory / "haproxy.cfg").write_text(text)
    return ["haproxy", "-f", str(directory / "haproxy.cfg")]


PROXIES = {"nginx": nginx_files, "haproxy": haproxy_files}


@asynccontextmanager
async def proxy(kind: str, directory: Path, gateways: tuple[int, int]) -> AsyncIterator[str]:
    """A load balancer before two gateways; its origin, by TLS."""
    directory.mkdir()
    port = free_port()
    server = Daemon(PROXIES[kind](directory, port, gateways), port, directory / f"{kind}.log")
    await server.start()
    try:
        yield f"https://127.0.0.1:{port}"
    finally:
        await server.stop()
