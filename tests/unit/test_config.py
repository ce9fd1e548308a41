"""Reading the configuration: what is accepted, and how mistakes are told."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from firecrest.config.load import check_files, load_settings
from firecrest.config.settings import Settings
from firecrest.config.values import Address, Secret
from firecrest.errors import ConfigError
from firecrest.schema import Item, items

MINIMAL = """\
auth:
  issuers:
    - issuer: https://issuer.example.org
      public_keys: [abc]
ssh:
  ca_key_path: ca_key
  known_hosts: /etc/known_hosts
systems:
  - name: cluster
    address: 192.0.2.1
    scheduler: {base_fs: /home}
storage:
  s3: {public_url: "http://s3:9000", access_key: ak, secret_key: hunter2}
"""
SYSTEM = "{name: a, address: a, scheduler: {base_fs: /}}"
SHIPPED = Path(__file__).parents[2] / "config.yaml"

Load = Callable[..., Settings]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Load the minimal configuration, with text added to it and overrides."""

    def load(extra: str = "", *overrides: str, base: str = MINIMAL, **environ: str) -> Settings:
        path = tmp_path / "config.yaml"
        path.write_text(base + extra)
        return load_settings(path, overrides, environ)

    return load


@pytest.fixture
def problems(load: Load, tmp_path: Path) -> Callable[..., list[str]]:
    """What loading complains about, the directory left out."""

    def problems(*arguments: str, **options: str) -> list[str]:
        with pytest.raises(ConfigError) as caught:
            load(*arguments, **options)
        return [problem.replace(f"{tmp_path}/", "") for problem in caught.value.problems]

    return problems


Problems = Callable[..., list[str]]


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


class TestProblems:
    def test_all_are_told_with_file_line_and_key(self, problems: Problems) -> None:
        extra = """\
server:
  port: none
  cors:
    max_age: -1
events: {queue: 1.5}
colour: red
"""
        base = MINIMAL.replace("    address: 192.0.2.1\n", "")
        assert problems(extra, base=base) == [
            "config.yaml:14: server.port: Not a valid integer.",
            "config.yaml:16: server.cors.max_age: Must be greater than or equal to 0.",
            "config.yaml:9: systems.0.address: Missing data for required field.",
            "config.yaml:17: events.queue: Not a valid integer.",
            "config.yaml:18: colour: unknown key",
        ]

    def test_a_missing_section_has_no_line(self, problems: Problems) -> None:
        base = MINIMAL.partition("storage:")[0]
        assert problems(base=base) == ["config.yaml: storage: Missing data for required field."]

    def test_keys_given_twice(self, problems: Problems) -> None:
        assert problems("redis:\n  db: 1\n  db: 2\nssh: {}\n") == [
            "config.yaml:16: redis.db: given twice, see config.yaml:15",
            "config.yaml:17: ssh: given twice, see config.yaml:5",
        ]

    @pytest.mark.parametrize(
        ("text", "problem"),
        [
            ("a: [1", "config.yaml:1: expected …"),
            ("- 1", "config.yaml: not a mapping of keys to values"),
            ("word", "config.yaml: not a mapping of keys to values"),
            ("a: \0", "config.yaml: a character YAML does not allow"),
            ("a: &x [*x]", "config.yaml:1: a.0: an alias that contains itself"),
            ("? [1]\n: 2", "config.yaml:1: ?: a key must be a text"),
            ("a: !!binary aGk=", "config.yaml:1: a: not a text, number, boolean or null"),
            ("a: !!int x", "config.yaml:1: a: not a text, number, boolean or null"),
            ("a: !made_up x", "config.yaml:1: a: not a text, number, boolean or null"),
            ("[" * 5000, "config.yaml: nested too deeply"),
        ],
    )
    def test_files_that_are_not_a_configuration(
        self, problems: Problems, text: str, problem: str
    ) -> None:
        (told,) = problems(base=text)
        assert told == problem

    def test_an_empty_file_lacks_everything_required(self, problems: Problems) -> None:
        missing = [problem.split(": ")[1] for problem in problems(base="")]
        assert missing == ["auth", "ssh", "systems", "storage"]

    def test_a_file_that_cannot_be_read(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="No such file"):
            load_settings(tmp_path / "gone.yaml")
        (tmp_path / "noise.yaml").write_bytes(b"\xff")
        with pytest.raises(ConfigError, match="not UTF-8"):
            load_settings(tmp_path / "noise.yaml")

    @pytest.mark.parametrize(
        ("override", "message"),
        [
            ("server.public_url=https://a.example/", "Not an origin"),
            ("server.public_url=https://a.example/path", "Not an origin"),
            ("server.public_url=https://u:p@a.example", "Not an origin"),
            ("server.public_url=ftp://a.example", "Not an origin"),
            ("server.public_url=https://a.example:x", "Not an origin"),
            ("server.public_url=a.example", "Not an origin"),
            ("server.cors.origins=['*', x]", "Not an origin"),
            ("general.version=one", "Not a version"),
            ("general.version=1.15.9", "Older than 1.16.0"),
            ("general.version=1.16.0rc1", "Older than 1.16.0"),
            ("general.version=1.16.dev3", "Older than 1.16.0"),
            ("auth.username_pattern='['", "Not a valid regular expression"),
            ("auth.issuers.0.algorithm=none", "Must be one of"),
            ("ssh.cert_validity=301", "Must be greater than or equal to 1 and less than"),
            ("ssh.source_address='10.0.0.0/8, x'", "Not a list of addresses"),
            ("ssh.known_hosts=''", "Not a valid path"),
            ("ssh.connect_timeout=.inf", "Special numeric values"),
            ("ssh.pool.idle=0", "Must be greater than 0."),
            ("systems=[]", "Shorter than minimum length 1."),
            ("systems.0.name='a b'", "Not a valid system name."),
            ("systems.0.scheduler.type=os/path", "Not the name of a module."),
            ("storage.type=swift", "Must be one of: s3v4."),
            ("storage.tempurl_expiration=604801", "less than or equal to 604800"),
            ("compat.single_task_view=both", "Must be one of: classic, extended."),
            ("logging.level=trace", "Must be one of"),
        ],
    )
    def test_values_out_of_bounds(self, problems: Problems, override: str, message: str) -> None:
        (problem,) = problems("", override)
        assert message in problem

    @pytest.mark.parametrize("version", ["1.16.0", "1.16", "1.16.1rc1", "1.16.0.post1", "2.0.0"])
    def test_versions_new_enough(self, load: Load, version: str) -> None:
        assert load("", f"general.version='{version}'").general.version == version

    @pytest.mark.parametrize(
        ("overrides", "expected"),
        [
            (
                [f"systems=[{SYSTEM}, {SYSTEM}]"],
                "--set: systems.1.name: the same as systems.0.name",
            ),
            (
                ["redis.sentinel.service=mymaster"],
                "--set: redis.sentinel.nodes: at least one Sentinel is needed",
            ),
            (
                ["redis.sentinel.nodes=[a]"],
                "--set: redis.sentinel.service: the name of the master is needed",
            ),
            (
                ["redis.sentinel.password=secret"],
                "--set: redis.sentinel.password: only Sentinels use it",
            ),
            (
                ["redis.sentinel={service: m, nodes: [a]}", "redis.cluster.nodes=[b]"],
                "--set: redis.cluster.nodes: a cluster needs no Sentinel: configure one of them",
            ),
            (
                ["redis.cluster.nodes=[b]", "redis.db=1"],
                "--set: redis.db: a cluster has database 0 only",
            ),
            (
                ["redis.cluster.nodes=['b', 'a', 'b:6379']"],
                "--set: redis.cluster.nodes.2: the same as redis.cluster.nodes.0",
            ),
            (
                ["storage.default_system=daint"],
                "--set: storage.default_system: no such system is configured",
            ),
            (
                ["systems.0.xfer.system=daint"],
                "--set: systems.0.xfer.system: no such system is configured",
            ),
            (
                ['systems.0.xfer.partition="a\\"b"'],
                "--set: systems.0.xfer.partition:"
                " Quotes, backslashes and control characters are not allowed.",
            ),
            (
                ["auth.issuers=[{issuer: a, public_keys: [x]}, {issuer: a, public_keys: [x]}]"],
                "--set: auth.issuers.1.issuer: the same as auth.issuers.0.issuer",
            ),
            (
                ["console.client_id=page"],
                "--set: console.client_id: needed with console.issuer, and of no use without it",
            ),
            (
                ["console.issuer=https://other.example.org", "console.client_id=page"],
                "--set: console.issuer: is none of auth.issuers",
            ),
            (
                ["auth.issuers.0.public_keys=[]"],
                "--set: auth.issuers.0.public_keys: a key is needed, or jwks_url, or discovery",
            ),
            (
                ["auth.issuers.0.secret=hunter2"],
                "--set: auth.issuers.0.secret: only HS256 uses a secret",
            ),
            (
                ["auth.issuers=[{issuer: a, algorithm: HS256, secret: hunter2}]"],
                "--set: auth.issuers.0.secret: HS256 needs a secret of at least 32 bytes",
            ),
            (["auth.issuers=[]"], "--set: auth.issuers: at least one is needed"),
            (
                ["auth.allow_unverified=true"],
                "config.yaml:2: auth.issuers:"
                " of no use with allow_unverified: leave them, or that, out",
            ),
            *(
                (
                    ["auth.issuers=[]", "auth.allow_unverified=true", f"server.host='{host}'"],
                    "--set: auth.allow_unverified: whoever reaches the server could act as any"
                    " user: listen on 127.0.0.1 (server.host), or set allow_unverified_anywhere,"
                    " too",
                )
                for host in ("0.0.0.0", "::", "192.0.2.1", "gateway.example.org")  # noqa: S104
            ),
            (
                [
                    "auth.issuers=[]",
                    "auth.allow_unverified=true",
                    "server.trusted_proxies=[127.0.0.1]",
                ],
                "--set: auth.allow_unverified: a proxy lets others in (server.trusted_proxies)",
            ),
            (
                ["auth.allow_unverified_anywhere=true"],
                "--set: auth.allow_unverified_anywhere: of no use without allow_unverified",
            ),
            (
                ["systems.0.scheduler.watch_account=root"],
                "--set: systems.0.scheduler.watch_account: it is one of auth.denied_users, in"
                " whose name nothing is done: name an account of its own that may see all jobs,"
                " such as one with Slurm's admin level Operator",
            ),
            (
                ["systems.0.scheduler.watch_account='seer,alice'"],
                "--set: systems.0.scheduler.watch_account: not a safe user name",
            ),
            (
                ["ssh.ca_key_path=null"],
                "config.yaml:9: systems.0.ca_key_path:"
                " a CA key is needed, here or as ssh.ca_key_path",
            ),
            (
                ["systems.0.delegation.type=service_key"],
                "--set: systems.0.delegation.key_path: the service key is needed",
            ),
            (
                [
                    "systems.0.delegation={type: service_key, key_path: key}",
                    "systems.0.session_mode=per-command",
                ],
                "--set: systems.0.delegation.type: a service key cannot permit one command only",
            ),
            (
                ["systems.0.delegation.type=signing_service"],
                "--set: systems.0.delegation.url: the URL of the signing service is needed",
            ),
            (
                ["ssh.wrapper_enabled=true"],
                "--set: ssh.wrapper_enabled: no system has session_mode per-command",
            ),
            (
                ["auth.issuers.0.algorithm=HS256", f"auth.issuers.0.secret={'x' * 32}"],
                "config.yaml:4: auth.issuers.0.public_keys: HS256 uses secret instead",
            ),
        ],
    )
    def test_values_that_contradict_each_other(
        self, problems: Problems, overrides: list[str], expected: str
    ) -> None:
        assert problems("", *overrides) == [expected]

    @pytest.mark.parametrize(
        "overrides",
        [
            ["server.host=127.0.0.1"],
            ["server.host=127.8.9.10"],
            ["server.host=::1"],
            ["server.host=localhost"],
            ["server.host=0.0.0.0", "auth.allow_unverified_anywhere=true"],
        ],
    )
    def test_where_signatures_need_not_be_checked(self, load: Load, overrides: list[str]) -> None:
        settings = load("", "auth.issuers=[]", "auth.allow_unverified=true", *overrides)
        assert settings.auth.allow_unverified


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
