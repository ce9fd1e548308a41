#!/usr/bin/python3 -IS
"""What sshd runs on a login node in the place of what the gateway asks for.

    Match ...
        ExposeAuthInfo yes
        ForceCommand /usr/local/libexec/firecrest-wrapper

It permits the programs below and refuses everything else with exit status 118; both is told to
syslog. Their arguments are the caller's, but for tar, which could run other programs: of its
options only those that the gateway uses are permitted. Nothing is evaluated: a line is split
into words by exact rules, and the program is executed with them, without a shell.

What is permitted comes from the certificate that sshd has really accepted, which it tells in
the file SSH_USER_AUTH. If that has a force-command, the force-command is what runs, and the
client may have asked for that line or have sent that certificate, nothing else. If it has
none (pooled connections, or a plain key), the line that the client sent is what is checked.

Options, each of which may be left out:

    --path DIRECTORIES   where programs are looked for, joined by colons, absolute each
    --keep VARIABLE      an environment variable programs see, too; a final * stands for any rest
    --syslog SOCKET      default: /dev/log

One file, Python 3.6 or newer, standard library only.
"""

# A process for each command: of socket and typing only what is needed, for they take longer to
# import than all the rest takes to run.
import binascii
import os
import pwd
import sys
import time
from _socket import AF_UNIX, SOCK_DGRAM
from _socket import socket as Socket  # noqa: N812

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, List, NoReturn, Optional, Tuple

BARE = set(b"cat head rm touch true sacct sbatch scancel scontrol squeue curl".split())
UNDER_TIMEOUT = set(
    b"base64 cat chmod chown cp curl file head id ln ls mkdir mv rm sacct sbatch scancel scontrol"
    b" sha256sum squeue stat tail touch tar unzip rsvmgmt".split()
)
#: All that may stand before ``--`` in the arguments of tar and begin with a hyphen.
TAR_OPTIONS = set(
    b"- -C -x -f -czf -xf -xzf -xjf --dereference --force-local --keep-old-files"
    b" --no-same-owner --no-same-permissions --same-permissions --touch".split()
)
REFUSED = 118
NOT_FOUND = 127

#: All bytes that stand for themselves outside quotes.
PLAIN = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789@%_+=:,./-")
BLANK, SINGLE, DOUBLE = b" '\""
#: Prefixes whose value is for the log only; then there may be the other one.
TRACES = (b"ID=", b"F7TID=")
TIME_FORMAT = b"SLURM_TIME_FORMAT=standard"

DEFAULT_PATH = "/usr/local/bin:/usr/bin:/bin"
KEPT = (
    *("HOME", "USER", "LOGNAME", "SHELL", "MAIL", "TZ", "LANG", "LANGUAGE", "LC_*"),
    *("SSH_CLIENT", "SSH_CONNECTION", "KRB5CCNAME", "XDG_RUNTIME_DIR", "SLURM_CONF"),
)

#: Fields between nonce and serial number in a certificate, by type.
KEY_FIELDS = {
    b"ssh-ed25519-cert-v01@openssh.com": 1,
    b"ssh-rsa-cert-v01@openssh.com": 2,
    b"ecdsa-sha2-nistp256-cert-v01@openssh.com": 2,
    b"ecdsa-sha2-nistp384-cert-v01@openssh.com": 2,
    b"ecdsa-sha2-nistp521-cert-v01@openssh.com": 2,
}
USER_CERTIFICATE = 1

#: Facility authpriv; severities info and warning.
INFO, WARNING = 10 << 3 | 6, 10 << 3 | 4
LONGEST_MESSAGE = 7000
#: Seconds a busy log is waited for.
PATIENCE = 2.0


class Refused(Exception):
    """The line is not run."""


class Options:
    """Those in sshd's configuration; whoever comes in has no say in them."""

    def __init__(self) -> None:
        self.path = DEFAULT_PATH
        self.kept = KEPT  # type: Tuple[str, ...]
        self.syslog = "/dev/log"

    def read(self, words: "List[str]") -> None:
        """Take them from the command line."""
        for name, value in zip(words[::2], [*words[1::2], ""]):
            if name == "--path" and all(place.startswith("/") for place in value.split(":")):
                self.path = value
            elif name == "--keep" and value:
                self.kept += (value,)
            elif name == "--syslog" and value:
                self.syslog = value
            else:
                raise Refused("the wrapper's own options are wrong")


class Key:
    """What sshd has accepted.

    :ivar text: type and base64 as sshd tells them
    :ivar key_id: empty for a plain key
    :ivar command: the force-command, if there is one
    """

    def __init__(self, text: bytes, key_id: bytes, command: "Optional[bytes]") -> None:
        self.text = text
        self.key_id = key_id
        self.command = command


class Fields:
    """Reads the encoding of SSH."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def take(self, size: int) -> bytes:
        if len(self.data) < size:
            raise Refused("a certificate that ends early")
        taken, self.data = self.data[:size], self.data[size:]
        return taken

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def text(self) -> bytes:
        return self.take(self.number(4))


def accepted_key(path: str) -> Key:
    """The one key by which the user has come in."""
    try:
        with open(path, "rb") as file:
            lines = file.read().splitlines()
    except OSError as error:
        raise Refused("SSH_USER_AUTH cannot be read: %s" % error.strerror) from None
    if len(lines) != 1 or lines[0].split(b" ")[0] != b"publickey":
        raise Refused("the user has not come in by one key")
    words = lines[0].split(b" ")
    if len(words) != 3:
        raise Refused("SSH_USER_AUTH is not understood")
    text = b" ".join(words[1:])
    try:
        blob = binascii.a2b_base64(words[2])
    except ValueError:
        raise Refused("SSH_USER_AUTH is not understood") from None
    fields = Fields(blob)
    kind = fields.text()
    if b"-cert-" not in kind:
        return Key(text, b"", None)
    if kind not in KEY_FIELDS:
        raise Refused("a certificate of an unknown type")
    for _ in range(1 + KEY_FIELDS[kind]):
        fields.text()
    fields.number(8)
    if fields.number(4) != USER_CERTIFICATE:
        raise Refused("not a user certificate")
    key_id = fields.text()
    fields.text()
    fields.number(16)
    options = Fields(fields.text())
    command = None
    while options.data:
        name, value = options.text(), options.text()
        if name == b"force-command":
            command = Fields(value).text()
    return Key(text, key_id, command)


def line_of(key: Key, asked: bytes) -> bytes:
    """What is to be run, if it may be."""
    if key.command is None:
        return asked
    if asked not in (key.command, key.text):
        raise Refused("asked for something else than the certificate's force-command")
    return key.command


def words_of(line: bytes) -> "List[Tuple[bytes, bytes]]":
    """The words of a line, as a shell reads them, and as they are written.

    Quotes are those of the gateway: single ones around anything else, double ones around a
    single one. Whatever else a shell would act on is refused.
    """
    words = []  # type: List[Tuple[bytes, bytes]]
    at = 0
    while at < len(line):
        if line[at] == BLANK:
            at += 1
        elif line[at : at + 3] == b">> ":
            words.append((b"", b">>"))
            at += 3
        else:
            start, word = at, b""
            while at < len(line) and line[at] != BLANK:
                if line[at] in PLAIN:
                    word += line[at : at + 1]
                    at += 1
                    continue
                if line[at] not in (SINGLE, DOUBLE):
                    raise Refused("a character with a meaning to shells")
                end = line.find(line[at : at + 1], at + 1)
                inside = line[at + 1 : end]
                if end < 0 or (line[at] == DOUBLE and inside != b"'"):
                    raise Refused("quotes")
                word += inside
                at = end + 1
            words.append((word, line[start:at]))
    return words


class Program:
    """What is executed.

    :ivar appends_to: a file that takes what it prints; empty: none
    """

    def __init__(
        self, words: "List[bytes]", appends_to: bytes, environment: "Dict[bytes, bytes]"
    ) -> None:
        self.words = words
        self.appends_to = appends_to
        self.environment = environment


def permitted(line: bytes) -> Program:
    """Read a line; whatever is not expected in it refuses it."""
    words = words_of(line)
    environment = {}
    for trace in TRACES:
        if words and words[0][1].startswith(trace) and not set(words[0][1]) - PLAIN:
            words = words[1:]
    if words and words[0][1] == TIME_FORMAT:
        name, _, value = TIME_FORMAT.partition(b"=")
        environment[name] = value
        words = words[1:]
    appends_to = b""
    if len(words) > 2 and words[-2][1] == b">>":
        appends_to = words[-1][0]
        words = words[:-2]
    program = [word for word, _ in words]
    if any(written == b">>" for _, written in words) or not program:
        raise Refused("no program")
    name = program[0]
    if name == b"timeout":
        if len(program) < 3 or not program[1].isdigit() or program[2] not in UNDER_TIMEOUT:
            raise Refused("not permitted under timeout")
        name = program[2]
    elif name not in BARE:
        raise Refused("not permitted")
    if name == b"tar":
        check_tar(program[3:])
    if appends_to and (name != b"cat" or program[-1] != b"cat"):
        raise Refused("appends what another program prints")
    return Program(program, appends_to, environment)


def check_tar(arguments: "List[bytes]") -> None:
    """Refuse what could run another program; without a hyphen the first word is options, too."""
    options = arguments[: arguments.index(b"--")] if b"--" in arguments else arguments
    hyphened = [word for word in options if word.startswith(b"-")]
    if options[:1] != hyphened[:1] or not hyphened or set(hyphened) - TAR_OPTIONS:
        raise Refused("not permitted with tar")


def run(program: Program, options: Options) -> "NoReturn":
    """Become the program."""
    environment = {b"PATH": os.fsencode(options.path), **program.environment}
    for name, value in os.environb.items():
        if any(_named(os.fsdecode(name), kept) for kept in options.kept):
            environment.setdefault(name, value)
    if program.appends_to:
        try:
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOCTTY
            os.dup2(os.open(program.appends_to, flags, 0o666), 1)
        except OSError as error:
            _say(program.appends_to, error.strerror)
            sys.exit(1)
    if program.words[0] == b"curl":
        _end_with_sshd()
    try:
        os.execvpe(program.words[0], program.words, environment)
    except OSError as error:
        _say(program.words[0], error.strerror)
        sys.exit(NOT_FOUND)


def _end_with_sshd() -> None:
    """Be ended when the connection ends: sshd ends no forced command, and no time limit does."""
    import ctypes
    import signal

    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGTERM, 0, 0, 0)


def _named(name: str, kept: str) -> bool:
    return name.startswith(kept[:-1]) if kept.endswith("*") else name == kept


def _say(what: bytes, why: object) -> None:
    os.write(2, what + b": " + os.fsencode(str(why)) + b"\n")


def log(options: Options, priority: int, key: "Optional[Key]", outcome: str, line: bytes) -> None:
    """One message; what cannot be told is not, for a node without syslog is a node still."""
    user = pwd.getpwuid(os.getuid()).pw_name
    key_id = _printed(key.key_id) if key is not None else ""
    message = "user=%s key_id='%s' %s: %s" % (user, key_id, outcome, _printed(_without(line)))
    stamp = time.strftime("%b %e %H:%M:%S")
    text = "<%d>%s firecrest-wrapper[%d]: %s" % (priority, stamp, os.getpid(), message)
    channel = Socket(AF_UNIX, SOCK_DGRAM)
    channel.settimeout(PATIENCE)
    try:
        channel.sendto(text.encode("ascii")[:LONGEST_MESSAGE], options.syslog)
    except OSError:
        return


def _printed(text: bytes) -> str:
    """Text that stays on its line."""
    return text.decode("utf-8", "backslashreplace").encode("unicode_escape").decode("ascii")


def _without(line: bytes) -> bytes:
    """A line without the values of a job's variables, which may be secrets."""
    mark = line.find(b"--export=")
    return line if mark < 0 else line[:mark] + b"--export=..."


def main() -> "NoReturn":
    options = Options()
    asked = os.environb.get(b"SSH_ORIGINAL_COMMAND", b"")
    key = None
    line = asked
    try:
        options.read(sys.argv[1:])
        key = accepted_key(os.environ.get("SSH_USER_AUTH", ""))
        line = line_of(key, asked)
        program = permitted(line)
    except Refused as reason:
        log(options, WARNING, key, "refused (%s)" % reason, line)
        _say(b"firecrest-wrapper", "not permitted")
        sys.exit(REFUSED)
    log(options, INFO, key, "runs", line)
    run(program, options)


if __name__ == "__main__":
    main()
