"""TLS without a proxy: versions, and certificates that are replaced meanwhile (config §1)."""

from __future__ import annotations

import asyncio
import datetime
import ssl
import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import pytest
import yaml
from click.testing import CliRunner
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from firecrest.cli import main
from tests.harness.client import Client
from tests.harness.gateway import Config, Gateway, running_gateway
from tests.harness.tokens import TokenMint
from tests.harness.waiting import eventually

PRIVATE = 0o600


@dataclass(frozen=True)
class Issued:
    """A certificate that vouches for itself, with its key."""

    cert: bytes
    key: bytes
    serial: int

    @classmethod
    def new(cls) -> Issued:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
        now = datetime.datetime.now(datetime.UTC)
        cert = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), False)
            .sign(key, hashes.SHA256())
        )
        return cls(
            cert.public_bytes(serialization.Encoding.PEM),
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            ),
            cert.serial_number,
        )

    def install(self, directory: Path) -> None:
        """Each file at once, as a careful administrator does it."""
        for name, content in (("cert.pem", self.cert), ("key.pem", self.key)):
            new = directory / f"{name}.new"
            new.write_bytes(content)
            new.chmod(PRIVATE)
            new.rename(directory / name)

    def trusted(self) -> ssl.SSLContext:
        return ssl.create_default_context(cadata=self.cert.decode())


@dataclass(frozen=True)
class Secured:
    """A gateway that serves TLS.

    :ivar directory: of its files
    """

    gateway: Gateway
    directory: Path

    @property
    def port(self) -> int:
        port = urlsplit(self.gateway.url).port
        assert port
        return port

    async def shown(self) -> int:
        """The serial number of the certificate a new client is shown."""
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        _, writer = await asyncio.open_connection("127.0.0.1", self.port, ssl=context)
        try:
            der = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
            return x509.load_der_x509_certificate(der).serial_number
        finally:
            writer.close()
            await writer.wait_closed()

    async def replace(self) -> Issued:
        """Show another certificate from now on."""
        issued = Issued.new()
        issued.install(self.directory)

        async def replaced() -> bool:
            return await self.shown() == issued.serial

        await eventually(replaced, "the new certificate is shown")
        return issued


@pytest.fixture(scope="module")
async def secured(
    base_config: Config, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Secured]:
    directory = tmp_path_factory.mktemp("tls")
    Issued.new().install(directory)
    config = deepcopy(base_config)
    files = {name: str(directory / f"{name}.pem") for name in ("cert", "key")}
    config["server"] |= {"tls": {**files, "interval": 0.1}, "timeouts": {"headers": 2}}
    async with running_gateway(config, directory) as gateway:
        assert gateway.url.startswith("https://127.0.0.1:")
        yield Secured(gateway, directory)


@asynccontextmanager
async def client(
    gateway: Secured, trust: Issued, mint: TokenMint
) -> AsyncIterator[aiohttp.ClientSession]:
    """A client that believes one certificate only, and has one connection."""
    url = f"https://localhost:{gateway.port}"
    connector = aiohttp.TCPConnector(ssl=trust.trusted(), limit=1)
    headers = {"Authorization": f"Bearer {mint.token('alice')}"}
    async with aiohttp.ClientSession(url, connector=connector, headers=headers) as session:
        yield session


async def test_a_new_certificate_is_shown_to_new_clients_and_cuts_nobody_off(
    secured: Secured, mint: TokenMint
) -> None:
    first = await secured.replace()
    async with client(secured, first, mint) as old:
        stream = await old.ws_connect("/events")
        assert (await stream.receive_json())["event"] == "hello"
        second = await secured.replace()
        async with client(secured, second, mint) as new, new.get("/tasks") as answer:
            assert answer.status == 200
        async with client(secured, first, mint) as distrusting:
            with pytest.raises(aiohttp.ClientConnectorCertificateError):
                await distrusting.get("/tasks")
        await stream.send_json({"action": "nonsense"})
        assert (await stream.receive_json(timeout=10))["event"] == "error"
        await stream.close()


async def test_browsers_are_told_to_stay_with_tls(
    secured: Secured, alice: Client, mint: TokenMint
) -> None:
    async with client(secured, await secured.replace(), mint) as session:
        for path in ("/tasks", "/nowhere", "/health/live"):
            async with session.get(path) as answer:
                assert answer.headers["Strict-Transport-Security"] == "max-age=31536000"
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    reader, writer = await asyncio.open_connection("127.0.0.1", secured.port, ssl=context)
    writer.write(b"no request\r\n\r\n")
    async with asyncio.timeout(20):
        assert b"\r\nStrict-Transport-Security: " in await reader.readuntil(b"\r\n\r\n")
    writer.close()
    assert "Strict-Transport-Security" not in (await alice.get("/tasks")).headers


async def test_broken_files_change_nothing_and_are_told(secured: Secured) -> None:
    first, other, gateway = await secured.replace(), Issued.new(), secured.gateway
    for content in (b"nonsense", other.key):
        count = gateway.log.count("the new files are not used")
        (secured.directory / "key.pem").write_bytes(content)

        async def told(before: int = count) -> bool:
            return gateway.log.count("the new files are not used") > before

        await eventually(told, "the log says so")
        assert await secured.shown() == first.serial
    assert "nonsense" not in gateway.log
    await secured.replace()


async def test_old_versions_are_refused(secured: Secured) -> None:
    for version in (ssl.TLSVersion.TLSv1_1, ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        context.set_ciphers("ALL:@SECLEVEL=0")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # that is the point of it
            context.minimum_version = context.maximum_version = version
        connecting = asyncio.open_connection("localhost", secured.port, ssl=context)
        if version is ssl.TLSVersion.TLSv1_1:
            with pytest.raises((ssl.SSLError, ConnectionError)):
                await connecting
            continue
        _, writer = await connecting
        assert writer.get_extra_info("ssl_object").version() == version.name.replace("_", ".")
        writer.close()
        await writer.wait_closed()


async def test_who_speaks_plain_http_or_never_shakes_hands_gets_nothing(secured: Secured) -> None:
    for said in (b"GET /tasks HTTP/1.1\r\nHost: x\r\n\r\n", b""):
        reader, writer = await asyncio.open_connection("127.0.0.1", secured.port)
        writer.write(said)
        async with asyncio.timeout(30):
            assert b"HTTP" not in await reader.read()
        writer.close()
    assert "Traceback" not in secured.gateway.log


@pytest.mark.parametrize(
    ("change", "mode", "problem"),
    [
        ({"cert": None}, PRIVATE, "server.tls: cert and key are needed, or neither"),
        ({"cert": "/no/cert.pem"}, PRIVATE, "server.tls.cert: /no/cert.pem: no such file"),
        ({"key": "cert.pem"}, PRIVATE, "server.tls: no certificate with its key: "),
        ({}, 0o644, "must be accessible to its owner only"),
    ],
)
def test_unusable_files_are_found_before_the_start(
    config: Config, tmp_path: Path, change: dict[str, str | None], mode: int, problem: str
) -> None:
    Issued.new().install(tmp_path)
    (tmp_path / "key.pem").chmod(mode)
    config["server"]["tls"] = {"cert": "cert.pem", "key": "key.pem", **change}
    file = tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump(config))
    done = CliRunner().invoke(main, ["check-config", "--config", str(file)])
    assert (done.exit_code, problem in done.output) == (1, True), done.output
