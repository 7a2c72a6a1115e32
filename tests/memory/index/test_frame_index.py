"""The frame index: exact while it can be, the same as comparing every vector, never out of step with the memory."""

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from afterview.memory.directory import Memory
from afterview.memory.index import frame_index as index_module
from afterview.memory.index import segments
from afterview.memory.index.frame_index import FrameIndex, differences
from afterview.memory.reading.reader import CameraReader
from afterview.memory.reading.snapshot import MemorySnapshot
from afterview.memory.writing.open import open_camera
from tests.support.memory_world import make_frame, make_spec, record_frames

SPEC = make_spec()


@pytest.fixture(autouse=True)
def _small_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    """Segments of 64, 256 and 512 frames, so that few frames go through every kind."""
    for module in (index_module, segments):
        for name, size in (("SMALL", 64), ("LARGE", 256), ("INVERTED", 512)):
            if hasattr(module, name):
                monkeypatch.setattr(module, name, size)
    monkeypatch.setattr(segments, "CELLS", 8)
    monkeypatch.setattr(segments, "PROBES", 4)
    monkeypatch.setattr(segments, "_TRAIN", 512)


def exact(snapshot: MemorySnapshot, query: np.ndarray, top: int) -> list[int]:
    vectors = (
        snapshot.embeddings(snapshot.ids).astype(np.float16).astype(np.float32)
    )  # as precise as the index keeps them
    order = np.argsort(-(vectors @ query), kind="stable")[:top]
    return [int(snapshot.ids[row]) for row in order]


def test_finds_what_comparing_every_vector_finds_within_the_span(tmp_path: Path) -> None:
    record_frames(tmp_path, 700, SPEC)
    memory = Memory(tmp_path)
    snapshot, index = memory.camera("a").snapshot(), memory.index("a")
    index.catch_up(snapshot)
    query = make_frame(77, SPEC).embedding
    found = index.search(query, 5, snapshot)
    assert found.exact
    assert [hit.frame for hit in found.hits] == exact(snapshot, query, 5)
    assert found.hits[0].frame == 77
    assert all(100 <= hit.frame < 300 for hit in index.search(query, 50, snapshot, first=100, end=300).hits)
    assert [part.end - part.first for part in index._segments] == [256, 256, 64, 64]


def test_a_saved_index_is_used_again_and_grows(tmp_path: Path) -> None:
    record_frames(tmp_path, 200, SPEC)
    snapshot = Memory(tmp_path).camera("a").snapshot()
    FrameIndex(tmp_path / "a" / "index").catch_up(snapshot)
    record_frames(tmp_path, 150, SPEC)
    later = Memory(tmp_path).camera("a").snapshot()
    again = FrameIndex(tmp_path / "a" / "index")
    again.catch_up(later)
    assert again.rebuilt is None
    assert again.frames == 350
    for number in (3, 199, 200, 349):
        assert again.search(make_frame(number, SPEC).embedding, 1, later).hits[0].frame == number
    assert not differences(tmp_path / "a" / "index", later)


@pytest.mark.parametrize("harm", ["truncated", "missing", "other vectors", "list"])
def test_a_file_that_cannot_be_used_is_named_and_the_index_rebuilt(tmp_path: Path, harm: str) -> None:
    record_frames(tmp_path, 200, SPEC)
    snapshot = Memory(tmp_path).camera("a").snapshot()
    FrameIndex(tmp_path / "a" / "index").catch_up(snapshot)
    file = tmp_path / "a" / "index" / "flat-64-128.faiss"
    if harm == "truncated":
        file.write_bytes(file.read_bytes()[:60])
    elif harm == "missing":
        file.unlink()
    elif harm == "other vectors":
        file.write_bytes((tmp_path / "a" / "index" / "flat-0-64.faiss").read_bytes())
    else:
        (tmp_path / "a" / "index" / "about.json").write_text("{")
    assert differences(tmp_path / "a" / "index", snapshot)
    index = FrameIndex(tmp_path / "a" / "index")
    index.catch_up(snapshot)
    assert index.rebuilt
    assert index.search(make_frame(77, SPEC).embedding, 1, snapshot).hits[0].frame == 77
    assert not differences(tmp_path / "a" / "index", snapshot)


def test_beyond_the_exact_limit_old_frames_are_searched_approximately_and_it_says_so(tmp_path: Path) -> None:
    record_frames(tmp_path, 1100, SPEC)
    snapshot = Memory(tmp_path).camera("a").snapshot()
    index = FrameIndex(tmp_path / "a" / "index", exact_frames=600)
    index.catch_up(snapshot)
    assert {part.kind for part in index._segments} == {"ivf", "flat"}
    assert not index.search(make_frame(5, SPEC).embedding, 3, snapshot).exact
    assert index.search(make_frame(1090, SPEC).embedding, 3, snapshot, first=1024).exact
    near = [
        index.search(make_frame(number, SPEC).embedding, 1, snapshot).hits[0].frame == number
        for number in range(0, 1100, 10)
    ]
    assert np.mean(near) > 0.9
    again = FrameIndex(tmp_path / "a" / "index", exact_frames=600)
    again.catch_up(snapshot)
    assert again.rebuilt is None
    assert again.search(make_frame(1030, SPEC).embedding, 1, snapshot).hits[0].frame == 1030


@pytest.mark.parametrize("kind", ["flat", "ivf"])
def test_no_byte_of_a_file_that_faiss_would_trust_is_shown_to_it_once_it_changed(tmp_path: Path, kind: str) -> None:
    """Of a wrong count FAISS makes a crash of the process, gigabytes of memory, or other frames."""
    record_frames(tmp_path, 1100, SPEC)
    snapshot, directory = Memory(tmp_path).camera("a").snapshot(), tmp_path / "a" / "index"
    FrameIndex(directory, exact_frames=600).catch_up(snapshot)
    path = next(directory.glob(f"{kind}-*.faiss"))
    data = path.read_bytes()
    vectors = int(path.stem.split("-")[2]) - int(path.stem.split("-")[1])
    head = len(data) - vectors * SPEC.index.width * 2 - (vectors * 8 if kind == "ivf" else 0)
    assert 50 < head < 1000
    harms = [data[:at] + bytes([data[at] ^ 4]) + data[at + 1 :] for at in range(0, head, 7)]
    for harmed in [*harms, b"", data[:28], data[: head - 1], data[:-1], data + b"x"]:
        path.write_bytes(harmed)
        assert [line.partition(":")[0] for line in differences(directory, snapshot)] == [path.name]
    index = FrameIndex(directory, exact_frames=600)
    index.catch_up(snapshot, save=False)
    assert index.rebuilt == differences(directory, snapshot)[0]
    path.write_bytes(
        data[:-1] + bytes([data[-1] ^ 4])
    )  # a vector, or where it belongs: found by whoever reads all of it
    assert [line.partition(":")[0] for line in differences(directory, snapshot)] == [path.name]
    path.write_bytes(data)
    assert differences(directory, snapshot) == []


def test_an_inverted_segment_answers_with_its_own_frames_alone(tmp_path: Path) -> None:
    record_frames(tmp_path, 600, SPEC)
    snapshot, directory = Memory(tmp_path).camera("a").snapshot(), tmp_path / "a" / "index"
    FrameIndex(directory, exact_frames=300).catch_up(snapshot)
    path = directory / "ivf-0-512.faiss"
    data = bytearray(path.read_bytes())
    for at in range(len(data) - 8, len(data) - 8 * 20, -8):  # places of the last cell
        data[at + 5] ^= 1
    path.write_bytes(bytes(data))
    index = FrameIndex(directory, exact_frames=300)
    index.catch_up(snapshot, save=False)
    assert index.rebuilt is None
    for number in range(0, 512, 16):
        assert all(0 <= hit.frame < 600 for hit in index.search(make_frame(number, SPEC).embedding, 50, snapshot).hits)
    assert differences(directory, snapshot) == ["ivf-0-512.faiss: fails its checksum"]


@pytest.mark.parametrize(
    "segments_listed",
    [[["flat", 0, float("inf")]], [["flat", -64, 0]], [["x", 0, 64]], [["flat", 0]], [[]], 5, [[[], 0, 64]]],
)
def test_a_list_of_files_that_makes_no_sense_is_damage(tmp_path: Path, segments_listed: object) -> None:
    record_frames(tmp_path, 200, SPEC)
    snapshot, directory = Memory(tmp_path).camera("a").snapshot(), tmp_path / "a" / "index"
    FrameIndex(directory).catch_up(snapshot)
    about = json.loads((directory / "about.json").read_text())
    del about["checksum"]
    (directory / "about.json").write_text(json.dumps({**about, "segments": segments_listed}))
    assert differences(directory, snapshot)[0].startswith("about.json: ")
    index = FrameIndex(directory)
    index.catch_up(snapshot)
    assert index.rebuilt
    assert differences(directory, snapshot) == []


def test_a_list_of_an_earlier_version_is_used_as_it_is(tmp_path: Path) -> None:
    record_frames(tmp_path, 200, SPEC)
    snapshot, directory = Memory(tmp_path).camera("a").snapshot(), tmp_path / "a" / "index"
    FrameIndex(directory).catch_up(snapshot)
    about = json.loads((directory / "about.json").read_text())
    del about["checksum"]
    about["segments"] = [values[:3] for values in about["segments"]]
    (directory / "about.json").write_text(json.dumps(about))
    index = FrameIndex(directory)
    index.catch_up(snapshot)
    assert index.rebuilt is None
    assert differences(directory, snapshot) == []


def test_an_index_that_cannot_be_written_still_serves(tmp_path: Path) -> None:
    record_frames(tmp_path, 100, SPEC)
    (tmp_path / "a" / "index").write_text("in the way")
    snapshot = Memory(tmp_path).camera("a").snapshot()
    index = FrameIndex(tmp_path / "a" / "index")
    index.catch_up(snapshot)
    assert index.search(make_frame(9, SPEC).embedding, 1, snapshot).hits[0].frame == 9


def test_segments_of_evicted_frames_are_dropped_from_memory_and_disk(tmp_path: Path) -> None:
    from afterview.memory.plans.retention import Limits

    record_frames(tmp_path, 700, SPEC)
    reader = Memory(tmp_path).camera("a")
    index = FrameIndex(tmp_path / "a" / "index")
    index.catch_up(reader.snapshot())
    with open_camera(tmp_path, "a", SPEC) as repository:
        repository.enforce(Limits(100.0, None))
    snapshot = reader.snapshot()
    index.catch_up(snapshot)
    assert [part.first for part in index._segments] == [512, 576]
    assert sorted(path.name for path in (tmp_path / "a" / "index").glob("*.faiss")) == [
        "flat-512-576.faiss",
        "flat-576-640.faiss",
    ]
    assert index.search(make_frame(600, SPEC).embedding, 1, snapshot).hits[0].frame == 600
    assert not differences(tmp_path / "a" / "index", snapshot)


@pytest.mark.parametrize("top", [1, 3, 40, 700])
def test_of_equally_near_frames_the_earliest_are_found_however_they_are_cut_into_segments(top: int) -> None:
    draw = np.random.default_rng(3)
    looks = draw.standard_normal((7, 5)).astype(np.float32)
    vectors = looks[draw.integers(0, 7, 2000)]  # a camera that mostly sees the same
    query = draw.standard_normal(5).astype(np.float32)
    holes = [(100, 180), (990, 1010)]
    cuts = ([0, 2000], [0, 64, 128, 1024, 2000], list(range(0, 2001, 250)))
    found = []
    for cut in cuts:
        parts = [segments.build_flat(vectors[a:b], a) for a, b in pairwise(cut)]
        hits = [hit for part in parts for hit in part.search(query, top, first=20, end=1990, holes=holes)]
        found.append(sorted(hits, key=lambda hit: (-hit[0], hit[1]))[:top])
    assert found[0] == found[1] == found[2]
    scores = vectors.astype(np.float16).astype(np.float32) @ query
    allowed = [n for n in range(20, 1990) if not any(a <= n < b for a, b in holes)]
    expected = sorted(allowed, key=lambda n: (-round(float(scores[n]), 4), n))[:top]
    assert [frame for _, frame in found[0]] == expected


def test_a_caller_with_an_older_snapshot_takes_nothing_from_one_with_a_newer(tmp_path: Path) -> None:
    record_frames(tmp_path, 300, SPEC)
    reader, index = CameraReader(tmp_path / "a"), FrameIndex(tmp_path / "a" / "index")
    older = reader.snapshot()
    record_frames(tmp_path, 800, SPEC)
    newer = reader.snapshot()
    for snapshot in (newer, older):
        index.catch_up(snapshot)
    for number in (5, 299, 700, 1099):
        assert [hit.frame for hit in index.search(make_frame(number, SPEC).embedding, 1, newer).hits] == [number]
    found = [hit.frame for hit in index.search(make_frame(250, SPEC).embedding, 300, older).hits]
    assert sorted(found) == list(range(300))
