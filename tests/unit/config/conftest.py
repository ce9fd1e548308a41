"""Reading a configuration, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from firecrest.config.load import load_settings
from firecrest.config.settings import Settings
from firecrest.errors import ConfigError
from tests.unit.config.files import MINIMAL, Load


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
