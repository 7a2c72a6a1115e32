"""Fixtures of the memory's tests."""

import os
import time
from collections.abc import Callable

import pytest

from afterview.memory.remote import bucket


@pytest.fixture(autouse=True)
def _no_fsync(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out the system call, 3.6 ms each. Power cuts are simulated from the steps (tests.crash.disk), which stay as they are."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


@pytest.fixture(autouse=True)
def after_silence(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Shorten the time for which a bucket that did not answer is not asked again; call the fixture to wait until it is over."""
    monkeypatch.setattr(bucket, "SILENT_S", 0.05)
    return lambda: time.sleep(0.1)
