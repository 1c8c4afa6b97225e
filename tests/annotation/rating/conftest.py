"""A studio whose sessions go by a clock that is set by hand."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import raters
from raters import Clock

from annotation.studio import Studio


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def studio(home: Path, store_url: str, clock: Clock) -> Iterator[Studio]:
    with raters.opened(home, store_url, clock) as one:
        yield one
