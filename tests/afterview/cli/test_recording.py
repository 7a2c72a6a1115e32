"""`watch` and `replay` from arguments to output: several sources, names, ack files, failures, passwords, sizes of images."""

import json
import re
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from afterview.cli.main import main
from afterview.memory.base.held_directory import place_of
from afterview.memory.base.settings import read_settings
from afterview.memory.directory import Memory
from afterview.memory.writing.open import open_camera
from afterview.stream.media import decode_jpeg
from afterview.stream.source.decoding.lazy_decoder import LazyDecoder
from tests.support.clips import make_clip
from tests.support.memory_world import make_frame, make_spec
from tests.support.presets import write_preset
from tests.support.servers import RtspServer, need_rtsp
from tests.support.several_streams import Track, write_tracks

PATTERN, OTHER = "lavfi:testsrc2=size=160x120:rate=20", "lavfi:testsrc=size=160x120:rate=20"
DEAD = "rtsp://127.0.0.1:1/x"
START = 1_700_000_000
STAMP = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d "


@pytest.fixture(autouse=True)
def nothing_hidden_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    """What one test hides must not be hidden in the next."""
    monkeypatch.setattr("afterview.stream.source.address.redact._values", set())


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    """Exit status, standard output, standard error."""
    capsys.readouterr()
    status = main([*map(str, arguments)])
    out, error = capsys.readouterr()
    return status, out, error


def test_several_sources_in_one_process(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    acks = [tmp_path / "a.txt", tmp_path / "b.txt"]
    status, out, error = run(
        capsys, "watch", PATTERN, OTHER, "--camera", "Front door", "--camera", "back", "--memory", tmp_path / "m", "--for", "5s",
        "--fps", "5", "--ack-file", acks[0], "--ack-file", acks[1], "--json",
    )  # fmt: skip
    assert status == 0
    cameras = json.loads(out)["cameras"]
    assert [(camera["camera"], camera["state"], camera["cause"]) for camera in cameras] == [
        ("front-door", "ended", None),
        ("back", "ended", None),
    ]
    memory = Memory(tmp_path / "m")
    for camera, file in zip(cameras, acks, strict=True):
        times = memory.camera(camera["camera"]).snapshot().times.tolist()
        assert len(times) == camera["recorded"] >= 5  # of 25: a busy machine connects late
        assert [float(line.split()[1]) for line in file.read_text().splitlines()] == times
    assert memory.camera("front-door").info.name == "Front door"
    lines = error.splitlines()
    assert lines
    assert all(re.match(STAMP, line) for line in lines)
    assert "\x1b" not in error
    assert any(line.endswith(f"back: connecting to {OTHER}") for line in lines)


def test_a_camera_that_fails_does_not_end_the_others(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ("--camera", "a", "--camera", "b", "--memory", tmp_path / "m", "--for", "2s")
    status, out, error = run(capsys, "watch", PATTERN, DEAD, *options, "--json")
    good, bad = json.loads(out)["cameras"]
    assert status == 1
    assert (good["state"], good["cause"], bad["state"], bad["recorded"]) == ("ended", None, "failed", 0)
    assert good["recorded"] >= 2
    assert "Connection refused" in bad["cause"]
    assert re.search(STAMP + r"b: failed: rtsp://127.0.0.1:1/x: cannot be reached", error)
    assert error.splitlines()[-1].endswith("1 of 2 cameras failed: b")
    assert Memory(tmp_path / "m").camera_ids() == ["a"]

    with open_camera(tmp_path / "m", "busy", Memory(tmp_path / "m").camera("a").spec):
        status, out, error = run(capsys, "watch", PATTERN, OTHER, *options[:3], "busy", *options[4:])
    assert status == 2  # wrong input alone: another camera must be chosen
    assert "busy: failed: " in out
    assert re.search(r"^a: [2-9] frames recorded", out, re.MULTILINE)
    assert error.splitlines()[-1].endswith("1 of 2 cameras failed: busy")


def test_a_camera_that_never_connects_is_neither_silent_nor_in_the_way(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, out, error = run(
        capsys, "watch", DEAD, PATTERN, "--camera", "away", "--camera", "here", "--keep-trying", "--memory", tmp_path / "m",
        "--for", "2s",
    )  # fmt: skip
    assert status == 0
    assert re.search(r"^away: never connected: rtsp://127.0.0.1:1/x: .*refused.*; 0 frames recorded", out, re.MULTILINE)
    assert re.search(r"^here: [2-9] frames recorded", out, re.MULTILINE)
    assert re.search(r"away: offline \(.*; next try in", error)
    assert "away: ended (stopped; never connected: " in error
    assert "1 of 2 cameras recorded nothing: away (never connected: " in error


def test_nothing_can_be_recorded_is_found_before_a_model_is_loaded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("afterview.model.checkpoint.loading.load_encoders", None)
    status, _, error = run(capsys, "watch", DEAD, "--memory", tmp_path / "m")
    assert (status, "Connection refused" in error) == (1, True)
    assert not (tmp_path / "m").exists()


REFUSED = [
    ([PATTERN, PATTERN], "given twice"),
    (["rtsp://a:b@CAM:554/x", "rtsp://c@cam:554/x", "--camera", "a", "--camera", "b"], "given twice"),
    ([PATTERN, "lavfi:testsrc2=size=160x120:rate=5"], "would both record into camera 'testsrc2' (from the name 'testsrc2'); "
     "give every source a name: --camera NAME"),
    ([PATTERN, OTHER, "--camera", "a", "--camera", "a"], "'a' is given twice"),
    ([PATTERN, OTHER, "--camera", "Front door", "--camera", "FRONT  door"], "names 'Front door' and 'FRONT  door'"),
    ([PATTERN, OTHER, "--camera", "kept", "--camera", "Kept one"], "both record into camera 'kept'"),
    ([PATTERN, OTHER, "--camera", "a"], "--camera: given 1 times for 2 sources"),
    ([PATTERN, "--camera", "a", "--camera", "b"], "--camera: given 2 times for 1 source;"),
    ([PATTERN, OTHER, "--ack-file", "{acks}"], "--ack-file: given 1 times for 2 sources"),
    ([PATTERN, OTHER, "--ack-file", "{acks}", "--ack-file", "{acks}"], "is given twice"),
    ([PATTERN, "--ack-file", "{acks}/none/x"], "there is no directory"),
    ([PATTERN, "--ack-file", "{memory}"], "is a directory"),
    ([PATTERN, "--for", "0"], "--for 0: must be longer than 0 s"),
    ([PATTERN, "--image-size", "0"], "--image-size 0: must be between"),
    ([PATTERN, "--image-size", "100000"], "--image-size 100000: must be between"),
    ([PATTERN, "--fps", "3", "--camera", "kept"], "keeps 1 frames per second, not 3"),
    ([PATTERN, OTHER, "--camera", "kept", "--camera", "other"], "recorded with different models"),
    (["rtsp://u:{{AFTERVIEW_UNSET}}@cam/x"], "AFTERVIEW_UNSET, which is not set"),
    ([PATTERN, "rtsp://u:{{AFTERVIEW_UNSET}}@cam/x"], "AFTERVIEW_UNSET, which is not set"),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "message"), REFUSED, ids=[" ".join(case[0])[:70] for case in REFUSED])
def test_wrong_input_is_refused_before_anything_is_opened(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("afterview.model.checkpoint.loading.load_encoders", None)
    memory, places = tmp_path / "m", {"acks": tmp_path / "acks", "memory": tmp_path / "m"}
    for name, camera in (("Kept one", "kept"), ("other", "other")):
        spec = make_spec()
        if camera == "other":
            spec = spec.model_copy(update={"tokens": spec.tokens.model_copy(update={"resolution": 96})})
        with open_camera(memory, name, spec) as repository:
            repository.append(make_frame(0, spec))
        if repository.directory.name != camera:
            place_of(repository.directory).rename(memory / camera)
    status, out, error = run(capsys, "watch", *(text.format(**places) for text in arguments), "--memory", memory)
    assert (status, out) == (2, "")
    assert message in error.splitlines()[-1]
    assert not (tmp_path / "acks").exists()
    assert Memory(memory).camera_ids() == ["kept", "other"]


def test_a_password_that_ps_shows_is_warned_about_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    literal = run(
        capsys, "watch", "rtsp://u:hunter2@127.0.0.1:1/x", "rtsp://u:hunter3@127.0.0.1:2/x", "--memory", tmp_path
    )[2]
    assert literal.count("`ps` shows a password") == 1
    assert "hunter" not in literal
    assert "`ps`" not in run(capsys, "watch", DEAD, "--memory", tmp_path)[2]


def test_the_value_of_a_variable_is_shown_nowhere(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = "s3cr@t:/pass"
    monkeypatch.setenv("AFTERVIEW_CAM1_PASSWORD", secret)
    monkeypatch.setenv("AFTERVIEW_CAM1", f"rtsp://u:{secret}@127.0.0.1:1/x")
    monkeypatch.setenv("AFTERVIEW_DEBUG", "1")
    sources = ["rtsp://u:{AFTERVIEW_CAM1_PASSWORD}@127.0.0.1:1/x", "{AFTERVIEW_CAM1}",
               "http://127.0.0.1:1/{AFTERVIEW_CAM1_PASSWORD}/x"]  # fmt: skip
    said = ""
    for arguments in (*([source] for source in sources), [*sources[::2], PATTERN, "--keep-trying"]):
        status = run(capsys, "watch", *arguments, "--memory", tmp_path / "m", "--for", "1s", "-v", "--json")
        said += "".join(map(str, status))
    assert "Traceback" in said
    assert "Connection refused" in said
    assert "`ps`" not in said
    kept = b"".join(path.read_bytes() for path in (tmp_path / "m").rglob("*") if path.is_file())
    for hidden in (secret, "s3cr", "%40t%3A"):
        assert hidden not in said
        assert hidden.encode() not in kept
        assert not [path for path in (tmp_path / "m").rglob("*") if hidden in path.name]


@pytest.mark.integration
def test_a_camera_takes_a_password_with_any_letter_from_a_variable(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    need_rtsp()
    secret = "p@ss:w/rd?%41#"
    monkeypatch.setenv("AFTERVIEW_P", secret)
    clip = make_clip(tmp_path / "clip.mp4", frames=60, rate=10)
    with RtspServer(clip, loop=True, user="guard", password=secret) as server:
        url = server.url_with("guard", "{AFTERVIEW_P}")
        status, out, error = run(capsys, "watch", url, "--camera", "a", "--memory", tmp_path / "m", "--for", "5s")
    assert status == 0
    assert re.search(r"^a: [1-9] frames recorded", out, re.MULTILINE)
    assert secret not in out + error


def replay(capsys: pytest.CaptureFixture[str], *arguments: object) -> dict[str, Any]:
    status, out, _ = run(capsys, "replay", *arguments, "--json")
    assert status == 0
    document: dict[str, Any] = json.loads(out)
    return document


def test_decoding_what_is_needed_records_what_decoding_all_records(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = make_clip(tmp_path / "clip.mp4", frames=50)
    decoded: list[int] = []
    decode = LazyDecoder._decode

    def counted(self: LazyDecoder[Any], packet: Any) -> list[Any]:
        decoded.append(1)
        return decode(self, packet)

    monkeypatch.setattr(LazyDecoder, "_decode", counted)
    memory, counts = tmp_path / "m", {}
    for camera, options in (("needed", ()), ("full", ("--decode", "full"))):
        decoded.clear()
        replay(capsys, clip, "--memory", memory, "--camera", camera, "--start", START, *options)
        counts[camera] = len(decoded)
    needed, full = (Memory(memory).camera(camera).snapshot() for camera in counts)
    assert needed.times.tolist() == full.times.tolist() == [START + second for second in range(5)]
    assert [*needed.images(np.arange(5))] == [*full.images(np.arange(5))]
    assert counts["needed"] < 50 <= counts["full"]


def test_the_video_stream_can_be_chosen_and_the_others_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clip = write_tracks(tmp_path / "clip.mp4", [Track(64, 48), Track(160, 120)])
    shapes = {}
    for camera, options in (("largest", ()), ("first", ("--stream", "0"))):
        replayed = replay(capsys, clip, "--memory", tmp_path / "m", "--camera", camera, "--start", START, *options)
        shapes[camera] = decode_jpeg(Memory(tmp_path / "m").camera(camera).snapshot().image(0)).shape
        assert [stream["used"] for stream in replayed["video_streams"]] == [camera == "first", camera == "largest"]
        assert replayed["video_streams"][1] | {"used": None} == {
            "number": 1, "codec": "h264", "width": 160, "height": 120, "used": None,
        }  # fmt: skip
    assert shapes == {"largest": (120, 160, 3), "first": (48, 64, 3)}
    _, _, error = run(capsys, "replay", clip, "--memory", tmp_path / "n")
    named = "2 video streams: 0: h264 64x48, 1: h264 160x120 (used); --stream N takes another"
    assert f"online (h264 160x120; {named})" in error


def test_the_size_of_images_is_kept_for_the_camera_and_its_cost_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clip = make_clip(tmp_path / "clip.mp4", frames=30, width=720, height=600)
    memory = tmp_path / "m"
    sizes = {}
    for camera, options in (("default", ()), ("small", ("--image-size", "200")), ("full", ("--image-size", "2000"))):
        document = replay(capsys, clip, "--memory", memory, "--camera", camera, "--start", START, *options)
        images = [*Memory(memory).camera(camera).snapshot().images(np.arange(3))]
        sizes[camera] = decode_jpeg(images[0]).shape[:2]
        told = document["images"]
        assert told["gigabytes_per_day"] == pytest.approx(sum(map(len, images)) / 3 * 86400 / 1e9, rel=0.01)
        assert told["default_size"] == 480
        assert (told["gigabytes_per_day"] < told["default_gigabytes_per_day"]) == (camera == "small")
        assert (told["gigabytes_per_day"] > told["default_gigabytes_per_day"]) == (camera == "full")
    assert sizes == {"default": (480, 576), "small": (200, 240), "full": (600, 720)}

    assert (
        replay(capsys, clip, "--memory", memory, "--camera", "small", "--start", START + 1000)["images"]["size"] == 200
    )
    assert decode_jpeg(Memory(memory).camera("small").snapshot().image(5)).shape[:2] == (200, 240)
    assert [read_settings(memory / camera).image_size for camera in sizes] == [None, 200, 2000]
    assert "image_size" not in (memory / "default" / "camera.json").read_text()
    _, out, error = run(
        capsys, "replay", clip, "--memory", memory, "--camera", "small", "--start", START + 2000, "--image-size", "240"
    )
    assert "images of camera 'small' have 240 lines at most, not 200" in error
    assert read_settings(memory / "small").image_size == 240
    assert re.search(r"images of 240 lines at most: \d\.\d\d GB a day; of 480, the default: \d\.\d\d GB a day", out)

    snapshots = [Memory(memory).camera(camera).snapshot() for camera in sizes]
    for snapshot in snapshots:  # features are computed from the frame, not from the stored image
        assert (snapshot.tokens(np.arange(3)) == snapshots[0].tokens(np.arange(3))).all()
    status, _, error = run(capsys, "replay", clip, "--memory", memory, "--camera", "tiny", "--image-size", "64")
    assert (status, "give at least 128" in error) == (2, True)
    assert not (memory / "tiny").exists()


def test_the_rate_of_a_camera_need_not_be_given_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clip = make_clip(tmp_path / "clip.mp4", frames=20)
    for start, options in ((START, ("--fps", "5")), (START + 1000, ())):
        document = replay(capsys, clip, "--memory", tmp_path / "m", "--camera", "a", "--start", start, *options)
        assert document["recorded"] == 10
        assert datetime.fromisoformat(document["last_time_iso"]).timestamp() == document["last_time"]


def test_the_end_says_how_long_a_short_recording_lasts_however_dense_its_frames_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A recording of a few seconds is sampled more densely than one frame a second if the model was trained so."""
    clip = make_clip(tmp_path / "clip.mp4", frames=60, rate=20, width=64, height=48)
    preset = write_preset(tmp_path, short_videos="published")
    status, out, _ = run(capsys, "replay", clip, "--memory", tmp_path / "m", "--camera", "gate", "--model", preset)
    assert status == 0
    assert "gate: 60 frames recorded, 60 in memory (3.0 s) at" in out
