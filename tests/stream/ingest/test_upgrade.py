"""A camera goes over to another model while it is recorded: every frame once, in the new features, whatever was on its way."""

import errno
import json
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from afterview.cli.main import main
from afterview.memory.base.errors import RequestRefused, SpecMismatch
from afterview.memory.base.recorder import ask_writer
from afterview.memory.base.records import FrameRecord
from afterview.memory.base.settings import CameraSettings
from afterview.memory.directory import Memory
from afterview.memory.format.manifest import Manifest
from afterview.memory.fsck.fsck import fsck
from afterview.memory.reading.reader import CameraReader
from afterview.memory.writing.open import open_camera
from afterview.memory.writing.reembed import open_generation
from afterview.memory.writing.repository import Acknowledgement
from afterview.model.checkpoint.loading import load_encoders, load_pretrained
from afterview.stream.ask.answerer import Answerer
from afterview.stream.ask.question import Question
from afterview.stream.ingest.config import Controls, IngestConfig
from afterview.stream.ingest.control import ControlServer
from afterview.stream.ingest.items import FeaturesOf
from afterview.stream.ingest.queues import Blocking
from afterview.stream.ingest.status import IngestStats
from afterview.stream.ingest.upgrade import Upgrade, image_encoder
from afterview.stream.ingest.write import CameraWriter, Stored
from afterview.stream.source.address.address import parse_source
from tests.support.memory_world import ANOTHER, assert_encoded_anew, encode_images, make_frame, make_spec
from tests.support.presets import write_preset
from tests.support.watching import Recording as LiveRecording
from tests.support.watching import wait_until

OLD, NEW = make_spec(), ANOTHER


class Encoders:
    """As much of a model's encoders as an upgrade keeps."""

    feature_spec = NEW
    name = "new"
    vision = index = None  # nothing that could run in another dtype


@pytest.fixture
def upgrading(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("afterview.model.checkpoint.loading.load_encoders", lambda name, **options: Encoders())
    monkeypatch.setattr("afterview.stream.ingest.upgrade.image_encoder", lambda encoders: encode_images)


class Recording:
    """A writer in its thread with a control socket, as CameraIngest runs it."""

    def __init__(self, memory: Path) -> None:
        self.repository = open_camera(memory, "a", OLD)
        self.camera = self.repository.directory
        self.outbox: Blocking[Stored] = Blocking(64)
        self.acks: list[Acknowledgement] = []
        nobody: Any = None  # the model that it was opened with; nothing looks it up here
        self.controls = Controls(CameraSettings(), nobody)
        self.writer = CameraWriter(
            self.repository, self.outbox, IngestStats(), self.controls, on_durable=self.acks.extend
        )
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        with ControlServer(self.camera, self._command):
            self.writer.run()

    def _command(self, command: dict[str, Any]) -> dict[str, Any]:
        return self.writer.switch(Upgrade.prepare(self.camera, command))

    def put(self, numbers: range, spec: Any) -> None:
        for number in numbers:
            self.outbox.put(frame_of(number, spec))
        wait_until(lambda: len(self.acks) == numbers.stop, 20)

    def close(self) -> None:
        self.outbox.close()
        self.thread.join(20)
        assert not self.thread.is_alive()


def frame_of(number: int, spec: Any) -> FrameRecord:
    """A frame encoded by the model of `spec`; under both, of the same image."""
    frame = make_frame(number, OLD)
    if spec == OLD:
        return frame
    tokens, embeddings = encode_images([frame.image])
    return FrameRecord(**{**vars(frame), "tokens": tokens[0], "embedding": embeddings[0]})


def assert_new(camera: Path, frames: int) -> None:
    assert_encoded_anew(camera, range(frames))
    assert fsck(camera).damage == []


def switch_command(generation: int) -> dict[str, Any]:
    return {"do": "switch", "generation": generation, "model": "new"}


@pytest.mark.usefixtures("upgrading")
def test_frames_on_their_way_at_the_switch_are_embedded_from_their_images(tmp_path: Path) -> None:
    recording = Recording(tmp_path)
    try:
        recording.put(range(150), OLD)
        generation = open_generation(recording.camera, NEW)
        done = ask_writer(recording.camera, switch_command(generation))
        assert done == {"generation": generation, "frames": 150, "lost": 0}
        assert recording.controls.encoders.feature_spec == NEW
        assert CameraReader(recording.camera).spec == NEW
        recording.put(range(150, 155), OLD)  # the encoder had them already
        recording.outbox.put(FeaturesOf(NEW))
        recording.put(range(155, 300), NEW)
    finally:
        recording.close()
    assert_new(recording.camera, 300)
    assert [ack.frame for ack in recording.acks] == list(range(300))
    assert CameraReader(recording.camera).snapshot().gaps == ()
    assert sorted(path.name for path in recording.camera.glob("journal*")) == ["journal-2"]
    assert not (recording.camera / "generation-1").exists()


@pytest.mark.usefixtures("upgrading")
@pytest.mark.parametrize("step", ["encode", "journal", "commit"])
def test_a_switch_that_fails_leaves_the_old_model_in_use_and_can_be_done_again(
    tmp_path: Path, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    recording = Recording(tmp_path)
    try:
        recording.put(range(100), OLD)
        generation = open_generation(recording.camera, NEW)
        with monkeypatch.context() as patch:

            def full(*arguments: object, **more: object) -> None:
                raise OSError(errno.ENOSPC, "No space left on device")

            target = {
                "encode": "afterview.memory.writing.reembed._encode_some",
                "journal": "afterview.memory.writing.reembed.write_file",
                "commit": "afterview.memory.writing.state.CameraState.put_manifest",
            }[step]
            patch.setattr(target, full)
            with pytest.raises(RequestRefused, match="the disk is full"):
                ask_writer(recording.camera, switch_command(generation))
        assert recording.controls.encoders is None
        assert Manifest.read(recording.camera).generation == 1
        recording.put(range(100, 180), OLD)
        snapshot = CameraReader(recording.camera).snapshot()
        assert (snapshot.spec, snapshot.frames) == (OLD, 180)
        assert open_generation(recording.camera, NEW) == generation  # what was built is still there
        assert ask_writer(recording.camera, switch_command(generation)) is not None
        recording.outbox.put(FeaturesOf(NEW))
        recording.put(range(180, 200), NEW)
    finally:
        recording.close()
    assert_new(recording.camera, 200)


@pytest.mark.usefixtures("upgrading")
def test_what_cannot_be_switched_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recording = Recording(tmp_path)
    try:
        recording.put(range(70), OLD)
        with pytest.raises(RequestRefused, match="generation 7 is not being built"):
            ask_writer(recording.camera, switch_command(7))
        other = open_generation(recording.camera, make_spec(weights="sha256:third"))
        with pytest.raises(RequestRefused, match="were made by"):
            ask_writer(recording.camera, switch_command(other))
        recording.put(range(70, 75), OLD)
    finally:
        recording.close()
    assert CameraReader(recording.camera).spec == OLD


def test_nearly_everything_is_embedded_before_the_write_thread_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []

    def counting(images: Sequence[bytes]) -> tuple[np.ndarray, np.ndarray]:
        seen.append(len(images))
        return encode_images(images)

    monkeypatch.setattr("afterview.model.checkpoint.loading.load_encoders", lambda name, **options: Encoders())
    monkeypatch.setattr("afterview.stream.ingest.upgrade.image_encoder", lambda encoders: counting)
    with open_camera(tmp_path, "a", OLD) as repository:
        for number in range(150):
            repository.append(make_frame(number, OLD))
        repository.sync()
        generation = open_generation(tmp_path / "a", NEW)
        upgrade = Upgrade.prepare(tmp_path / "a", switch_command(generation))
        assert sum(seen) == 150
        for number in range(150, 195):  # another seal, and three frames more
            repository.append(make_frame(number, OLD))
        repository.sync()
        seen.clear()
        upgrade.execute(repository)
        assert sum(seen) == 45
    assert_new(tmp_path / "a", 195)


def test_a_living_watch_goes_over_to_another_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A real recording and a real reembed; frames come in all the time, and questions are answered before and after."""
    models = {}
    for name, seed in (("old", 3), ("new", 4)):
        (tmp_path / name).mkdir()
        models[name] = write_preset(tmp_path / name, seed=seed)
    memory, config = tmp_path / "m", IngestConfig(parse_source("lavfi:testsrc2=size=96x64:rate=30"), fps=30.0)
    with LiveRecording(memory, load_encoders(models["old"]), "a", config) as recording:
        recording.wait_for(80)
        begun = len(recording.acks)
        assert main(["reembed", "--memory", str(memory), "--model", str(models["new"]), "--json"]) == 0
        (document,) = json.loads(capsys.readouterr().out)["cameras"]
        assert document["switched"]
        assert document["by"] == "recorder"
        assert document["frames"] >= begun
        recording.wait_for(len(recording.acks) + 70)  # a whole seal under the new model

    def count() -> int:
        return len(recording.acks)

    assert any("now records features of model" in detail for _, detail in recording.states)
    camera = memory / "a"
    snapshot = CameraReader(camera).snapshot()
    encoders = load_encoders(models["new"])
    assert not snapshot.spec.differences(encoders.feature_spec)
    assert snapshot.ids.tolist() == list(range(count()))  # nothing acknowledged is missing
    assert snapshot.gaps == ()
    assert fsck(camera).damage == []
    tokens, embeddings = image_encoder(encoders)(list(snapshot.images(snapshot.ids)))
    early = document["frames"]
    np.testing.assert_allclose(snapshot.tokens(snapshot.ids[:early]), tokens[:early], atol=2e-3, rtol=2e-3)
    likeness = (snapshot.embeddings(snapshot.ids) * embeddings).sum(axis=1)
    assert likeness.min() > 0.99  # later ones were encoded from the picture itself, not from its JPEG
    old = load_pretrained(models["old"])
    with pytest.raises(SpecMismatch):
        Answerer(Memory(memory), old).ask(Question("What now?", ("a",)))
    answer = Answerer(Memory(memory), load_pretrained(models["new"])).ask(Question("What now?"))
    assert answer.parts[0].coverage.frames == count()
