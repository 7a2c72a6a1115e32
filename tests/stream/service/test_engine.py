"""Cameras that come, change, fail and go while the service runs."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from afterview.memory.base.settings import read_settings
from afterview.memory.directory import Memory
from afterview.memory.writing.open import open_camera
from afterview.stream.service.places import CAMERAS, read_added_cameras
from tests.support.servers import wait_until
from tests.support.service import ServiceHere

PATTERN = "lavfi:testsrc2=size=160x120:rate=5"
WHOLE_PICTURE = [[[0, 0], [1, 0], [1, 1], [0, 1]]]


def test_a_mask_of_the_configuration_is_in_force_before_the_first_frame(tiny: Any, tmp_path: Path) -> None:
    cameras = {"yard": {"source": PATTERN, "masks": WHOLE_PICTURE}}
    with ServiceHere(tmp_path, tiny, cameras=cameras) as service:
        assert wait_until(lambda: service.client.get("/api/v1/cameras/yard/frames/0/image").status_code == 200, 20)
        picture = service.client.get("/api/v1/cameras/yard/frames/0/image").content
    assert np.asarray(Image.open(io.BytesIO(picture))).max() < 20


def test_cameras_are_added_changed_removed_and_remembered(tiny: Any, tmp_path: Path) -> None:
    with ServiceHere(tmp_path, tiny) as service:
        assert service.json("GET", "/cameras") == {"cameras": [], "skipped": {}}
        assert service.json("GET", "/cameras/yard", status=404)["error"]["kind"] == "memory_not_found"
        service.json("PUT", "/cameras/The yard", {"source": PATTERN}, status=201)
        assert wait_until(lambda: service.state_of("the-yard") == "online", 20)
        twin = service.json("PUT", "/cameras/the  YARD", {"source": PATTERN}, status=400)
        assert "'The yard'" in twin["error"]["message"]
        service.json("PUT", "/cameras/The yard", {"source": PATTERN, "paused": True})
        assert wait_until(lambda: service.state_of("The yard") == "paused", 20)
        assert (tmp_path / CAMERAS).stat().st_mode & 0o777 == 0o600
        service.json("PUT", "/cameras/door", {"source": PATTERN}, status=201)
        service.json("DELETE", "/cameras/door", status=204)
        assert list(read_added_cameras(tmp_path)) == ["The yard"]
    with ServiceHere(tmp_path, tiny) as service:
        assert wait_until(lambda: service.state_of("the-yard") == "paused", 20)


def test_a_camera_that_another_process_records_is_taken_over(tiny: Any, tmp_path: Path) -> None:
    other = open_camera(tmp_path, "yard", tiny.encoders.feature_spec)
    try:
        cameras = {"yard": {"source": PATTERN}, "door": {"source": PATTERN}}
        with ServiceHere(tmp_path, tiny, cameras=cameras) as service:
            assert wait_until(lambda: service.state_of("yard") == "failed", 20)
            assert "is being written by process" in service.json("GET", "/cameras/yard")["detail"]
            assert wait_until(lambda: service.state_of("door") == "online", 20)  # the others go on
            other.close()
            assert wait_until(lambda: service.state_of("yard") == "online", 20)
    finally:
        other.close()


def test_a_reload_touches_only_what_changed(tiny: Any, tmp_path: Path) -> None:
    cameras = {
        "stays": {"source": PATTERN},
        "masked": {"source": PATTERN},
        "moves": {"source": PATTERN},
        "goes": {"source": PATTERN},
    }
    with ServiceHere(tmp_path, tiny, cameras=cameras) as service:
        assert wait_until(lambda: all(service.state_of(name) == "online" for name in cameras), 30)
        engine = service.service.engine
        assert engine is not None
        before = {name: engine.cameras[name].ingest for name in cameras}
        after = ServiceHere(
            tmp_path, tiny,
            cameras={"stays": {"source": PATTERN}, "masked": {"source": PATTERN, "masks": WHOLE_PICTURE},
                     "moves": {"source": f"{PATTERN}:duration=900"}, "comes": {"source": PATTERN}},
        ).config  # fmt: skip
        changes = service.in_loop(lambda engine: engine.reload(after))
        assert changes == {"masked": "changed", "moves": "changed", "comes": "added", "goes": "removed"}
        assert {name: engine.cameras[name].ingest is before[name] for name in ("stays", "masked", "moves")} == {
            "stays": True, "masked": True, "moves": False,
        }  # fmt: skip
        assert "goes" not in engine.cameras
        assert len(read_settings(tmp_path / "masked").masks) == 1
        assert wait_until(lambda: service.state_of("comes") == "online", 20)
        assert service.state_of("goes") == "not recorded"
        assert Memory(tmp_path).camera("goes").snapshot().frames >= 0


@pytest.mark.parametrize("error", [RuntimeError("CUDA out of memory"), OSError(28, "No space left on device")])
def test_a_model_that_fails_unexpectedly_is_a_state(tiny: Any, tmp_path: Path, error: Exception) -> None:
    def load(name: str, index: str | None) -> Any:
        raise error

    with ServiceHere(tmp_path, load) as service:
        detail = service.json("GET", "/service")["model"]
        assert detail["state"] == "failed"
        assert ("CUDA" in detail["detail"]) or ("disk is full" in detail["detail"])
