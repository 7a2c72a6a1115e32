"""One tiny model for all tests of the service."""

from typing import Any

import pytest


@pytest.fixture(scope="session")
def tiny() -> Any:
    from afterview.model.checkpoint.loading import load_pretrained

    return load_pretrained("tiny", device="cpu")
