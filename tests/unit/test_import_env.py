"""Environment files of FirecREST v1 become configurations (Contract: config)."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from firecrest.cli import main
from firecrest.config.from_v1 import declared
from firecrest.config.from_v1_table import DROPPED, PER_SYSTEM, SCALARS
from firecrest.config.load import load_settings
from firecrest.config.values import Address

DOCUMENT = Path(__file__).parents[2] / "docs" / "operators" / "from-v1.md"
#: Settings of the contract that this version may not have.
PLANNED = {"ssh.wrapper_enabled"}

#: Everything a demo of v1 sets, and some more.
DEMO = """\
# common.env
F7T_DEBUG_MODE=True
F7T_LOG_TYPE=stdout
F7T_LOG_KIBANA='yes'
F7T_GUNICORN_LOG='--error-logfile /var/log/error.log'
F7T_BASE_URL=http://192.168.220.10:8000/
F7T_GATEWAY_HOST=192.168.220.10
F7T_GATEWAY_PORT=8000
F7T_GENERAL_INFORMATION='{"FIRECREST_VERSION": "1.16.1", "FIRECREST_BUILD": "2024-05-02"}'
F7T_REALM_RSA_PUBLIC_KEYS='MIIBfirst;MIIBsecond'
F7T_REALM_RSA_TYPE='RS256'
F7T_AUTH_ISSUER='http://fckeycloak:8080/auth/realms/kcrealm'
F7T_AUTH_TOKEN_AUD=''
F7T_AUTH_REQUIRED_SCOPE=firecrest
F7T_AUTH_ROLE="firecrest-sa"
F7T_OPA_ENABLED=False
F7T_OPA_URL=http://192.168.220.40:8181
F7T_OPA_POLICY_PATH=v1/data/f7t/authz
F7T_CERTIFICATOR_HOST=192.168.220.11
F7T_CERTIFICATOR_PORT=5000
F7T_COMPUTE_PORT=5006
F7T_SSL_ENABLED=True
F7T_SSL_CRT=/ssl/f7t_internal.crt
F7T_CA_KEY_PATH=/ca-key
F7T_PUB_USER_KEY_PATH=/user-key.pub
F7T_SSH_CERTIFICATE_WRAPPER_ENABLED=false

F7T_SYSTEMS_PUBLIC_NAME='cluster;daint;cluster'
F7T_SYSTEMS_INTERNAL_ADDR='192.168.220.12:22;[2001:db8::1]:2222;192.168.220.12:22'
F7T_FILESYSTEMS="{'cluster': [{'name': 'HOME', 'path': '/home', 'description': 'H'}], 'daint': []}"
F7T_COMPUTE_SCHEDULER=Slurm
F7T_COMPUTE_BASE_FS='/home;/scratch;/home'
F7T_SPANK_PLUGIN_ENABLED='False;yes;False'
F7T_SPANK_PLUGIN_OPTION=--nohome
F7T_STORAGE_JOBS_MACHINE='daint;daint;daint'
F7T_STORAGE_SCHEDULER=Slurm
F7T_XFER_PARTITION=xfer
F7T_XFER_CONSTRAINT=
F7T_USE_SCHED_PROJECT=1
F7T_UTILITIES_MAX_FILE_SIZE=69
F7T_UTILITIES_TIMEOUT=10
F7T_TAIL_BYTES=500
export F7T_STATUS_SERVICES='certificator;utilities;compute;tasks;storage;reservations'
F7T_STATUS_SYSTEMS='192.168.220.12:22'
F7T_RESERVATION_CMD=rsvmgmt
F7T_PERSIST_HOST=192.168.220.13
F7T_PERSIST_PORT=6380
F7T_PERSIST_PWD=rediS2200
F7T_PERSIST_STOP_WRITES_ON_ERROR=no
F7T_COMPUTE_TASK_EXP_TIME=3600
F7T_STORAGE_TASK_EXP_TIME=7200
F7T_OBJECT_STORAGE=s3v4
F7T_S3_PUBLIC_URL=http://192.168.220.19:9000
F7T_S3_PRIVATE_URL=http://minio:9000
F7T_S3_ACCESS_KEY='storage_access_key'
F7T_S3_SECRET_KEY=storage_secret_key
F7T_S3_REGION=eu-1
F7T_S3_TENANT=null
F7T_CERT_CIPHER_KEY=a-fernet-key
F7T_STORAGE_TEMPURL_EXP_TIME=86400
F7T_STORAGE_MAX_FILE_SIZE=1024
F7T_STORAGE_POLLING_INTERVAL=60
F7T_JAEGER_AGENT=jaeger:6831
KC_DB_PASSWORD=keycloaks-own
"""
SECRETS = ("rediS2200", "storage_access_key", "storage_secret_key", "a-fernet-key", "keycloaks-own")
SMALL = {
    "F7T_AUTH_PUBLIC_KEYS": "MIIB",
    "F7T_AUTH_ISSUER": "https://issuer.example.org",
    "F7T_SYSTEMS_PUBLIC_NAME": "a;b",
    "F7T_SYSTEMS_INTERNAL_ADDR": "192.0.2.1:22;192.0.2.2:22",
    "F7T_COMPUTE_BASE_FS": "/home",
    "F7T_S3_PUBLIC_URL": "https://s3.example.org",
    "F7T_S3_ACCESS_KEY": "ak",
    "F7T_S3_SECRET_KEY": "hunter2",
}

Import = Callable[[str], Result]
Small = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path) -> Import:
    """Import the text of a file."""

    def run(text: str) -> Result:
        file = tmp_path / "common.env"
        file.write_text(text)
        return CliRunner().invoke(main, ["import-env", str(file)])

    return run


@pytest.fixture
def small(run: Import) -> Small:
    """Import a small environment with variables changed, or removed by ``None``."""

    def small(**changes: str | None) -> Result:
        values = {**SMALL, **changes}
        return run("".join(f"{k}={v}\n" for k, v in values.items() if v is not None))

    return small


def data(result: Result) -> dict[str, Any]:
    parsed: dict[str, Any] = yaml.safe_load(result.stdout)
    return parsed


def test_a_whole_environment_becomes_settings(run: Import, tmp_path: Path) -> None:
    result = run(DEMO)
    assert result.exit_code == 0, result.stderr
    file = tmp_path / "config.yaml"
    file.write_text(result.stdout)
    environ = dict(
        zip(("F7T_PERSIST_PWD", "F7T_S3_ACCESS_KEY", "F7T_S3_SECRET_KEY"), SECRETS, strict=False)
    )
    settings = load_settings(file, environ=environ)

    assert settings.server.public_url == "http://192.168.220.10:8000"
    assert settings.logging.level == "debug"
    assert settings.logging.audit_json
    assert (settings.general.version, settings.general.build) == ("1.16.1", "2024-05-02")
    (issuer,) = settings.auth.issuers
    assert issuer.issuer == "http://fckeycloak:8080/auth/realms/kcrealm"
    assert issuer.public_keys == ("MIIBfirst", "MIIBsecond")
    assert settings.auth.required_scope == "firecrest"
    assert settings.auth.service_account_role == "firecrest-sa"
    assert not settings.opa.enabled
    assert settings.opa.url == "http://192.168.220.40:8181"
    assert settings.ssh.ca_key_path == Path("/ca-key")

    cluster, daint = settings.systems
    assert (cluster.name, cluster.address) == ("cluster", Address("192.168.220.12", 22))
    assert daint.address == Address("2001:db8::1", 2222)
    assert [one.name for one in cluster.filesystems] == ["HOME"]
    assert daint.filesystems == ()
    assert (cluster.scheduler.base_fs, daint.scheduler.base_fs) == (Path("/home"), Path("/scratch"))
    assert cluster.scheduler.submit_options == ()
    assert daint.scheduler.submit_options == ("--nohome",)
    assert {system.xfer.system for system in settings.systems} == {"daint"}
    assert {system.xfer.partition for system in settings.systems} == {"xfer"}
    assert {system.xfer.constraint for system in settings.systems} == {None}
    assert all(system.xfer.use_project_account for system in settings.systems)

    assert (settings.utilities.max_file_size_mb, settings.utilities.timeout) == (69, 10)
    assert settings.compute.tail_bytes == 500
    assert "reservations" in settings.status.services
    assert settings.reservations.enabled
    assert (settings.redis.host, settings.redis.port) == ("192.168.220.13", 6380)
    assert settings.redis.password.reveal() == "rediS2200"
    assert settings.tasks.compute_expiration == 3600
    assert settings.tasks.storage_expiration == 7200
    s3 = settings.storage.s3
    assert (s3.public_url, s3.private_url) == ("http://192.168.220.19:9000", "http://minio:9000")
    assert (s3.region, s3.tenant) == ("eu-1", "")
    assert s3.access_key.reveal() == "storage_access_key"
    assert settings.storage.tempurl_expiration == 86400
    assert settings.storage.max_file_size_mb == 1024
    assert settings.storage.polling_interval == 60


def test_no_secret_is_shown(run: Import) -> None:
    result = run(DEMO)
    assert not [secret for secret in SECRETS if secret in result.output]
    assert data(result)["redis"]["password"] == {"env": "F7T_PERSIST_PWD"}


def test_remarks_are_comments_of_the_result(run: Import) -> None:
    result = run(DEMO)
    comments = [line for line in result.stdout.splitlines() if line.startswith("# - ")]
    attention = [line for line in result.stderr.splitlines() if line.startswith("attention: ")]
    assert {f"# - {line.removeprefix('attention: ')}" for line in attention} <= set(comments)
    told = "\n".join(comments)
    for name in (
        *("F7T_CERTIFICATOR_HOST", "F7T_SSL_CRT", "F7T_PUB_USER_KEY_PATH", "F7T_CERT_CIPHER_KEY"),
        *("F7T_GUNICORN_LOG", "F7T_STORAGE_SCHEDULER", "F7T_JAEGER_AGENT", "ssh.known_hosts"),
        *("cluster is named twice", "F7T_S3_ACCESS_KEY: stands in quotes"),
    ):
        assert name in told
    assert "KC_DB" not in told


def test_a_small_environment_needs_no_more_than_host_keys(small: Small) -> None:
    result = small()
    assert result.exit_code == 0, result.stderr
    assert [line.split(":")[1] for line in result.stderr.splitlines()] == [" ssh.known_hosts"]
    assert [system["scheduler"] for system in data(result)["systems"]] == [{"base_fs": "/home"}] * 2


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("F7T_DEBUG_MODE\n", "1: not of the form NAME=value"),
        ("# good\n\n7T=1\n", "3: not of the form NAME=value"),
        ("A B=1\n", "1: not of the form NAME=value"),
        ("F7T_ROLE='x\n", "1: F7T_ROLE: the quote is not closed on its line"),
        ('F7T_ROLE="\n', "1: F7T_ROLE: the quote is not closed on its line"),
    ],
)
def test_what_is_no_environment_file_is_refused(text: str, problem: str, run: Import) -> None:
    result = run(text)
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.rpartition("common.env:")[2].strip() == problem


@pytest.mark.parametrize("content", [None, b"\xff\xfe"])
def test_a_file_that_cannot_be_read_is_named(content: bytes | None, tmp_path: Path) -> None:
    file = tmp_path / "some.env"
    if content is not None:
        file.write_bytes(content)
    result = CliRunner().invoke(main, ["import-env", str(file)])
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.startswith(f"error: {file}: ")


@pytest.mark.parametrize(
    ("changes", "remark"),
    [
        ({"F7T_FILESYSTEMS": "{'a': "}, "F7T_FILESYSTEMS: not of the form"),
        ({"F7T_FILESYSTEMS": "['/home']"}, "F7T_FILESYSTEMS: not of the form"),
        ({"F7T_FILESYSTEMS": "{'c': []}"}, "F7T_FILESYSTEMS: c is no system"),
        ({"F7T_GENERAL_INFORMATION": "1.16"}, "F7T_GENERAL_INFORMATION: not a JSON object"),
        ({"F7T_XFER_PARTITION": "x;y;z"}, "F7T_XFER_PARTITION: 3 values for 2 systems"),
        ({"F7T_UTILITIES_TIMEOUT": "soon"}, "F7T_UTILITIES_TIMEOUT: not a whole number"),
        ({"F7T_BASE_URL": "host:8000"}, "F7T_BASE_URL: not a URL"),
        ({"F7T_BASE_URL": "https://h/api"}, "F7T_BASE_URL: only its origin is taken"),
        ({"F7T_GATEWAY_HOST": "h"}, "F7T_GATEWAY_HOST: set server.public_url"),
        ({"F7T_LOG_TYPE": "file"}, "F7T_LOG_TYPE: the log goes to standard error"),
        ({"F7T_NEW_THING": "1"}, "F7T_NEW_THING: unknown"),
        ({"F7T_OBJECT_STORAGE": "swift"}, "F7T_OBJECT_STORAGE: swift is not offered"),
        ({"F7T_AUTH_ISSUER": None}, "auth.issuers.0.issuer: v1 accepted tokens of every issuer"),
        ({"F7T_AUTH_PUBLIC_KEYS": ""}, "auth.issuers.0: v1 did not check signatures"),
        ({"F7T_COMPUTE_BASE_FS": None}, "systems: a: scheduler.base_fs is not set"),
        (
            {"F7T_SYSTEMS_INTERNAL_COMPUTE_ADDR": "192.0.2.1:22;192.0.2.9:22"},
            "F7T_SYSTEMS_INTERNAL_COMPUTE_ADDR: differs",
        ),
        ({"F7T_AUTH_ALGORITHMS": "RS256;ES256;RS256"}, "not equally many"),
        (
            {"F7T_AUTH_PUBLIC_KEYS": "k;l", "F7T_AUTH_ALGORITHMS": "RS256;ES256"},
            "has one algorithm here: its ES256 key is left out",
        ),
    ],
)
def test_what_needs_somebody_is_told(
    changes: dict[str, str | None], remark: str, small: Small
) -> None:
    result = small(**changes)
    assert result.exit_code == 0, result.stderr
    assert remark in result.stderr


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"F7T_S3_SECRET_KEY": None}, "storage.s3.secret_key"),
        ({"F7T_SYSTEMS_INTERNAL_ADDR": "192.0.2.1:22"}, "systems.1.address"),
        ({"F7T_SYSTEMS_PUBLIC_NAME": None}, "systems"),
        ({"F7T_STORAGE_TEMPURL_EXP_TIME": "9999999"}, "storage.tempurl_expiration"),
        ({"F7T_AUTH_ALGORITHMS": "none"}, "auth.issuers.0.algorithm"),
        ({"F7T_AUTH_ISSUER": "no-url", "F7T_AUTH_PUBLIC_KEYS": None}, "auth.issuers.0.discovery"),
    ],
)
def test_what_cannot_be_used_yet_is_written_and_named(
    changes: dict[str, str | None], problem: str, small: Small
) -> None:
    result = small(**changes)
    assert result.exit_code == 1
    assert data(result)["ssh"]
    assert re.search(rf"error: config\.yaml(:\d+)?: {re.escape(problem)}: ", result.stderr)


def test_keys_belong_to_their_issuers(small: Small) -> None:
    result = small(
        F7T_AUTH_PUBLIC_KEYS="k;l;m",
        F7T_AUTH_ALGORITHMS="RS256;ES256;RS256",
        F7T_AUTH_ISSUER="https://a;https://b;https://a",
        F7T_AUTH_TOKEN_AUD="firecrest",
    )
    assert data(result)["auth"]["issuers"] == [
        {
            "issuer": "https://a",
            "algorithm": "RS256",
            "public_keys": ["k", "m"],
            "audience": "firecrest",
        },
        {
            "issuer": "https://b",
            "algorithm": "ES256",
            "public_keys": ["l"],
            "audience": "firecrest",
        },
    ]


def test_a_shared_secret_is_no_public_key(small: Small) -> None:
    result = small(F7T_AUTH_PUBLIC_KEYS="s" * 40, F7T_AUTH_ALGORITHMS="HS256")
    assert result.exit_code == 0, result.stderr
    assert "ssss" not in result.output
    assert data(result)["auth"]["issuers"][0]["secret"] == {"env": "F7T_AUTH_PUBLIC_KEYS"}


def test_a_password_in_a_url_is_not_shown(small: Small) -> None:
    assert "hunter3" not in small(F7T_OPA_URL="https://me:hunter3@opa").output


def test_of_a_variable_given_twice_the_last_counts(run: Import) -> None:
    result = run(DEMO + "F7T_UTILITIES_TIMEOUT=7\n")
    assert data(result)["utilities"]["timeout"] == 7
    assert "F7T_UTILITIES_TIMEOUT: given more than once" in result.stderr


def test_no_value_leaves_its_comment(small: Small) -> None:
    for mark in ("\x07", "\r", "\x85", "\u2028"):
        result = small(F7T_OBJECT_STORAGE=f"x{mark}y=evil")
        assert data(result).keys() == {"auth", "ssh", "systems", "storage"}
        assert "F7T_OBJECT_STORAGE: x" in result.stderr


def test_variables_become_settings_that_exist() -> None:
    keys = [row.key for row in SCALARS.values()]
    keys += [f"systems.{row.key}" for row in PER_SYSTEM.values()]
    assert {key for key in keys if not declared(key)} <= PLANNED


def test_the_table_for_operators_has_every_variable_and_key() -> None:
    text = DOCUMENT.read_text()
    keys = {row.key for row in SCALARS.values()} | {
        f"systems[].{r.key}" for r in PER_SYSTEM.values()
    }
    names = {*SCALARS, *PER_SYSTEM, *DROPPED}
    assert {word for word in keys | names if f"`{word}`" not in text} == set()
