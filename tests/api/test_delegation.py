"""Systems that let the gateway in by other means, through the API (Contract: auth §6)."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import asyncssh
import pytest

from tests.conftest import Connect, Gateways
from tests.harness.daemons import RedisServer
from tests.harness.gateway import Config, Gateway
from tests.harness.services import SigningService, served
from tests.harness.sshd import ssh_server
from tests.harness.testbed import Testbed

TOKEN = "what-the-service-knows-the-gateway-by"


@pytest.fixture
async def service(testbed: Testbed) -> AsyncIterator[SigningService]:
    made = SigningService(asyncssh.read_private_key(testbed.ca_key))
    async with served(made.respond) as made.url:
        yield made


@pytest.fixture
async def gateway(
    config: Config,
    gateways: Gateways,
    service: SigningService,
    testbed: Testbed,
    tmp_path: Path,
    redis_server: RedisServer,
) -> AsyncIterator[Gateway]:
    """``signed``, ``strict`` and ``keyed`` are one machine; there is no CA key."""
    key = asyncssh.generate_private_key("ssh-ed25519")
    key.write_private_key(tmp_path / "service_key")
    (tmp_path / "service_key").chmod(0o400)
    (system,) = config["systems"]
    signing = {"type": "signing_service", "url": f"{service.url}/sign", "token": TOKEN}
    with tempfile.TemporaryDirectory(prefix="firecrest-keys-") as accepted:
        Path(accepted).chmod(0o755)  # sshd looks into it in the name of the user
        Path(accepted, "alice").write_bytes(b"restrict " + key.export_public_key())
        how = f"AuthorizedKeysFile {accepted}/%u\nStrictModes no\nSubsystem sftp internal-sftp"
        async with ssh_server(tmp_path, testbed.ca_key, tmp_path, how=how) as sshd:
            (tmp_path / "known_hosts").write_text(sshd.known_as())
            await redis_server.clear()
            config["redis"] = {"port": redis_server.port}
            config["ssh"] = {"known_hosts": str(tmp_path / "known_hosts")}
            system["address"] = f"127.0.0.1:{sshd.port}"
            keyed = {"type": "service_key", "key_path": str(tmp_path / "service_key")}
            config["systems"] = [
                {**system, "name": "signed", "delegation": signing},
                {**system, "name": "strict", "delegation": signing, "session_mode": "per-command"},
                {**system, "name": "keyed", "delegation": keyed},
            ]
            config["storage"]["default_system"] = "signed"
            yield await gateways(config)


async def test_each_system_has_its_own_way(
    gateway: Gateway, connect: Connect, service: SigningService, workdir: Path
) -> None:
    (workdir / "f").write_text("content")
    for machine in ("signed", "strict", "keyed"):
        client = connect(gateway, machine=machine)
        answer = await client.get("/utilities/view", params={"targetPath": f"{workdir}/f"})
        assert (answer.status, answer.json["output"]) == (200, "content"), machine
    asked = [(ask["principal"], ask["force_command"] is None) for ask in service.asked]
    assert set(asked) == {("alice", True), ("alice", False)}
    assert asked.count(("alice", True)) == 1
    assert set(service.tokens) == {f"Bearer {TOKEN}"}
    # bob's account does not list the key, and that is no trouble of the machine's
    answer = await connect(gateway, "bob", machine="keyed").get("/utilities/whoami")
    assert answer.headers["X-Permission-Denied"]

    service.options = {"permit_pty": True}
    for machine in ("signed", "strict"):
        answer = await connect(gateway, "bob", machine=machine).get("/utilities/whoami")
        assert answer.status == 400
        assert answer.headers["X-Machine-Not-Available"] == "Machine is not available"
    assert "no certificate for bob@signed:" in gateway.log
    assert "it has extensions" in gateway.log
    assert TOKEN not in gateway.log
