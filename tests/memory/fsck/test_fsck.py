"""`fsck`: damage of every kind is found, named, costs only the chunk it is in, and is put right as far as it can be."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from afterview.cli.main import main
from afterview.memory.base.durable import unfinished_files
from afterview.memory.base.errors import DamagedFrames, DamagedMemory, RepositoryError
from afterview.memory.base.settings import (
    CameraSettings,
    MemorySettings,
    read_settings,
    write_memory_settings,
    write_settings,
)
from afterview.memory.format.upload_state import UploadState, upload_lock
from afterview.memory.fsck.fsck import fsck
from afterview.memory.index.frame_index import FrameIndex
from afterview.memory.reading.reader import CameraReader
from afterview.memory.reading.snapshot import MemorySnapshot
from afterview.memory.remote.settings import StoreSettings, write_store
from afterview.memory.writing.commands import execute
from afterview.memory.writing.open import open_camera
from tests.support.memory_world import START, assert_holds, die_holding, make_frame, make_spec

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
    "camera.json missing": (lambda c: (c / "camera.json").unlink(), "not a camera", None),
    "committed missing": (lambda c: (c / "committed").unlink(), "not a camera", None),
    "committed damaged": (lambda c: (c / "committed").write_text('{"frames": 3}'), "is missing", None),
    "journal record flipped": (lambda c: flip(c / "journal", 600), "fail their checksum", range(194, 195)),
    "journal is something else": (lambda c: (c / "journal").write_bytes(b"not a journal"), "is not a journal", range(192, 200)),
    "journal missing": (lambda c: (c / "journal").unlink(), "is missing", range(192, 200)),
    "journal empty": (lambda c: (c / "journal").write_bytes(b""), "is empty", range(192, 200)),
    "group metadata damaged": (lambda c: (c / "zarr.json").write_bytes(b"\xff\xfe{"), "missing or unreadable", None),
    "group metadata of something else": (
        lambda c: swap(c / "frames/images/zarr.json", '"group"', '"array"'), "does not describe a group", None,
    ),
    "group metadata missing": (lambda c: (c / "generation-1/zarr.json").unlink(), "missing or unreadable", None),
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
        # Nobody knows how many frames a lost journal held, and no id may come again: the places of a whole seal are kept free.
        expected = 256 if kind.startswith("journal") and lost == range(192, 200) else FRAMES
        assert repository.append(make_frame(500, SPEC)) == expected
    assert fsck(camera).findings == []


@pytest.mark.parametrize(
    "harm", [Path.unlink, lambda path: path.write_bytes(b""), lambda path: path.write_bytes(b"AFT")]
)
def test_no_writer_goes_on_without_the_journal(camera: Path, harm: Callable[[Path], object]) -> None:
    harm(camera / "journal")
    with pytest.raises(DamagedMemory, match=r"journal: is .*fsck --repair"):
        open_camera(camera.parent, "a", SPEC)
    assert_readable(CameraReader(camera).snapshot(), range(192, 200))  # questions are answered from what is sealed
    assert "as many places are recorded as lost" in fsck(camera, repair=True).repaired[0][1]
    (gone,) = CameraReader(camera).snapshot().removed
    assert (gone.first, gone.end, gone.reason) == (192, 256, "damaged")


def test_a_lost_journal_of_a_camera_without_sealed_frames(tmp_path: Path) -> None:
    with open_camera(tmp_path, "a", SPEC) as repository:
        for number in range(3):
            repository.append(make_frame(number, SPEC))
        repository.sync()
    (tmp_path / "a" / "journal").unlink()
    assert fsck(tmp_path / "a").damage
    assert fsck(tmp_path / "a", repair=True).damage == []
    with open_camera(tmp_path, "a", SPEC) as repository:
        assert repository.frames == 64


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
    images = snapshot.images(np.arange(62, 72))
    assert [next(images), next(images)] == [make_frame(number, SPEC).image for number in (62, 63)]
    with pytest.raises(DamagedFrames) as caught:
        next(images)
    assert caught.value.frames.tolist() == [64]


@pytest.mark.parametrize("offsets", [[None] * 65, ["x"] * 65, [0.5] * 65, [*range(64), 10**15], [1] * 65, {"0": 0}, 5])
def test_offsets_that_are_none_cost_the_images_of_their_seal(camera: Path, offsets: object) -> None:
    about = camera / "frames" / "images" / "1" / "zarr.json"
    metadata = json.loads(about.read_text())
    metadata["attributes"]["offsets"] = offsets
    if isinstance(offsets, list) and offsets[-1] == 10**15:
        metadata["shape"] = metadata["chunk_grid"]["configuration"]["chunk_shape"] = [10**15]
    about.write_text(json.dumps(metadata))
    snapshot = CameraReader(camera).snapshot()
    with pytest.raises(DamagedFrames):
        snapshot.image(70)
    assert snapshot.image(5) == make_frame(5, SPEC).image
    assert [finding.where for finding in fsck(camera).damage] == [about.parent]
    assert fsck(camera, repair=True).damage == []


def test_a_repair_that_lost_frames_says_so_to_whoever_asks(camera: Path) -> None:
    flip(camera / "generation-1/tokens/c.2.0.0")
    fsck(camera, repair=True)
    (gone,) = CameraReader(camera).snapshot().removed
    assert (gone.first, gone.end, gone.reason) == (32, 48, "damaged")
    assert (gone.start, gone.stop) == (START + 32, START + 47)


def test_an_index_that_lies_is_found_and_dropped(camera: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("afterview.memory.index.frame_index.SMALL", 64)
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


def test_a_writer_removes_what_the_one_before_left_half_written(camera: Path) -> None:
    names = (".committed.1", ".journal.1", "generation-1/tokens/.c.4.0.0.1", "frames/images/0/.zarr.json.1")
    left = [camera / f"{name}.partial" for name in names]
    settings = camera / ".settings.json.1.partial"  # whoever changes settings need not be the writer: it may be at work
    for path in (*left, settings):
        path.write_bytes(b"half")
    with open_camera(camera.parent, "a", SPEC):
        assert all(path.exists() for path in left)  # the one before closed the camera: none is looked for
    die_holding(camera)
    with open_camera(camera.parent, "a", SPEC):
        assert unfinished_files(camera) == [settings]


def test_what_a_writer_left_stays_while_the_store_is_busy(camera: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("afterview.memory.writing.leftovers._PATIENCE_S", 0.05)
    UploadState().write(camera)
    (camera / ".committed.1.partial").write_bytes(b"{")
    die_holding(camera)
    with upload_lock(camera), open_camera(camera.parent, "a", SPEC) as repository:
        assert repository.frames
        assert [path.name for path in unfinished_files(camera)] == [".committed.1.partial"]


def test_a_writer_removes_what_a_crash_left_of_the_index(camera: Path) -> None:
    left = camera / "index" / ".flat-0-64.faiss.1.partial"
    left.parent.mkdir(exist_ok=True)
    left.write_bytes(b"half a segment")
    with open_camera(camera.parent, "a", SPEC):
        assert not left.exists()


def test_out_of_order_times_are_found(camera: Path) -> None:
    from afterview.memory.format.layout import with_checksum

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
    assert "200 frames, clean" in capsys.readouterr().out
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


SMALL_FILES = [
    "camera.json",
    "committed",
    "generation-1/spec.json",
    "settings.json",
    "../settings.json",
    "../store.json",
]


@pytest.mark.parametrize("name", SMALL_FILES)
def test_a_flipped_digit_of_a_small_file_is_seen(camera: Path, name: str) -> None:
    write_settings(camera, CameraSettings(masks=(((0.1, 0.1), (0.5, 0.1), (0.5, 0.5)),), keep=((START, START + 9),)))
    write_memory_settings(camera.parent, MemorySettings(days=30))
    write_store(camera.parent, StoreSettings(url="s3://bucket1/m"))
    path = camera / name
    whole = path.read_bytes()
    digits = [place for place, byte in enumerate(whole) if chr(byte).isdigit()]
    for place in digits:
        path.write_bytes(whole[:place] + (b"1" if whole[place : place + 1] != b"1" else b"2") + whole[place + 1 :])
        found = [finding for finding in fsck(camera).findings if finding.where.resolve() == path.resolve()]
        assert len(found) == 1, place
        assert found[0].severity == "damage"


def test_a_flipped_count_costs_no_frame(camera: Path) -> None:
    with open_camera(camera.parent, "a", SPEC) as repository:
        repository.forget(START + 20, START + 30)
    before = CameraReader(camera).snapshot().ids.tolist()
    swap(camera / "committed", '"end": 31', '"end": 71')  # would give up forty more
    with pytest.raises(DamagedMemory, match=r"committed: the checksum is wrong.*fsck --repair"):
        CameraReader(camera)
    assert fsck(camera, repair=True).damage == []
    assert CameraReader(camera).snapshot().ids.tolist() == before


def test_files_without_a_checksum_are_read_as_before(camera: Path) -> None:
    for name in ("camera.json", "committed", "generation-1/spec.json"):
        values = json.loads((camera / name).read_text())
        del values["checksum"]
        (camera / name).write_text(json.dumps(values))
    assert fsck(camera).findings == []
    assert_readable(CameraReader(camera).snapshot())


def test_lost_settings_begin_anew_paused_and_with_everything_kept(camera: Path) -> None:
    (camera / "settings.json").write_text('{"masks": [[[0, 0]]]}')
    with open_camera(camera.parent, "a", SPEC) as repository, pytest.raises(DamagedMemory, match="fsck --repair"):
        execute(repository, {"do": "set", "settings": {"days": 1}})
    report = fsck(camera, repair=True)
    assert report.damage == []
    assert "privacy masks" in report.repaired[0][0].what
    settings = read_settings(camera)
    assert settings.paused  # nothing is recorded without its masks
    with open_camera(camera.parent, "a", SPEC) as repository:
        execute(repository, {"do": "set", "settings": {"days": 1 / 86400}})
    assert_readable(CameraReader(camera).snapshot())  # which spans were to be kept is not known: all are


def test_lost_settings_of_the_memory_are_found_and_begin_anew(camera: Path) -> None:
    (camera.parent / "settings.json").write_text("{")
    with open_camera(camera.parent, "a", SPEC) as repository, pytest.raises(DamagedMemory, match="fsck --repair"):
        execute(repository, {"do": "enforce"})
    assert [finding.where for finding in fsck(camera).damage] == [camera.parent / "settings.json"]
    assert fsck(camera, repair=True).damage == []
    with open_camera(camera.parent, "a", SPEC) as repository:
        execute(repository, {"do": "enforce"})


@pytest.mark.parametrize("harm", [Path.unlink, lambda path: flip(path, 40)])
def test_a_lost_spec_says_what_helps(camera: Path, harm: Callable[[Path], None]) -> None:
    path = camera / "generation-1" / "spec.json"
    with open_camera(camera.parent, "b", SPEC) as repository:
        repository.append(make_frame(0, SPEC))
    harm(path)
    with pytest.raises(RepositoryError, match=r"spec\.json.*copy it from another camera"):
        CameraReader(camera)
    said: list[str] = []
    assert [finding.where for finding in fsck(camera, repair=True, progress=said.append).damage] == [path]
    assert any("copy it from another camera" in line for line in said)
    path.write_bytes((camera.parent / "b" / "generation-1" / "spec.json").read_bytes())
    assert fsck(camera).findings == []
    assert_readable(CameraReader(camera).snapshot())
