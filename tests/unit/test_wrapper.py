"""The rules of the wrapper for login nodes, without an sshd (Contract: auth §7)."""

from __future__ import annotations

import ast
import shlex
from pathlib import Path
from typing import Any

import asyncssh
import pytest
from hypothesis import given
from hypothesis import strategies as st

from firecrest.commands.archives import Compress, Extract, Format
from firecrest.commands.base import Command, line
from firecrest.commands.files import Checksum, Move
from firecrest.commands.placing import Append, Create, Look
from firecrest.ssh.certificates import CertificateAuthority
from scripts.cluster import firecrest_wrapper as wrapper
from scripts.cluster.firecrest_wrapper import Refused, accepted_key, line_of, permitted

SOURCE = Path(wrapper.__file__)
BARE = "cat head rm touch true sacct sbatch scancel scontrol squeue curl"
UNDER_TIMEOUT = (
    "base64 cat chmod chown cp curl file head id ln ls mkdir mv rm sacct sbatch scancel scontrol"
    " sha256sum squeue stat tail touch tar unzip rsvmgmt"
)
NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=30)


def test_it_runs_on_the_python_of_old_login_nodes() -> None:
    ast.parse(SOURCE.read_text(), feature_version=(3, 6))
    assert SOURCE.read_text().startswith("#!/usr/bin/python3 -IS\n")
    assert SOURCE.stat().st_mode & 0o111


@pytest.mark.parametrize("program", BARE.split())
def test_bare_programs(program: str) -> None:
    assert permitted(f"{program} x".encode()).words == [program.encode(), b"x"]


@pytest.mark.parametrize("program", UNDER_TIMEOUT.split())
def test_programs_under_a_time_limit(program: str) -> None:
    words = [b"timeout", b"5", program.encode(), *([b"-xf"] if program == "tar" else [])]
    assert permitted(b" ".join(words)).words == words
    if program not in BARE.split():
        with pytest.raises(Refused):
            permitted(program.encode())


@pytest.mark.parametrize(
    "command",
    [
        Compress("/d/a", "/d/-x.tar.gz", dereference=True),
        Extract("/d/-a.tar", "-d", Format.TAR),
        Extract("/d/a.tar.bz2", "/d", Format.TAR_BZIP2),
        Create("-d", "name"),
        Create("/d", "name", 0o640, exact=True),
    ],
)
def test_tar_is_permitted_as_the_gateway_calls_it(command: Command[None]) -> None:
    assert permitted(line(command, 5).encode()).words[2:] == [w.encode() for w in command.argv()]


@pytest.mark.parametrize(
    "arguments",
    [
        "",
        "xf a",
        "xfI a id",
        "-xf a --to-command=id",
        "-xf a --to-c=id",
        "-xf a -I id",
        "-xf a --checkpoint=1 --checkpoint-action=exec=id",
        "-czf a -F id x",
        "-czf a '--rsh-command=id' x",
        "-xzfI a id",
    ],
)
def test_tar_that_could_run_something_else_is_refused(arguments: str) -> None:
    with pytest.raises(Refused):
        permitted(f"timeout 5 tar {arguments}".encode())


@pytest.mark.parametrize(
    "prefix",
    [
        "ID=abc-1:2",
        "F7TID=x",
        "ID=a F7TID=b",
        "SLURM_TIME_FORMAT=standard",
        "ID=a F7TID=b SLURM_TIME_FORMAT=standard",
    ],
)
def test_prefixes(prefix: str) -> None:
    program = permitted(f"{prefix} squeue".encode())
    assert program.words == [b"squeue"]
    expected = {b"SLURM_TIME_FORMAT": b"standard"} if "SLURM" in prefix else {}
    assert program.environment == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "sh",
        "ls",
        "env cat",
        "exec cat",
        "/bin/cat x",
        "/tmp/cat",
        "./cat",
        "catx",
        "CAT",
        "timeout",
        "timeout 5",
        "timeout cat x",
        "timeout 5 sh -c id",
        "timeout 5 true",
        "timeout 5 timeout 5 cat",
        "timeout 5 /bin/cat",
        "timeout -s9 5 cat",
        "timeout --foreground 5 cat",
        "timeout 5s cat",
        "timeout -1 cat",
        "cat; id",
        "cat x;id",
        "cat x|sh",
        "cat x && id",
        "cat `id`",
        "cat $(id)",
        "cat $HOME",
        "cat ${HOME}",
        "cat <x",
        "cat x > y",
        "cat x >y",
        "cat >>y",
        "cat >> ",
        "cat >> a >> b",
        "cat x >> y",
        "head x >> y",
        ">> y cat",
        "rm *",
        "rm ?",
        "rm [a]",
        "rm {a,b}",
        "rm ~",
        "cat x\nid",
        "cat\tx",
        "cat \\x",
        "cat 'x",
        "cat x'",
        'cat "x',
        'cat "$HOME"',
        'cat "x"',
        "cat #x",
        "cat !x",
        "cat (x)",
        "cat é",
        "PATH=/tmp cat",
        "LD_PRELOAD=/tmp/x cat",
        "ID=a ID=b cat",
        "F7TID=b ID=a cat",
        "ID=$(id) cat",
        "ID='a b' cat",
        "SLURM_TIME_FORMAT=other squeue",
        "SLURM_TIME_FORMAT=standard ID=a squeue",
        "SLURM_TIME_FORMAT='standard' squeue",
        "'ID=a' cat",
        "ID=a",
    ],
)
def test_all_else_is_refused(text: str) -> None:
    with pytest.raises(Refused):
        permitted(text.encode())


@given(st.lists(NAMES, max_size=4))
def test_words_are_those_a_shell_would_read(words: list[str]) -> None:
    text = " ".join(shlex.quote(word) for word in ["cat", *words])
    assert permitted(text.encode()).words == [word.encode() for word in ["cat", *words]]


@given(NAMES, NAMES)
def test_the_gateways_lines_are_permitted(one: str, two: str) -> None:
    commands: list[Command[Any]] = [Look(one), Move(one, two), Checksum(one), Create(one, "n")]
    for command in commands:
        expected = [word.encode() for word in ("timeout", "5", *command.argv())]
        assert permitted(line(command, 5).encode()).words == expected
    append = permitted(line(Append(one), 5).encode())
    assert (append.words, append.appends_to) == ([b"cat"], one.encode())


@given(st.binary(max_size=60))
def test_no_line_breaks_it(text: bytes) -> None:
    try:
        program = permitted(text)
    except Refused:
        return
    assert program.words[0].decode() in {*BARE.split(), "timeout"}


class TestKeys:
    @pytest.fixture(params=["ssh-ed25519", "ssh-rsa", "ecdsa-sha2-nistp256"])
    def key(self, request: pytest.FixtureRequest) -> asyncssh.SSHKey:
        return asyncssh.generate_private_key(request.param)

    @staticmethod
    def told(tmp_path: Path, *lines: bytes) -> str:
        file = tmp_path / "auth"
        file.write_bytes(b"".join(b"publickey " + text.strip() + b"\n" for text in lines))
        return str(file)

    @pytest.mark.parametrize("command", [None, "cat 'é'"])
    def test_what_a_certificate_permits_is_read_from_it(
        self, tmp_path: Path, key: asyncssh.SSHKey, command: str | None
    ) -> None:
        certificate = key.generate_user_certificate(
            key, "the id", principals=["alice"], force_command=command
        ).export_certificate()
        found = accepted_key(self.told(tmp_path, b" ".join(certificate.split()[:2])))
        assert found.text == b" ".join(certificate.split()[:2])
        assert found.key_id == b"the id"
        assert found.command == (command and command.encode())

    def test_a_plain_key_permits_what_it_asks_for(
        self, tmp_path: Path, key: asyncssh.SSHKey
    ) -> None:
        found = accepted_key(self.told(tmp_path, key.export_public_key()))
        assert line_of(found, b"cat x") == b"cat x"

    @pytest.mark.parametrize(
        "text", [b"", b"ssh-ed25519", b"ssh-ed25519 AAAA", b"ssh-ed25519 !", b"a b c"]
    )
    def test_anything_else_does_not(self, tmp_path: Path, text: bytes) -> None:
        with pytest.raises(Refused):
            accepted_key(self.told(tmp_path, text))

    def test_neither_do_two_keys_nor_none(self, tmp_path: Path, key: asyncssh.SSHKey) -> None:
        for path in (self.told(tmp_path), self.told(tmp_path, *[key.export_public_key()] * 2)):
            with pytest.raises(Refused):
                accepted_key(path)
        with pytest.raises(Refused):
            accepted_key(str(tmp_path / "missing"))

    def test_a_host_certificate_is_none(self, tmp_path: Path, key: asyncssh.SSHKey) -> None:
        certificate = key.generate_host_certificate(key, "id").export_certificate()
        with pytest.raises(Refused):
            accepted_key(self.told(tmp_path, certificate))

    def test_it_may_be_asked_for_by_the_line_or_by_the_certificate_and_no_other(
        self, tmp_path: Path, key: asyncssh.SSHKey
    ) -> None:
        key.write_private_key(tmp_path / "ca")
        authority = CertificateAuthority(tmp_path / "ca", 300, "")
        texts = [
            authority.issue("alice", "cluster", "id", b"cat \xff")[1].export_certificate().strip()
            for _ in range(2)
        ]
        found = accepted_key(self.told(tmp_path, texts[0]))
        assert line_of(found, b"cat \xff") == line_of(found, texts[0]) == b"cat \xff"
        for asked in (b"", b"cat x", texts[1], texts[0] + b" "):
            with pytest.raises(Refused):
                line_of(found, asked)
