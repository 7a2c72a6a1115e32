"""A Mosquitto for the tests of this folder, and waits that are short."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from afterview.stream.service.mqtt import connection, door, following
from tests.support.mosquitto import Mosquitto
from tests.support.service import ServiceHere, record_camera

SOURCE = "lavfi:testsrc2=size=320x180:rate=5"


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door, "SCAN_S", 0.3)
    monkeypatch.setattr(door, "FIRST_RETRY_S", 0.2)
    monkeypatch.setattr(door, "LONGEST_RETRY_S", 0.5)
    monkeypatch.setattr(following, "BIRTH_DELAY_S", 0.2)
    monkeypatch.setattr(connection, "ANSWERS_WITHIN_S", 2.0)


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    """A running broker without rules."""
    (tmp_path / "broker").mkdir()
    with Mosquitto(tmp_path / "broker") as running:
        yield running


Serve = Callable[..., ServiceHere]


@pytest.fixture
def serve(tiny: Any, tmp_path: Path, broker: Mosquitto) -> Serve:
    """Makes a service at that broker, whose memory has 20 frames of a camera `hall` that is not recorded now."""

    def made(*cameras: str, memory: str = "memory", live: dict[str, Any] | None = None, **mqtt: Any) -> ServiceHere:
        place = tmp_path / memory
        if not place.exists():
            record_camera(place, "hall", tiny, 20)
        section = {"host": "127.0.0.1", "port": broker.port, "interval_s": 1, **mqtt}
        return ServiceHere(place, tiny, cameras={name: {"source": SOURCE} for name in cameras}, mqtt=section)

    return made
