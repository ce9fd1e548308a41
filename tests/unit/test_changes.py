"""What of a new configuration can come into force at once."""

from __future__ import annotations

from pathlib import Path

from msgspec.structs import replace

from firecrest.config.changes import FIXED, effective
from firecrest.config.load import load_settings
from firecrest.config.settings import Redis

ENVIRON = {"FIRECREST_S3_ACCESS_KEY": "a", "FIRECREST_S3_SECRET_KEY": "b"}
CONFIG = Path(__file__).parents[2] / "config.yaml"


def test_what_holds_connections_stays_and_is_named(tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("key")
    overrides = [f"auth.issuers.0.public_keys.0={{file: {key}}}"]
    former = load_settings(CONFIG, overrides, ENVIRON)
    changes = ["redis.port=7", "storage.s3.region=x", "storage.copy_retries=9", "server.host=::1"]
    wanted = load_settings(CONFIG, [*overrides, *changes, "server.public_url=https://h"], ENVIRON)
    merged, kept = effective(former, wanted)
    assert kept == ["server.host", "storage.s3", "redis"]
    assert merged.redis == former.redis != replace(former.redis, port=7) != Redis()
    assert merged.storage == replace(former.storage, copy_retries=9)
    assert merged.server == replace(former.server, public_url="https://h")
    assert effective(former, former) == (former, [])


def test_what_stays_is_there(tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("key")
    overrides = [f"auth.issuers.0.public_keys.0={{file: {key}}}"]
    settings = load_settings(CONFIG, overrides, ENVIRON)
    for name in FIXED:
        value: object = settings
        for step in name.split("."):
            value = getattr(value, step)
