"""The schema for editors says what the settings say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner
from jsonschema import Draft202012Validator

from firecrest.cli import main
from firecrest.config.json_schema import json_schema

SHIPPED = Path(__file__).parents[2] / "config.yaml"
#: What an operator of v1 begins with (Contract: config §8).
EXAMPLE = """\
server: {host: 0.0.0.0, port: 8000, public_url: "https://firecrest.example.org", docs: true}
general: {version: "1.16.6", build: "2024-05-02"}
auth:
  required_scope: firecrest
  service_account_role: firecrest-sa
  issuers:
    - issuer: "http://localhost:8080/auth/realms/kcrealm"
      algorithm: RS256
      public_keys: [{file: /etc/firecrest/realm.pub}]
opa: {enabled: false, url: "https://opa:8181", policy_path: v1/data/f7t/authz, timeout: 2}
ssh:
  ca_key_path: /etc/firecrest/ca-key
  known_hosts: /etc/firecrest/known_hosts
  connect_timeout: 10
  cert_validity: 300
systems:
  - name: cluster
    address: "192.0.2.12:22"
    filesystems:
      - {name: HOME, path: /home, description: Users home filesystem}
    scheduler: {type: Slurm, base_fs: /home, submit_options: []}
    xfer: {system: cluster, partition: xfer, constraint: null, use_project_account: false}
utilities: {max_file_size_mb: 5, timeout: 5}
compute: {tail_bytes: 1000, task_deadline: 20}
storage:
  default_system: cluster
  type: s3v4
  s3: {public_url: "https://s3.example.org", private_url: "http://minio:9000", region: us-east-1,
       access_key: {env: S3_ACCESS_KEY}, secret_key: {env: S3_SECRET_KEY}}
redis: {host: 127.0.0.1, port: 6379, password: {env: REDIS_PASSWORD}}
tasks: {compute_expiration: 86400, storage_expiration: 604800, deleted_grace: 300}
status: {cache_ttl: 960, services: [certificator, utilities, tasks, compute, storage]}
reservations: {enabled: false, command: rsvmgmt, timeout: 30}
compat: {upload_error_style: json, single_task_view: classic}
"""


@pytest.fixture(scope="module")
def validator() -> Draft202012Validator:
    schema = json_schema()
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


@pytest.mark.parametrize("text", [SHIPPED.read_text(), EXAMPLE], ids=["shipped", "example"])
def test_good_configurations_are_valid(validator: Draft202012Validator, text: str) -> None:
    assert [error.message for error in validator.iter_errors(yaml.safe_load(text))] == []


def changed(key: str, value: Any) -> Any:
    """The example with one key set."""
    data = yaml.safe_load(EXAMPLE)
    place: Any = data
    *way, last = key.split(".")
    for step in way:
        place = place[int(step)] if step.isdigit() else place.setdefault(step, {})
    place[last] = value
    return data


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("server.colour", "blue"),
        ("server.port", "a"),
        ("server.port", 65536),
        ("server.docs", "perhaps"),
        ("ssh.cert_validity", 301),
        ("systems", []),
        ("systems.0.address", None),
        ("systems.0.name", "a b"),
        ("auth.issuers.0.algorithm", "none"),
        ("redis.password", {"env": "A", "file": "B"}),
        ("logging.level", "loud"),
        ("storage.s3", {}),
    ],
)
def test_mistakes_are_seen(validator: Draft202012Validator, key: str, value: Any) -> None:
    assert not validator.is_valid(changed(key, value))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("server.public_url", {"env": "URL"}),
        ("systems.0.address", {"file": "address"}),
        ("systems.0.ca_key_path", None),
        ("systems.0.addresses", {"compute": "10.0.0.1", "status": None}),
        ("logging.path", "/var/log/firecrest"),
    ],
)
def test_what_is_allowed_is_valid(validator: Draft202012Validator, key: str, value: Any) -> None:
    assert validator.is_valid(changed(key, value))


def test_no_secret_and_every_meaning_is_shown() -> None:
    printed = CliRunner().invoke(main, ["config", "schema"])
    schema = json.loads(printed.output)
    assert schema == json.loads(json.dumps(json_schema()))
    secret = schema["properties"]["storage"]["properties"]["s3"]["properties"]["secret_key"]
    assert "default" not in secret
    assert schema["properties"]["server"]["properties"]["port"] == {
        "anyOf": [
            {"type": "integer", "minimum": 0, "maximum": 65535},
            {"$ref": "#/$defs/reference"},
        ],
        "description": "TCP port; 0 picks a free one",
        "default": 8000,
    }
