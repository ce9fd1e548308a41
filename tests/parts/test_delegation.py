"""What lets the gateway in besides its own certificate authority, on a real sshd.

Contract: auth §6.
"""

from __future__ import annotations

import logging
import re
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncssh
import pytest
from aiohttp import web

from firecrest.config.settings import Delegation as DelegationSettings
from firecrest.config.settings import Scheduler, Ssh, System
from firecrest.config.values import Address, Secret
from firecrest.errors import AccessDenied, ConfigError, SystemUnavailable
from firecrest.ssh import signing_service
from firecrest.ssh.certificates import CertificateAuthority
from firecrest.ssh.delegation import Delegation
from firecrest.ssh.pool import Pool
from firecrest.ssh.service_key import ServiceKey
from firecrest.ssh.session import exchange
from tests.harness.services import SigningService, served
from tests.harness.sshd import SshServer, ssh_server
from tests.harness.testbed import Testbed

TOKEN = "the-token-of-the-gateway"
KINDS = ("ssh-ed25519", "ssh-rsa")
Extensions = dict[str, Any]


@pytest.fixture(scope="module")
async def sshd(
    testbed: Testbed, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[SshServer]:
    place = tmp_path_factory.mktemp("sshd")
    async with ssh_server(place, testbed.ca_key, place) as server:
        yield server


def system_on(sshd: SshServer) -> System:
    return System(
        name="cluster",
        address=Address("127.0.0.1", sshd.port),
        scheduler=Scheduler(base_fs=Path("/home")),
    )


@asynccontextmanager
async def pool_for(
    sshd: SshServer, delegation: Delegation, tmp_path: Path, **settings: Any
) -> AsyncIterator[Pool]:
    known_hosts = tmp_path / "known_hosts"
    known_hosts.write_text(sshd.known_as())
    pool = Pool(Ssh(known_hosts=known_hosts, **settings), {"cluster": delegation})
    pool.start()
    yield pool
    await pool.stop()


async def run(pool: Pool, sshd: SshServer, line: str = "id -un", user: str = "alice") -> str:
    done = await exchange(
        *(pool, user, system_on(sshd), line),
        stdin=b"",
        environment={},
        limit=1 << 20,
        seconds=30,
    )
    assert done.status == 0, done
    return done.stdout.decode().strip()


@pytest.fixture
async def service(testbed: Testbed) -> AsyncIterator[SigningService]:
    made = SigningService(asyncssh.read_private_key(testbed.ca_key))
    async with served(made.respond) as made.url:
        yield made


@asynccontextmanager
async def asking(
    service: SigningService,
    sshd: SshServer,
    tmp_path: Path,
    *,
    timeout: float = 30,
    **settings: Any,
) -> AsyncIterator[Pool]:
    how = DelegationSettings(
        type="signing_service", url=f"{service.url}/sign", token=Secret(TOKEN), timeout=timeout
    )
    known_hosts = tmp_path / "known_hosts"
    async with (
        signing_service.connect(how, Ssh(known_hosts=known_hosts, **settings)) as found,
        pool_for(sshd, found, tmp_path, **settings) as pool,
    ):
        yield pool


class TestSigningService:
    async def test_its_certificate_is_used(
        self, service: SigningService, sshd: SshServer, tmp_path: Path
    ) -> None:
        settings: dict[str, Any] = {"source_address": "127.0.0.0/8", "cert_validity": 120}
        async with asking(service, sshd, tmp_path, **settings) as pool:
            assert await run(pool, sshd) == "alice"
            assert await run(pool, sshd) == "alice"
        (asked,) = service.asked
        assert asked.pop("public_key").startswith("ssh-ed25519 AAAA")
        assert asked.pop("key_id").startswith("alice@cluster:")
        assert asked == {
            "principal": "alice",
            "validity": 120,
            "source_address": "127.0.0.0/8",
            "force_command": None,
        }
        assert service.tokens == [f"Bearer {TOKEN}"]

    async def test_for_one_command_too(
        self, service: SigningService, sshd: SshServer, tmp_path: Path
    ) -> None:
        async with asking(service, sshd, tmp_path, session_mode="per-command") as pool:
            assert await run(pool, sshd, "echo 'é'") == "é"
            assert service.asked[0]["force_command"] == "echo 'é'"
            with pytest.raises(SystemUnavailable):
                await run(pool, sshd, "echo '\udcff'")  # not to be said in JSON

    @pytest.mark.parametrize(
        ("options", "complaint"),
        [
            ({"principals": ["bob"]}, "not for the user alone"),
            ({"principals": ["alice", "bob"]}, "not for the user alone"),
            ({"principals": []}, "not for the user alone"),
            ({"principals": ["alice,bob"]}, "not for the user alone"),
            ({"valid_before": 2**40}, "valid for too long"),
            ({"valid_after": 0}, "valid for too long"),
            ({"valid_after": 0, "valid_before": 300}, "not valid now"),
            ({"valid_after": 2**40, "valid_before": 2**40 + 300}, "not valid now"),
            ({"permit_pty": True}, "extensions"),
            ({"permit_port_forwarding": True}, "extensions"),
            ({"force_command": "id"}, "other critical options"),
            ({"source_address": ["10.0.0.0/8"]}, "refused"),
            ({"key_id": "bob@cluster:1"}, "another key id"),
            ({"user_key": asyncssh.generate_private_key("ssh-ed25519")}, "another key"),
            ({"user_key": asyncssh.generate_private_key("ecdsa-sha2-nistp256")}, "another key"),
        ],
    )
    async def test_any_other_certificate_is_not(
        self,
        service: SigningService,
        sshd: SshServer,
        tmp_path: Path,
        caplog: pytest.LogCaptureFixture,
        options: Extensions,
        complaint: str,
    ) -> None:
        service.options = options
        error = AccessDenied if complaint == "refused" else SystemUnavailable
        with caplog.at_level(logging.ERROR):
            async with asking(service, sshd, tmp_path) as pool:
                with pytest.raises(error):
                    await run(pool, sshd)
        assert error is AccessDenied or complaint in caplog.text
        assert TOKEN not in caplog.text

    @pytest.mark.parametrize("lost", ["force_command", "source_address"])
    async def test_what_was_asked_for_must_be_there(
        self, service: SigningService, sshd: SshServer, tmp_path: Path, lost: str
    ) -> None:
        service.options = {lost: None}
        settings: dict[str, Any] = {
            "source_address": "127.0.0.0/8",
            "session_mode": "per-command",
        }
        async with asking(service, sshd, tmp_path, **settings) as pool:
            with pytest.raises(SystemUnavailable):
                await run(pool, sshd)

    @pytest.mark.parametrize(
        "answer",
        [
            lambda: web.Response(status=500, text="trouble"),
            lambda: web.HTTPFound("/elsewhere"),
            lambda: web.Response(text="no JSON"),
            lambda: web.json_response([]),
            lambda: web.json_response({"certificate": 1}),
            lambda: web.json_response({"certificate": "ssh-ed25519-cert-v01@openssh.com AAAA"}),
            lambda: web.json_response({"certificate": ""}),
            lambda: web.json_response({"certificate": "x" * 100_000}),
        ],
    )
    async def test_no_certificate_is_a_machine_that_is_not_available(
        self,
        service: SigningService,
        sshd: SshServer,
        tmp_path: Path,
        answer: Callable[[], web.StreamResponse],
    ) -> None:
        service.answer = answer
        async with asking(service, sshd, tmp_path) as pool:
            with pytest.raises(SystemUnavailable):
                await run(pool, sshd)
            service.answer = None
            assert await run(pool, sshd) == "alice"

    async def test_silence_is_given_up(
        self, service: SigningService, sshd: SshServer, tmp_path: Path
    ) -> None:
        service.away.clear()
        async with asking(service, sshd, tmp_path, timeout=0.2) as pool:
            with pytest.raises(SystemUnavailable):
                await run(pool, sshd)
        assert len(service.asked) == 1
        service.away.set()

    async def test_a_signature_of_somebody_elses_is_the_machines_to_refuse(
        self, service: SigningService, sshd: SshServer, tmp_path: Path
    ) -> None:
        service.key = asyncssh.generate_private_key("ssh-ed25519")
        async with asking(service, sshd, tmp_path) as pool:
            with pytest.raises(AccessDenied):
                await run(pool, sshd)


def documented(first_word: str, **replaced: str) -> str:
    """A section of sshd_config as the operators' guide shows it."""
    text = (Path(__file__).parents[2] / "docs" / "operators" / "login-nodes.md").read_text()
    (block,) = re.findall(rf"\n\n((?:    \w.*\n)*    {first_word} (?:.*\n    )*.*\n)\n", text)
    for old, new in replaced.items():
        assert old in block
        block = block.replace(old, new)
    return "\n".join(line.strip() for line in block.splitlines())


async def test_the_documented_sshd_lets_the_gateway_in(testbed: Testbed, tmp_path: Path) -> None:
    how = documented("TrustedUserCAKeys", **{"/etc/ssh/firecrest_ca.pub": f"{tmp_path}/ca.pub"})
    async with (
        ssh_server(tmp_path, testbed.ca_key, tmp_path, how=how) as sshd,
        pool_for(sshd, CertificateAuthority(testbed.ca_key, 300, ""), tmp_path) as pool,
    ):
        assert await run(pool, sshd) == "alice"
        async with pool.channel("alice", system_on(sshd)) as link:
            assert await (await link.sftp()).realpath("/") == "/"
        assert "alice@cluster:" in sshd.log


async def test_the_documented_sshd_accepts_a_service_key(testbed: Testbed, tmp_path: Path) -> None:
    key = asyncssh.generate_private_key("ssh-ed25519")
    key.write_private_key(tmp_path / "service_key")
    with tempfile.TemporaryDirectory(prefix="firecrest-keys-") as name:
        Path(name).chmod(0o755)  # nobody looks into it
        file = Path(name, "key.pub")
        file.write_bytes(b'restrict,from="127.0.0.1" ' + key.export_public_key())
        places = {"/etc/ssh/firecrest_service_key.pub": str(file)}
        how = documented("AuthorizedKeysFile", **places)
        async with (
            ssh_server(tmp_path, testbed.ca_key, tmp_path, how=how) as sshd,
            pool_for(sshd, ServiceKey(tmp_path / "service_key"), tmp_path) as pool,
        ):
            assert await run(pool, sshd) == "alice"
            assert await run(pool, sshd, user="bob") == "bob"


async def test_a_service_key_logs_in_where_it_is_accepted(testbed: Testbed, tmp_path: Path) -> None:
    key = asyncssh.generate_private_key("ssh-ed25519")
    key.write_private_key(tmp_path / "service_key")
    with tempfile.TemporaryDirectory(prefix="firecrest-keys-") as accepted:
        Path(accepted).chmod(0o755)  # sshd looks into it in the name of the user
        # for alice, but not for bob
        Path(accepted, "alice").write_bytes(b"restrict " + key.export_public_key())
        how = f"AuthorizedKeysFile {accepted}/%u\nStrictModes no"
        async with (
            ssh_server(tmp_path, testbed.ca_key, tmp_path, how=how) as sshd,
            pool_for(sshd, ServiceKey(tmp_path / "service_key"), tmp_path) as pool,
        ):
            assert await run(pool, sshd) == "alice"
            with pytest.raises(AccessDenied):
                await run(pool, sshd, user="bob")


@pytest.mark.parametrize("text", [None, "no key", "-----BEGIN OPENSSH PRIVATE KEY-----\n"])
def test_a_key_that_is_none_is_a_wrong_configuration(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "key"
    if text is not None:
        path.write_text(text)
    for make in (ServiceKey, lambda path: CertificateAuthority(path, 300, "")):
        with pytest.raises(ConfigError) as raised:
            make(path)
        assert str(path) in str(raised.value)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_ca_key_of_either_kind_signs(tmp_path: Path, kind: str) -> None:
    asyncssh.generate_private_key(kind).write_private_key(tmp_path / "ca")
    authority = CertificateAuthority(tmp_path / "ca", 300, "192.0.2.1, 198.51.100.7/24")
    async with (
        ssh_server(tmp_path, tmp_path / "ca", tmp_path) as sshd,
        pool_for(sshd, CertificateAuthority(tmp_path / "ca", 300, ""), tmp_path) as pool,
    ):
        assert await run(pool, sshd) == "alice"
        # and not from here with that one
        async with pool_for(sshd, authority, tmp_path) as bound:
            with pytest.raises(AccessDenied):
                await run(bound, sshd)
