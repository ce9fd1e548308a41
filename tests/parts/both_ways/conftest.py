"""Both ways to one machine."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.harness.testbed import Testbed
from tests.parts.both_ways.ways import Ways, both
from tests.parts.watching import settings_for


@pytest.fixture(scope="module")
async def ways(testbed: Testbed) -> AsyncIterator[Ways]:
    async with both(settings_for(testbed)) as found:
        yield found
