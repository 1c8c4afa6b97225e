"""The tests of the end-to-end model start from the same random state."""

from __future__ import annotations

import pytest
import torch


@pytest.fixture(autouse=True)
def same_random_state():
    torch.manual_seed(0)
