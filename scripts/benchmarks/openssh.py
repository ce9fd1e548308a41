"""A real OpenSSH on loopback, where there is one and this process may start it."""

from __future__ import annotations

import os
import pwd
import re
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
_CROWD = re.compile(r"crowd\d\d")
_FIRST_PERSON = 1000
_LAST_PERSON = 60_000


def people() -> list[str]:
    """Users of this machine as whom OpenSSH would let somebody in, if it can be started."""
    if os.geteuid() != 0 or not SSHD.exists():
        return []
    rows = [line.split(":") for line in Path("/etc/shadow").read_text().splitlines()]
    open_to_keys = {name for name, secret, *_ in rows if not secret.startswith("!")}
    return [
        user.pw_name
        for user in pwd.getpwall()
        if _FIRST_PERSON <= user.pw_uid < _LAST_PERSON
        and user.pw_name in open_to_keys
        and not user.pw_shell.endswith(("nologin", "false"))
    ]


def person() -> str | None:
    """The first of them."""
    return next(iter(people()), None)


def crowd(count: int) -> list[str] | None:
    """So many users made by ``scripts/testbed/crowd``, if there are, and an OpenSSH."""
    names = sorted(user.pw_name for user in pwd.getpwall() if _CROWD.fullmatch(user.pw_name))
    return names[:count] if person() and len(names) >= count else None


def argv(
    directory: Path, port: int, host_key: Path, authority: Path, programs: Path | None
) -> list[str]:
    """What starts it; its configuration is written to the directory.

    :param programs: a directory of programs that it finds before all others
    """
    config = directory / "sshd_config"
    text = _CONFIG.format(port=port, host_key=host_key, authority=authority)
    if programs:
        text += f"SetEnv PATH={programs}:{os.defpath}\n"
    config.write_text(text)
    return [str(SSHD), "-D", "-e", "-f", str(config)]
