"""Configurations to begin with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from firecrest.config.settings import Settings

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
SHIPPED = Path(__file__).parents[3] / "config.yaml"

Load = Callable[..., Settings]
Problems = Callable[..., list[str]]
