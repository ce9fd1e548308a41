"""Parts that are cut, killed and changed, on the demo's object store (Contract: tasks §4.3, §5)."""

from __future__ import annotations

import pytest

from tests.faults.test_parts import client as client  # fixtures, and tests that hold here, too
from tests.faults.test_parts import gateway as gateway
from tests.faults.test_parts import (
    test_a_part_that_arrives_otherwise_is_no_success as test_a_spoilt_part,
)
from tests.faults.test_parts import (
    test_after_a_kill_only_missing_parts_move_again as test_a_kill,
)
from tests.faults.test_parts import (
    test_an_invalidated_push_leaves_no_parts as test_a_withdrawn_push,
)
from tests.faults.test_parts import (
    test_large_files_move_in_parts_and_say_how_far_they_are as test_both_ways,
)
from tests.harness.embedded import stored_in
from tests.harness.gateway import Config
from tests.harness.testbed import Testbed

__all__ = ["test_a_kill", "test_a_spoilt_part", "test_a_withdrawn_push", "test_both_ways"]


@pytest.fixture
def staging(embedded: Testbed) -> Testbed:
    return embedded


@pytest.fixture
async def config(config: Config, embedded: Testbed) -> Config:
    return stored_in(config, embedded)
