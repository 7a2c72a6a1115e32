"""A new generation: built beside the old one, resumable, switched at once; frames that came in meanwhile are in it."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from afterview.cli.main import main
from afterview.memory.base.durable import observed
from afterview.memory.base.errors import SpecMismatch
from afterview.memory.format.generation_build import frames_built
from afterview.memory.format.manifest import Manifest
from afterview.memory.fsck.fsck import fsck
from afterview.memory.index.frame_index import FrameIndex
from afterview.memory.reading.reader import CameraReader
from afterview.memory.writing.open import open_camera
from afterview.memory.writing.reembed import build_sealed, open_generation
from tests.support.memory_world import (
    ANOTHER,
    START,
    assert_encoded_anew,
    assert_holds,
    encode_images,
    kill_writer,
    make_frame,
    make_spec,
    record_frames,
)

OLD, NEW = make_spec(), ANOTHER


def finish(memory: Path, generation: int) -> None:
    with open_camera(memory, "a", OLD) as repository:
        repository.switch(generation, NEW, encode_images)


def test_sealed_and_journal_are_switched_together_and_recording_goes_on_under_the_new_model(tmp_path: Path) -> None:
    camera = record_frames(tmp_path, 150, OLD)
    reader = CameraReader(camera)
    FrameIndex(camera / "index").catch_up(reader.snapshot())
    generation = open_generation(camera, NEW)
    assert build_sealed(camera, generation, NEW, encode_images) == 128
    assert reader.snapshot().spec == OLD  # until the switch
    assert fsck(camera).findings == []
    finish(tmp_path, generation)
    assert_encoded_anew(camera, range(150))
    assert reader.snapshot().spec == NEW  # a reader that was open all the time
    with pytest.raises(SpecMismatch):
        open_camera(tmp_path, "a", OLD)
    record_frames(tmp_path, 100, NEW)
    snapshot = CameraReader(camera).snapshot()
    assert snapshot.frames == 250
    np.testing.assert_array_equal(snapshot.tokens(np.array([200]))[0], make_frame(200, NEW).tokens)
    assert not (camera / "generation-1").exists()
    assert not (camera / "journal").exists()
    assert fsck(camera).damage == []
    index = FrameIndex(camera / "index")
    index.catch_up(snapshot)
    assert index.search(snapshot.embeddings(np.array([140]))[0], 1, snapshot).hits[0].frame == 140


def test_frames_that_arrive_meanwhile_are_in_both(tmp_path: Path) -> None:
    camera = record_frames(tmp_path, 100, OLD)
    generation = open_generation(camera, NEW)
    with open_camera(tmp_path, "a", OLD) as repository:  # a living writer
        for number in range(100, 300):
            repository.append(make_frame(number, OLD))
            repository.sync()
            if number % 50 == 0:
                build_sealed(camera, generation, NEW, encode_images)
    assert CameraReader(camera).snapshot().frames == 300
    finish(tmp_path, generation)
    assert_encoded_anew(camera, range(300))


def test_an_interrupted_run_goes_on_where_it_was(tmp_path: Path) -> None:
    camera = record_frames(tmp_path, 400, OLD)
    calls = 0

    def dies(images: Sequence[bytes]) -> tuple[np.ndarray, np.ndarray]:
        nonlocal calls
        calls += 1
        if calls == 4:
            raise KeyboardInterrupt
        return encode_images(images)

    generation = open_generation(camera, NEW)
    with pytest.raises(KeyboardInterrupt):
        build_sealed(camera, generation, NEW, dies)
    assert frames_built(camera, generation) == 192
    assert open_generation(camera, NEW) == generation
    seen: list[int] = []
    build_sealed(camera, generation, NEW, lambda images: (seen.append(len(images)), encode_images(images))[1])
    assert sum(seen) == 384 - 192
    finish(tmp_path, generation)
    assert_encoded_anew(camera, range(400))
    record_frames(tmp_path, 10, NEW)
    other = open_generation(camera, make_spec(weights="sha256:third"))
    assert other == generation + 1


def test_forgotten_frames_do_not_come_back(tmp_path: Path) -> None:
    camera = record_frames(tmp_path, 200, OLD)
    generation = open_generation(camera, NEW)
    build_sealed(camera, generation, NEW, encode_images)
    with open_camera(tmp_path, "a", OLD) as repository:
        repository.forget(START + 10, START + 20)
        repository.forget(START + 195, START + 197)
    gone = [*range(10, 21), 195, 196, 197]
    finish(tmp_path, generation)
    assert_encoded_anew(camera, [number for number in range(200) if number not in gone])
    tokens, _ = encode_images([make_frame(15, OLD).image])
    assert not any(tokens.tobytes() in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert fsck(camera).damage == []


def test_frames_without_an_image_are_counted_as_lost(tmp_path: Path) -> None:
    camera = record_frames(tmp_path, 130, OLD)
    (camera / "frames/images/1/c.0").unlink()
    fsck(camera, repair=True)
    generation = open_generation(camera, NEW)
    with open_camera(tmp_path, "a", OLD) as repository:
        done = repository.switch(generation, NEW, encode_images)
    assert (done.frames, done.lost) == (66, 64)
    assert_encoded_anew(camera, [*range(64), 128, 129])


@pytest.mark.parametrize("steps", range(0, 60, 4))
def test_a_crash_during_the_switch_leaves_one_generation_whole(tmp_path: Path, steps: int) -> None:
    camera = record_frames(tmp_path, 70, OLD)
    generation = open_generation(camera, NEW)
    build_sealed(camera, generation, NEW, encode_images)
    left = steps

    class Crash(BaseException):
        pass

    def crash(*step: object) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise Crash

    repository = open_camera(tmp_path, "a", OLD)
    try:
        with observed(crash):
            repository.switch(generation, NEW, encode_images)
    except Crash:
        pass
    kill_writer(repository)
    assert fsck(camera).damage == []
    if Manifest.read(camera).generation == 1:
        assert_holds(CameraReader(camera).snapshot(), range(70))
        finish(tmp_path, open_generation(camera, NEW))
    assert_encoded_anew(camera, range(70))
    record_frames(tmp_path, 5, NEW)
    assert fsck(camera).damage == []
    assert sorted(path.name for path in camera.glob("journal*")) == ["journal-2"]
    old = camera / "generation-1"
    assert not old.exists() or (old / "spec.json").exists()  # what is left can still be forgotten from


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from afterview.model.checkpoint.loading import load_encoders
    from afterview.stream.media import encode_jpeg

    spec = make_spec()
    pictures = np.random.default_rng(0).integers(0, 255, (70, 48, 64, 3), dtype=np.uint8)
    with open_camera(tmp_path, "a", spec) as repository:
        for number in range(70):
            made = make_frame(number, spec)
            repository.append(type(made)(**{**vars(made), "image": encode_jpeg(pictures[number], 48)}))
        assert main(["reembed", "--memory", str(tmp_path), "--model", "tiny", "--json"]) == 1  # still being recorded
        (document,) = json.loads(capsys.readouterr().out)["cameras"]
        assert not document["switched"]
        assert "is being written by process" in document["reason"]
    assert main(["reembed", "--memory", str(tmp_path), "--model", "tiny", "--json"]) == 0
    (document,) = json.loads(capsys.readouterr().out)["cameras"]
    assert (document["frames"], document["lost"], document["switched"]) == (70, 0, True)
    assert CameraReader(tmp_path / "a").spec == load_encoders("tiny").feature_spec
    assert main(["ask", "What now?", "--memory", str(tmp_path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["coverage"]["frames"] == 70
    assert main(["reembed", "--memory", str(tmp_path), "--model", "tiny"]) == 0
    assert "already" in capsys.readouterr().out
