"""`fsck`: damage of every kind is found, named, costs only the chunk it is in, and is put right as far as it can be."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from afterimage.cli import main
from memory.errors import DamagedFrames
from memory.fsck import fsck
from memory.index import FrameIndex
from memory.reader import CameraReader
from memory.repository import open_camera
from memory.snapshot import MemorySnapshot
from tests.memory_world import START, assert_holds, make_frame, make_spec

SPEC = make_spec()
FRAMES = 200  # three seals and eight frames in the journal


@pytest.fixture
def camera(tmp_path: Path) -> Path:
    with open_camera(tmp_path, "a", SPEC) as repository:
        for number in range(FRAMES):
            when = START + number + (30 if number >= 100 else 0)
            repository.append(make_frame(number, SPEC, time=when))
            if number % 10 == 0:
                repository.sync()
    return tmp_path / "a"


def flip(path: Path, place: int = -20) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 0x40
    path.write_bytes(data)


def swap(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def assert_readable(snapshot: MemorySnapshot, lost: range | None = None) -> None:
    """Every frame but the lost ones is there and unchanged."""
    expected = [number for number in range(FRAMES) if lost is None or number not in lost]
    assert_holds(snapshot, expected)
    np.testing.assert_array_equal(snapshot.times, [START + n + (30 if n >= 100 else 0) for n in expected])


def test_a_sound_camera_is_clean(camera: Path) -> None:
    FrameIndex(camera / "index").catch_up(CameraReader(camera).snapshot())
    report = fsck(camera)
    assert report.findings == []
    assert report.frames == FRAMES


Harm = Callable[[Path], None]
TOKENS = "generation-1/tokens/zarr.json"
DAMAGE: dict[str, tuple[Harm, str, range | None]] = {
    "token chunk flipped": (lambda c: flip(c / "generation-1/tokens/c.2.0.0"), "fails its checksum", range(32, 48)),
    "token chunk truncated": (lambda c: (c / "generation-1/tokens/c.0.0.0").write_bytes(b"x"), "1 bytes instead", range(16)),
    "token chunk missing": (lambda c: (c / "generation-1/tokens/c.5.0.0").unlink(), "is missing", range(80, 96)),
    "embeddings flipped": (lambda c: flip(c / "generation-1/embeddings/c.1.0"), "fails its checksum", None),
    "times flipped": (lambda c: flip(c / "frames/times/c.0"), "fails its checksum", None),
    "times missing": (lambda c: (c / "frames/times/c.0").unlink(), "is missing", None),
    "arrival times truncated": (lambda c: (c / "frames/arrival_times/c.0").write_bytes(b""), "0 bytes instead", None),
    "time basis missing": (lambda c: (c / "frames/time_basis/c.0").unlink(), "is missing", None),
    "gaps flipped": (lambda c: flip(c / "frames/gaps/c.0.0", 9), "fails its checksum", None),
    "images flipped": (lambda c: flip(c / "frames/images/1/c.0"), "fails its checksum", None),
    "offsets missing": (lambda c: (c / "frames/images/1/zarr.json").unlink(), "zarr.json is missing", None),
    "array metadata missing": (lambda c: (c / "generation-1/tokens/zarr.json").unlink(), "missing or unreadable", None),
    "array metadata damaged": (lambda c: (c / "frames/times/zarr.json").write_text("{"), "missing or unreadable", None),
    "array metadata with another key": (lambda c: swap(c / TOKENS, '"separator"', '"reparator"'), "does not describe", None),
    "array metadata with other files": (lambda c: swap(c / TOKENS, '"separator": "."', '"separator": "/"'), "does not describe", None),
    "camera.json missing": (lambda c: (c / "camera.json").unlink(), "is not a camera", None),
    "committed missing": (lambda c: (c / "committed").unlink(), "is not a camera", None),
    "committed damaged": (lambda c: (c / "committed").write_text('{"frames": 3}'), "is missing", None),
    "journal record flipped": (lambda c: flip(c / "journal", 600), "fail their checksum", range(194, 195)),
    "journal is something else": (lambda c: (c / "journal").write_bytes(b"not a journal"), "is not a journal", range(192, 200)),
}  # fmt: skip


@pytest.mark.parametrize("kind", DAMAGE)
def test_damage_is_named_and_repaired_at_the_cost_of_its_chunk(camera: Path, kind: str) -> None:
    harm, says, lost = DAMAGE[kind]
    harm(camera)
    report = fsck(camera)
    assert report.damage
    assert says in report.damage[0].what, report.damage[0]
    repaired = fsck(camera, repair=True)
    assert repaired.repaired
    assert repaired.damage == []
    assert fsck(camera).findings == []
    assert_readable(CameraReader(camera).snapshot(), lost)
    with open_camera(camera.parent, "a", SPEC) as repository:  # and it goes on
        expected = 192 if kind == "journal is something else" else FRAMES
        assert repository.append(make_frame(500, SPEC)) == expected
    assert fsck(camera).findings == []


@pytest.mark.parametrize(
    "kind", ["token chunk flipped", "times missing", "journal record flipped", "embeddings flipped", "gaps flipped"]
)
def test_readers_go_on_beside_damage(camera: Path, kind: str) -> None:
    DAMAGE[kind][0](camera)
    snapshot = CameraReader(camera).snapshot()
    last = snapshot.tokens(np.array([199]))
    np.testing.assert_array_equal(last[0], make_frame(199, SPEC).tokens)
    index = FrameIndex(None)
    index.catch_up(snapshot)
    assert index.search(make_frame(199, SPEC).embedding, 1, snapshot).hits[0].frame == 199


@pytest.mark.parametrize("kind", DAMAGE)
def test_damage_where_frames_were_forgotten_is_found_like_any_other(camera: Path, kind: str) -> None:
    with open_camera(camera.parent, "a", SPEC) as repository:
        for first, last in ((40, 44), (70, 75)):
            repository.forget(START + first, START + last)
    DAMAGE[kind][0](camera)
    assert any(DAMAGE[kind][1] in finding.what for finding in fsck(camera).damage)
    assert fsck(camera, repair=True).damage == []
    assert fsck(camera).findings == []
    snapshot = CameraReader(camera).snapshot()
    assert not set(snapshot.ids.tolist()) & {*range(40, 45), *range(70, 76)}
    np.testing.assert_array_equal(
        snapshot.tokens(snapshot.ids), np.stack([make_frame(number, SPEC).tokens for number in snapshot.ids.tolist()])
    )


def test_a_missing_pack_of_images_is_no_image(camera: Path) -> None:
    (camera / "frames/images/1/c.0").unlink()
    snapshot = CameraReader(camera).snapshot()
    assert snapshot.image(63) == make_frame(63, SPEC).image
    with pytest.raises(DamagedFrames) as caught:
        snapshot.image(70)
    assert caught.value.frames.tolist() == [70]


def test_a_repair_that_lost_frames_says_so_to_whoever_asks(camera: Path) -> None:
    flip(camera / "generation-1/tokens/c.2.0.0")
    fsck(camera, repair=True)
    (gone,) = CameraReader(camera).snapshot().removed
    assert (gone.first, gone.end, gone.reason) == (32, 48, "damaged")
    assert (gone.start, gone.stop) == (START + 32, START + 47)


def test_an_index_that_lies_is_found_and_dropped(camera: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("memory.index.SMALL", 64)
    FrameIndex(camera / "index").catch_up(CameraReader(camera).snapshot())
    (camera / "index" / "flat-64-128.faiss").write_bytes((camera / "index" / "flat-0-64.faiss").read_bytes())
    assert "differ from their embeddings" in fsck(camera).damage[0].what
    assert fsck(camera, repair=True).damage == []
    assert fsck(camera).findings == []


def test_what_a_crash_leaves_is_a_note_not_damage(camera: Path) -> None:
    (camera / "journal").write_bytes((camera / "journal").read_bytes() + b"half a record")
    (camera / ".committed.1.partial").write_bytes(b"{")
    report = fsck(camera)
    assert report.damage == []
    assert len(report.findings) == 2
    assert fsck(camera, repair=True).findings == []
    assert not (camera / ".committed.1.partial").exists()


def test_out_of_order_times_are_found(camera: Path) -> None:
    from memory.layout import with_checksum

    file = camera / "frames/times/c.0"
    rows = np.frombuffer(file.read_bytes()[:-4]).copy()
    rows[50] = rows[49]
    file.write_bytes(with_checksum(rows.tobytes()))
    assert "does not follow" in fsck(camera).damage[0].what
    assert fsck(camera, repair=True).damage == []
    assert 50 not in CameraReader(camera).snapshot().ids


def test_the_command_exits_as_the_design_says(camera: Path, capsys: pytest.CaptureFixture[str]) -> None:
    memory = str(camera.parent)
    assert main(["fsck", memory]) == 0
    assert "200 frames, sound" in capsys.readouterr().out
    flip(camera / "generation-1/tokens/c.2.0.0")
    assert main(["fsck", memory, "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    (finding,) = document["cameras"][0]["findings"]
    assert (finding["path"], finding["frames"]) == ("a/generation-1/tokens/c.2.0.0", [32, 48])
    assert main(["fsck", memory]) == 1
    assert "--repair" in capsys.readouterr().out
    assert main(["fsck", memory, "--repair"]) == 0
    assert "lost to damage" in capsys.readouterr().out
    assert main(["fsck", memory]) == 0
    assert main(["fsck", str(camera / "nowhere")]) == 2


def test_a_camera_that_is_written_is_checked_but_not_repaired(camera: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with open_camera(camera.parent, "a", SPEC):
        assert main(["fsck", str(camera.parent)]) == 0
        assert main(["fsck", str(camera.parent), "--repair"]) == 2
        assert "is being written by process" in capsys.readouterr().err


def test_only_frames_that_no_repair_can_bring_back_are_lost_with_the_settings(camera: Path) -> None:
    (camera / "settings.json").write_text('{"masks": [[[0, 0]]]}')
    report = fsck(camera, repair=True)
    assert len(report.damage) == 1  # a privacy mask that cannot be read is for a person to set again
    assert "privacy masks" in report.damage[0].what
