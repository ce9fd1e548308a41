"""Which machines are believed to be what they say, on a real sshd (Contract: auth §6)."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import asyncssh
import pytest

from firecrest.config.settings import Scheduler, Ssh, System
from firecrest.config.values import Address
from firecrest.errors import SystemUnavailable
from firecrest.ssh.certificates import CertificateAuthority
from firecrest.ssh.pool import Pool
from tests.harness.sshd import SshServer, ssh_server
from tests.harness.testbed import Testbed

HERE = "127.0.0.1"


@pytest.fixture(scope="module")
def host_ca() -> asyncssh.SSHKey:
    return asyncssh.generate_private_key("ssh-ed25519")


async def complaint(sshd: SshServer, testbed: Testbed, known_hosts: Path) -> str:
    """Why it is taken for a machine that is not available; empty if it is not."""
    system = System(
        name="cluster", address=Address(HERE, sshd.port), scheduler=Scheduler(base_fs=Path("/home"))
    )
    authority = CertificateAuthority(testbed.ca_key, 300, "")
    pool = Pool(Ssh(known_hosts=known_hosts), {"cluster": authority})
    try:
        async with pool.channel("alice", system):
            return ""
    except SystemUnavailable as error:
        return str(error)
    finally:
        await pool.stop()


@pytest.mark.parametrize(
    ("options", "by_others", "expected"),
    [
        ({"principals": [HERE]}, False, ""),
        ({"principals": ["other.example.org", HERE]}, False, ""),
        ({"principals": ["other.example.org"]}, False, "Certificate principal mismatch"),
        ({"principals": [HERE], "valid_before": 1_700_000_000}, False, "Certificate expired"),
        ({"principals": [HERE], "valid_after": 2**40}, False, "Certificate not yet valid"),
        ({"principals": [HERE]}, True, "Host CA key is not trusted"),
    ],
    ids=["good", "two names", "other name", "expired", "not yet", "other authority"],
)
async def test_a_host_certificate(
    testbed: Testbed,
    tmp_path: Path,
    host_ca: asyncssh.SSHKey,
    options: dict[str, Any],
    by_others: bool,
    expected: str,
) -> None:
    signer = asyncssh.generate_private_key("ssh-ed25519") if by_others else host_ca

    def certified(key: asyncssh.SSHKey) -> asyncssh.SSHCertificate:
        return signer.generate_host_certificate(key, "the machine", **options)

    async with ssh_server(tmp_path, testbed.ca_key, tmp_path, certified=certified) as sshd:
        known_hosts = tmp_path / "known_hosts"
        public = host_ca.export_public_key().decode()
        known_hosts.write_text(f"@cert-authority [{HERE}]:{sshd.port} {public}")
        said = await complaint(sshd, testbed, known_hosts)
        assert said.removesuffix(f" for host {HERE}") == expected


async def test_a_plain_key(testbed: Testbed, tmp_path: Path, host_ca: asyncssh.SSHKey) -> None:
    known_hosts = tmp_path / "known_hosts"
    async with ssh_server(tmp_path, testbed.ca_key, tmp_path) as sshd:
        known = sshd.known_as()
        other = f"[{HERE}]:{sshd.port} {host_ca.export_public_key().decode()}"
        for text, expected in {
            known: "",
            other: "Host key is not trusted",  # it has changed
            "": "Host key is not trusted",
            # they find no kind of key to agree on, and sshd hangs up
            f"@cert-authority {other}": r"Connection lost|\[Errno 104\] Connection reset by peer",
            f"{known}@revoked {known}": "Host key is revoked",
            f"{other}{known}": "",
        }.items():
            known_hosts.write_text(text)
            said = await complaint(sshd, testbed, known_hosts)
            assert re.fullmatch(expected, said.removesuffix(f" for host {HERE}")), (text, said)
