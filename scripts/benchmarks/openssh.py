"""A real OpenSSH on loopback, where there is one and this process may start it."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

SSHD = Path("/usr/sbin/sshd")

_CONFIG = """\
Port {port}
ListenAddress 127.0.0.1
HostKey {host_key}
PidFile none
TrustedUserCAKeys {authority}
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
StrictModes no
AcceptEnv LANG LC_*
Subsystem sftp internal-sftp
MaxStartups 1000
"""
_FIRST_PERSON = 1000
_LAST_PERSON = 60_000


def person() -> str | None:
    """A user of this machine as whom OpenSSH would let somebody in, if it can be started."""
    if os.geteuid() != 0 or not SSHD.exists():
        return None
    rows = [line.split(":") for line in Path("/etc/shadow").read_text().splitlines()]
    open_to_keys = {name for name, secret, *_ in rows if not secret.startswith("!")}
    return next(
        (
            user.pw_name
            for user in pwd.getpwall()
            if _FIRST_PERSON <= user.pw_uid < _LAST_PERSON
            and user.pw_name in open_to_keys
            and not user.pw_shell.endswith(("nologin", "false"))
        ),
        None,
    )


def argv(directory: Path, port: int, host_key: Path, authority: Path) -> list[str]:
    """What starts it; its configuration is written to the directory."""
    config = directory / "sshd_config"
    config.write_text(_CONFIG.format(port=port, host_key=host_key, authority=authority))
    return [str(SSHD), "-D", "-e", "-f", str(config)]
