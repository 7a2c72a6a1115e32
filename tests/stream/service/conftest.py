"""What tests of the service share: one tiny model, and one that answers when it is told to."""

from typing import Any

import pytest

from tests.support.slow_model import SlowModel


@pytest.fixture(scope="session")
def tiny() -> Any:
    from afterview.model.checkpoint.loading import load_pretrained

    return load_pretrained("tiny", device="cpu")


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> SlowModel:
    return SlowModel.instead_of_the_model(monkeypatch)
