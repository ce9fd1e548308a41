"""What is wrong with a configuration is told, all at once (Contract: config §1)."""

from __future__ import annotations

from pathlib import Path

import pytest

from firecrest.config.load import load_settings
from firecrest.errors import ConfigError
from tests.unit.config.files import MINIMAL, SYSTEM, Load, Problems


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
            ("a: [1", "config.yaml:2: did not find expected …"),
            ("- 1", "config.yaml: not a mapping of keys to values"),
            ("word", "config.yaml: not a mapping of keys to values"),
            ("a: \0", "config.yaml: a character YAML does not allow"),
            ("a: &x [*x]", "config.yaml:1: a.0: an alias that contains itself"),
            ("? [1]\n: 2", "config.yaml:1: ?: a key must be a text"),
            ("a: !!binary aGk=", "config.yaml:1: a: not a text, number, boolean or null"),
            ("a: !!int x", "config.yaml:1: a: not a text, number, boolean or null"),
            ("a: !made_up x", "config.yaml:1: a: not a text, number, boolean or null"),
            ("[" * 900 + "]" * 900, "config.yaml: nested too deeply"),
            ("[" * 5000, "config.yaml:1: exceeded maximum nesting depth"),
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
                ["auth.issuers.0.jwks_url='https://[::1/keys'"],
                "--set: auth.issuers.0.jwks_url: Not an https URL.",
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
