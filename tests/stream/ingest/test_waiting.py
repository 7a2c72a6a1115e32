"""The state of a camera says that it waits for a key frame."""

from pathlib import Path

import pytest

from afterview.model.checkpoint.loading import AfterviewModel, load_pretrained
from afterview.stream.ingest.config import IngestConfig
from afterview.stream.source.address.address import parse_source
from afterview.stream.source.config import SourceConfig
from afterview.stream.source.opening import first_picture
from tests.support.clips import make_clip
from tests.support.presets import write_preset
from tests.support.refusing_rtsp import FarKeyFrame
from tests.support.servers import wait_until
from tests.support.watching import Recording


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> AfterviewModel:
    return load_pretrained(write_preset(tmp_path_factory.mktemp("preset")))


def test_the_state_says_what_is_missing(tmp_path: Path, model: AfterviewModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(first_picture, "_FIRST_NOTICE_S", 0.3)
    clip = make_clip(tmp_path / "clip.mp4", frames=20)
    with FarKeyFrame(clip, key_frame_s=2.5, described=True) as camera:
        config = IngestConfig(parse_source(camera.url), source=SourceConfig(open_timeout_s=1, read_timeout_s=1))
        with Recording(tmp_path / "m", model.encoders, "door", config) as recording:
            assert wait_until(lambda: "no key frame yet" in recording.ingest.status().detail, 5)
            assert recording.ingest.status().state == "starting"
            assert recording.ingest.never_began.startswith("no picture came: ")
            recording.wait_for(1)
            assert recording.ingest.status().state == "online"
            assert recording.ingest.never_began == ""
    said = [state for state, detail in recording.states if "no key frame yet" in detail]
    assert said
    assert set(said) == {"starting"}
