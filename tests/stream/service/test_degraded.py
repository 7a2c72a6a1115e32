"""What is said where something does not work."""

from typing import Any

import pytest

from afterview.stream.service.degraded import notes_on, readiness

FINE: dict[str, Any] = {"camera": "yard", "state": "online", "dropped": 0, "clock": None, "store": None, "lag_s": 0.1}


@pytest.mark.parametrize(
    ("changes", "note"),
    [
        ({}, None),
        (
            {"state": "offline", "detail": "no route to host"},
            "camera 'yard' is not recorded now: offline: no route to host",
        ),
        ({"state": "failed", "cause": "wrong password"}, "camera 'yard' is not recorded now: failed: wrong password"),
        ({"state": "disk full"}, "camera 'yard' is not recorded now: disk full"),
        ({"state": "paused"}, "camera 'yard' is paused"),
        ({"dropped": 12}, "camera 'yard': 12 frames were dropped, because the machine could not keep up"),
        ({"clock": "it stands still"}, "camera 'yard': its own clock is not used: it stands still"),
        ({"store": {"unreachable_since": 1.0, "why": "503"}}, "camera 'yard': the memory's store does not answer: 503"),
        ({"store": {"unreachable_since": None, "why": ""}}, None),
    ],
)
def test_each_fault_is_one_sentence(changes: dict[str, Any], note: str | None) -> None:
    assert notes_on([{**FINE, **changes}]) == ([] if note is None else [note])


def test_ready_degraded_not_ready() -> None:
    def status(model: str = "ready", free: int | None = 10**12, **changes: Any) -> dict[str, Any]:
        return readiness(model, "", [{**FINE, **changes}], free, named=True)

    assert status()["status"] == "ready"
    assert status(state="paused")["status"] == "ready"
    assert status(state="offline")["status"] == "degraded"
    assert status(state="disk full")["status"] == "not ready"
    assert status(model="loading")["status"] == "not ready"
    assert status(free=None)["status"] == "not ready"
    low = status(free=10**8)
    assert (low["status"], low["notes"]) == ("ready", ["the disk has 0.10 GB left"])
    assert low["lag_s"] == {"yard": 0.1}
    unnamed = readiness("failed", "no weights at /home/anna", [{**FINE, "state": "offline"}], 1, named=False)
    assert "yard" not in str(unnamed)
    assert "anna" not in str(unnamed)
