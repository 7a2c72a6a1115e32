"""The marks of clips outside the camera's own directory: on a store, on a replica, restored; and when their file is damaged."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from afterview.memory.base.feature_spec import FeatureSpec
from afterview.memory.fsck.fsck import fsck
from afterview.memory.plans.clip_marks import marks_of, whole_clips
from afterview.memory.reading.reader import CameraReader
from afterview.memory.remote.bucket import bucket_of
from afterview.memory.sync.replica import replica_of
from afterview.memory.sync.restore import restore_camera
from afterview.memory.writing.open import open_camera
from tests.support.memory_world import make_frame, make_spec
from tests.support.object_memory import flush, set_store
from tests.support.object_server import BUCKET, ObjectServer

FRAMES = 150  # two seals, and a clip across their border
ODD = 37  # frames before a clip that was closed early


def clip_spec() -> FeatureSpec:
    """With clips of four frames."""
    spec = make_spec()
    marked = spec.tokens.model_copy(update={"frames_per_record": 4, "clip_marks": True})
    return spec.model_copy(update={"tokens": marked})


MARKS = np.concatenate([marks_of(ODD, 4), marks_of(FRAMES - ODD, 4)])


def record(memory: Path) -> Path:
    with open_camera(memory, "a", clip_spec()) as camera:
        for number, mark in enumerate(MARKS.tolist()):
            camera.append(replace(make_frame(number, clip_spec()), clip=mark))
    return memory / "a"


def marks(camera: Path) -> list[int]:
    snapshot = CameraReader(camera).snapshot()
    return snapshot.clip_marks(snapshot.ids).tolist()


def test_marks_go_to_the_store_and_come_back(
    server: ObjectServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", server.endpoint)
    set_store(tmp_path / "m", server.endpoint)
    camera = record(tmp_path / "m")
    flush(camera)
    assert not list(camera.glob("generation-1/tokens/c.*"))  # on the store alone
    assert marks(camera) == MARKS.tolist()
    place = replica_of(f"s3://{BUCKET}/house/m", cache=tmp_path / "cache")
    assert marks(place / "a") == MARKS[:128].tolist()  # what is published: sealed frames
    with open_camera(tmp_path / "m", "a", clip_spec()) as writer:
        times = CameraReader(camera).snapshot().times
        assert writer.forget(float(times[2]), float(times[2])).frames == 4
    flush(camera)
    place = replica_of(f"s3://{BUCKET}/house/m", cache=tmp_path / "cache")
    snapshot = CameraReader(place / "a").snapshot()
    assert snapshot.ids[0] == 4
    np.testing.assert_array_equal(snapshot.clip_marks(snapshot.ids), MARKS[4:128])
    (camera / "generation-1" / "clips" / "c.0").unlink()
    bucket = bucket_of(camera)
    assert bucket is not None
    restore_camera(camera, bucket)
    assert marks(camera) == MARKS[4:].tolist()
    assert not fsck(camera, deep=True).findings


def test_a_damaged_file_of_marks_is_found_and_repaired(tmp_path: Path) -> None:
    camera = record(tmp_path)
    path = camera / "generation-1" / "clips" / "c.0"
    data = bytearray(path.read_bytes())
    data[10] ^= 1
    path.write_bytes(bytes(data))
    snapshot = CameraReader(camera).snapshot()
    left = snapshot.ids[whole_clips(snapshot.ids, snapshot.clip_marks(snapshot.ids)).rows()]
    assert left.tolist() == list(range(129, FRAMES))  # those of the journal; the clip across the border is cut
    assert len(fsck(camera, repair=True).repaired) == 1
    assert marks(camera) == [0] * 128 + MARKS[128:].tolist()
    assert not fsck(camera).findings
