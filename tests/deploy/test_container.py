"""The image and the systemd unit: what they run is run, as they run it."""

from __future__ import annotations

import configparser
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.deploy.containerfile import build, environment, find, in_clean_root, parse
from tests.harness.testbed import Testbed
from tests.harness.tokens import ISSUER, TokenMint

ROOT = Path(__file__).parents[2]
CONTAINERFILE = ROOT / "deploy" / "container" / "Containerfile"
UNIT = ROOT / "deploy" / "systemd" / "firecrest-server.service"
USER = "10001"

#: What systemd's MemoryDenyWriteExecute does, by the kernel's own means; it outlives exec.
_DENY = "import ctypes, os, sys; assert not ctypes.CDLL(None).prctl(65, 1, 0, 0, 0);"
_DENY += " os.execvp(sys.argv[1], sys.argv[1:])"

_RUNNING = """\
exec=
as_user() {{
  $exec chroot {root} setpriv --reuid {user} --regid {user} --clear-groups --no-new-privs \\
    --bounding-set=-all --inh-caps=-all env -i {environment} "$@"
}}
if as_user touch /x /etc/firecrest/x /opt/firecrest/x 2>/dev/null; then echo writable; fi
echo checked: $(as_user {check})
exec=exec
as_user python3 -c {deny} {serve} >{log} 2>&1 &
server=$! exec=
tries=0
until as_user {health} 2>/dev/null; do
  tries=$((tries + 1))
  if [ $tries -gt 300 ] || ! kill -0 $server; then cat {log}; exit 1; fi
  sleep 0.2
done
echo healthy
kill -TERM $server
wait $server || {{ cat {log}; exit 1; }}
echo ended well
(cd {root}/opt/firecrest/lib/python3*/site-packages/firecrest && find . -type f)
"""


def test_the_linter_has_nothing_to_say() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    done = subprocess.run(
        [hadolint, "--failure-threshold", "style", CONTAINERFILE],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "")


def test_the_image_is_built_in_stages_and_runs_as_nobody() -> None:
    stages = parse(CONTAINERFILE)
    assert len(stages) == 2
    assert find(stages[-1], "USER").value == f"{USER}:{USER}"
    assert all(":" in find(stage, "FROM").value for stage in stages)
    kept = {one.keyword for one in stages[-1]}
    assert "ADD" not in kept
    assert all("pip" not in one.value for one in stages[-1] if one.keyword == "RUN")


def test_the_context_has_what_is_copied() -> None:
    kept = [
        line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line[0] == "!"
    ]
    copied = [
        source.removeprefix("./")
        for one in parse(CONTAINERFILE)[0]
        if one.keyword == "COPY"
        for source in one.value.split()[:-1]
    ]
    assert sorted(copied) == sorted(kept)


def unit() -> configparser.SectionProxy:
    parser = configparser.RawConfigParser(strict=False, delimiters="=")
    parser.optionxform = str  # type: ignore[method-assign,assignment]
    parser.read(UNIT)
    return parser["Service"]


def test_the_unit_is_valid_and_shut_off(tmp_path: Path) -> None:
    installed = tmp_path / UNIT.name
    program = shlex.split(unit()["ExecStart"])[0]
    installed.write_text(UNIT.read_text().replace(program, "/bin/true"))
    for arguments in (["verify"], ["security", "--offline=yes", "--threshold=15"]):
        done = subprocess.run(
            ["/usr/bin/systemd-analyze", *arguments, installed],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        if arguments == ["verify"]:
            assert done.stderr == ""


def test_unit_and_image_run_the_same() -> None:
    last = parse(CONTAINERFILE)[-1]
    program, *arguments = shlex.split(unit()["ExecStart"])
    assert find(last, "ENTRYPOINT").words == [Path(program).name]
    assert find(last, "CMD").words == arguments


@pytest.mark.timeout(400)  # it installs everything from the registry
def test_every_command_runs_in_a_clean_root(
    testbed: Testbed, mint: TokenMint, tmp_path: Path
) -> None:
    """As nobody, with nothing to write to, and no memory that is writable and executable."""
    stages = parse(CONTAINERFILE)
    context, scratch, files = tmp_path / "context", tmp_path / "scratch", tmp_path / "files"
    for directory in (context, scratch, files / "keys"):
        directory.mkdir(parents=True)
    shutil.copytree(
        ROOT / "firecrest", context / "firecrest", ignore=shutil.ignore_patterns("__pycache__")
    )
    for name in ("setup.cfg", "pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, context)
    shutil.copy(testbed.ca_key, files / "keys" / "ca_key")
    shutil.copy(testbed.known_hosts, files / "keys" / "known_hosts")
    (files / "config.yaml").write_text(
        yaml.safe_dump(
            {
                "auth": {"issuers": [{"issuer": ISSUER, "public_keys": [mint.public_key]}]},
                "ssh": {"ca_key_path": "keys/ca_key", "known_hosts": "keys/known_hosts"},
                "systems": [
                    {"name": "a", "address": "192.0.2.1", "scheduler": {"base_fs": "/home"}}
                ],
                "storage": {
                    "s3": {"public_url": "http://192.0.2.2", "access_key": "a", "secret_key": "s"}
                },
            }
        )
    )
    root, last = scratch / "root", stages[-1]
    etc = f"{root}/etc/firecrest"
    placing = (
        f"cp -rT {files} {etc} && chmod 644 {etc}/config.yaml\n"
        f"chown -R {USER}:{USER} {etc}/keys && chmod 400 {etc}/keys/* && chmod 500 {etc}/keys\n"
    )
    running = _RUNNING.format(
        root=root,
        user=USER,
        environment=shlex.join(f"{k}={v}" for k, v in environment(last).items()),
        check=unit()["ExecStartPre"],
        deny=shlex.quote(_DENY),
        serve=unit()["ExecStart"],
        health=shlex.join(find(last, "HEALTHCHECK").words),
        log=tmp_path / "log",
    )
    alone = f"ip link set lo up\n{running}"
    output = in_clean_root(
        scratch,
        build(stages, context, root) + placing,
        f"unshare --net /bin/sh -euc {shlex.quote(alone)}\n",
    )

    lines = output.splitlines()
    assert "writable" not in lines
    assert "checked: /etc/firecrest/config.yaml: good; systems: a" in lines
    assert lines[lines.index("healthy") + 1] == "ended well"
    installed = {line for line in lines if line.startswith("./") and "__pycache__" not in line}
    tree = {f"./{p.relative_to(context / 'firecrest')}" for p in (context / "firecrest").rglob("*")}
    assert installed == {path for path in tree if Path(path).suffix or path.endswith("py.typed")}
