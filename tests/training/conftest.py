"""Shared by the tests of training."""

import sys

import pytest


@pytest.fixture(autouse=True)
def _a_fresh_accelerator() -> None:
    """accelerate keeps the precision of a process's first training; a process has one, but a test process has many."""
    if "accelerate.state" in sys.modules:
        from accelerate.state import AcceleratorState

        AcceleratorState._reset_state()
