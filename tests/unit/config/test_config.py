"""Configuration: what is read, and from where (Contract: config §1 to §5)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from firecrest.config.load import check_files, load_settings
from firecrest.config.settings import Settings
from firecrest.config.values import Address, Secret
from firecrest.schema import Item, items
from tests.unit.config.files import MINIMAL, SHIPPED, Load, Problems


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ([], False),
        (["ssh.session_mode=per-command"], True),
        (["systems.0.session_mode=per-command", "ssh.wrapper_enabled=true"], True),
        (["ssh.session_mode=per-command", "systems.0.session_mode=pooled"], False),
    ],
)
def test_a_session_mode_of_its_own(load: Load, overrides: list[str], expected: bool) -> None:
    settings = load("", *overrides)
    assert settings.ssh.per_command(settings.systems[0]) is expected


def test_no_ca_key_is_needed_where_nothing_is_signed(load: Load) -> None:
    service = "systems.0.delegation={type: signing_service, url: 'https://ca.example/sign'}"
    assert load("", "ssh.ca_key_path=null", service).ssh.ca_key_path is None


def test_what_is_left_out_has_its_default(load: Load) -> None:
    settings = load()
    assert settings.server.port == 8000
    assert settings.general.version == "1.16.6"
    assert settings.auth.denied_users == ("root",)
    assert settings.ssh.pool.channels_per_connection == 8
    assert settings.systems[0].scheduler.type == "Slurm"


def test_defaults_taken_from_other_keys(load: Load) -> None:
    settings = load("  tempurl_expiration: 600\n")
    assert settings.tasks.storage_expiration == 600
    assert settings.storage.s3.private_url == "http://s3:9000"
    settings = load("tasks: {storage_expiration: 5}")
    assert settings.tasks.storage_expiration == 5


def test_relative_paths_belong_to_the_directory_of_the_file(load: Load, tmp_path: Path) -> None:
    settings = load("", "systems.0.scheduler.base_fs=home", "systems.0.ca_key_path=other")
    assert settings.ssh.ca_key_path == tmp_path / "ca_key"
    assert settings.ssh.known_hosts == Path("/etc/known_hosts")
    assert settings.systems[0].scheduler.base_fs == tmp_path / "home"
    assert settings.systems[0].ca_key_path == tmp_path / "other"


@pytest.mark.parametrize(
    ("text", "address", "shown"),
    [
        ("login.example.org", Address("login.example.org", 22), "login.example.org:22"),
        ("192.0.2.12:2222", Address("192.0.2.12", 2222), "192.0.2.12:2222"),
        ("[::1]", Address("::1", 22), "[::1]:22"),
        ("[2001:db8::1]:22022", Address("2001:db8::1", 22022), "[2001:db8::1]:22022"),
    ],
)
def test_addresses(load: Load, text: str, address: Address, shown: str) -> None:
    parsed = load("", f'systems.0.address="{text}"').systems[0].address
    assert parsed == address
    assert str(parsed) == shown


@pytest.mark.parametrize("text", ["", "::1", "host:", "host:0", "host:65536", "a b", "[x]", ":22"])
def test_what_is_not_an_address(problems: Problems, text: str) -> None:
    (problem,) = problems("", f'systems.0.address="{text}"')
    assert problem == "--set: systems.0.address: Not host, host:port, [IPv6] or [IPv6]:port."


class TestReferences:
    def test_to_the_environment(self, load: Load) -> None:
        settings = load(
            "server: {port: {env: PORT}}\nredis: {tls: {env: TLS}}", PORT="1", TLS="yes"
        )
        assert (settings.server.port, settings.redis.tls) == (1, True)

    def test_to_a_file(self, load: Load, tmp_path: Path) -> None:
        (tmp_path / "key.pub").write_text("\n KEY \n")
        settings = load("", "auth.issuers.0.public_keys=[{file: key.pub}, other]")
        assert settings.auth.issuers[0].public_keys == ("KEY", "other")

    def test_to_nothing_is_told_once(self, problems: Problems) -> None:
        extra = "server: {port: {env: PORT}}\nredis:\n  password: {file: gone}\n"
        assert problems(extra) == [
            "config.yaml:14: server.port: environment variable PORT is not set",
            "config.yaml:16: redis.password: gone: No such file or directory",
        ]

    def test_to_a_file_that_is_not_text(self, problems: Problems, tmp_path: Path) -> None:
        (tmp_path / "noise").write_bytes(b"\xff\xfe")
        assert problems("", "redis.password={file: noise}") == [
            "--set: redis.password: noise: not a text file"
        ]


class TestOverrides:
    def test_reach_members_of_lists_and_sections_left_out(self, load: Load) -> None:
        settings = load("", "systems.0.name=daint", "events.queue=3", "server.port=0")
        assert settings.systems[0].name == "daint"
        assert (settings.events.queue, settings.server.port) == (3, 0)

    def test_may_be_whole_sections(self, load: Load) -> None:
        assert load("server: {port: 1}", "server={host: '::'}").server.port == 8000

    @pytest.mark.parametrize(
        ("override", "problem"),
        [
            ("port", "--set: not of the form key=value"),
            ("=1", "--set: not of the form key=value"),
            ("systems.1.name=x", "--set: systems.1.name: there is no such place"),
            ("systems.x=x", "--set: systems.x: there is no such place"),
            ("ssh.known_hosts.x=x", "--set: ssh.known_hosts.x: there is no such place"),
            ("server.port=[", "--set: server.port: not valid YAML"),
            ("server.port=x", "--set: server.port: Not a valid integer."),
            ("sever.port=1", "--set: sever: unknown key; did you mean 'server'?"),
        ],
    )
    def test_that_are_wrong(self, problems: Problems, override: str, problem: str) -> None:
        assert problems("", override) == [problem]


class TestSecrets:
    def test_do_not_show_themselves(self, load: Load) -> None:
        settings = load("", "redis.password=swordfish")
        assert settings.redis.password.reveal() == "swordfish"
        assert settings.storage.s3.secret_key == Secret("hunter2")
        assert "hunter2" not in f"{settings!r} {settings} {settings.redis.password}"
        assert "swordfish" not in f"{settings!r} {settings.redis.password}"

    @pytest.mark.parametrize(
        "value",
        [
            "[hunter2]",
            "{evn: hunter2}",
            "*hunter2",
            "!hunter2 x",
            "hunter2: x",
            "'hunter2",
            "@hunter2",
        ],
    )
    def test_are_not_in_messages(self, problems: Problems, value: str) -> None:
        told = problems("", base=MINIMAL.replace("hunter2}", f"{value}}}"))
        assert told
        assert "hunter2" not in "".join(told)
        assert "hunter2" not in "".join(problems("", f"redis.password={value}"))

    @given(st.text(max_size=40))
    def test_are_not_in_messages_whatever_they_are(self, value: str) -> None:
        secret = Secret(value)
        assert repr(secret) == str(secret) == f"Secret('{'…' if value else ''}')"
        assert bool(secret) == bool(value)


class TestFiles:
    @pytest.fixture
    def settings(self, load: Load, tmp_path: Path) -> Settings:
        (tmp_path / "ca_key").write_text("key")
        (tmp_path / "ca_key").chmod(0o600)
        (tmp_path / "known_hosts").write_text("")
        keys = ["systems.0.ca_key_path=ca_key", "systems.0.delegation.key_path=ca_key"]
        return load("", "ssh.known_hosts=known_hosts", *keys)

    @pytest.mark.parametrize("mode", [0o400, 0o600])
    def test_a_key_only_its_owner_can_touch_is_fine(
        self, settings: Settings, tmp_path: Path, mode: int
    ) -> None:
        (tmp_path / "ca_key").chmod(mode)
        assert check_files(settings) == []

    @pytest.mark.parametrize(
        ("mode", "message"),
        [(0o640, "accessible to its owner only"), (0o604, "owner only"), (0o200, "not readable")],
    )
    def test_other_modes_are_not(
        self, settings: Settings, tmp_path: Path, mode: int, message: str
    ) -> None:
        (tmp_path / "ca_key").chmod(mode)
        first, second, third = check_files(settings)
        assert first.startswith("ssh.ca_key_path: ")
        assert second.startswith("systems.0.ca_key_path: ")
        assert third.startswith("systems.0.delegation.key_path: ")
        assert message in first

    def test_files_must_be_there(self, settings: Settings, tmp_path: Path) -> None:
        (tmp_path / "ca_key").unlink()
        (tmp_path / "ca_key").mkdir()
        (tmp_path / "known_hosts").unlink()
        told = [problem.partition(f"{tmp_path}/")[2] for problem in check_files(settings)]
        assert told == ["ca_key: not a file"] * 3 + ["known_hosts: no such file"]


def all_items(cls: type[Any], prefix: str = "") -> Iterator[tuple[str, Item]]:
    """Every value that can be set, by dotted key; the first member stands for a list."""
    for one in items(cls):
        key = f"{prefix}{one.name}"
        if one.nested is None:
            yield key, one
        else:
            yield from all_items(one.nested, f"{key}.0." if one.many else f"{key}.")


class TestShippedFile:
    @pytest.fixture
    def shipped(self, tmp_path: Path) -> Settings:
        text = SHIPPED.read_text()
        (tmp_path / ".demo").mkdir()
        (tmp_path / ".demo/token_key.pub").write_text("abc")
        (tmp_path / "config.yaml").write_text(text)
        environ = {"FIRECREST_S3_ACCESS_KEY": "ak", "FIRECREST_S3_SECRET_KEY": "sk"}
        return load_settings(tmp_path / "config.yaml", (), environ)

    def test_it_loads(self, shipped: Settings, tmp_path: Path) -> None:
        assert shipped.systems[0].address == Address("127.0.0.1", 2222)
        assert shipped.systems[0].scheduler.base_fs == tmp_path / ".demo/home"

    @pytest.mark.parametrize("key", [key for key, _ in all_items(Settings)])
    def test_it_shows_every_key(self, key: str) -> None:
        node = yaml.safe_load(SHIPPED.read_text())
        for step in key.split("."):
            node = node[int(step) if step.isdecimal() else step]

    @pytest.mark.parametrize(("key", "one"), list(all_items(Settings)))
    def test_every_setting_is_explained(self, key: str, one: Item) -> None:
        assert one.help, key

    @pytest.mark.parametrize(
        ("section", "changed"),
        [
            ("server", set()),
            ("logging", set()),
            ("general", set()),
            ("utilities", set()),
            ("compute", set()),
            ("redis", {"port"}),
            ("events", set()),
            ("status", set()),
            ("compat", set()),
        ],
    )
    def test_it_shows_the_defaults(
        self, shipped: Settings, section: str, changed: set[str]
    ) -> None:
        one = next(one for one in items(Settings) if one.name == section)
        given = getattr(shipped, section)
        names = [member.attribute for member in items(type(given))]
        assert {n for n in names if getattr(given, n) != getattr(one.default, n)} == changed
