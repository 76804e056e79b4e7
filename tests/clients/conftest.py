"""A registry that does what a test tells it to."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hostile_registry import HostileRegistry


@pytest.fixture(scope="module")
def running() -> Iterator[HostileRegistry]:
    with HostileRegistry() as registry:
        yield registry


@pytest.fixture
def hostile(running: HostileRegistry) -> HostileRegistry:
    running.reset()
    return running
