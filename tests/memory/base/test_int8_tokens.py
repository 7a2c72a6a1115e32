"""Tokens in a byte each: close to what went in, the same wherever they are read from, and no less safe than the others."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from safetensors.numpy import load_file

from afterview.cli.main import main
from afterview.memory.base.documents import encode_json, read_json
from afterview.memory.base.errors import DamagedFrames, FormatMismatch
from afterview.memory.base.int8_tokens import MISSING_CODE, Codes, dequantise, quantise
from afterview.memory.directory import Memory
from afterview.memory.format.layout import with_checksum
from afterview.memory.format.manifest import Manifest
from afterview.memory.fsck.fsck import fsck
from afterview.memory.reading.reader import CameraReader
from afterview.memory.reading.snapshot import MemorySnapshot
from afterview.memory.writing.erase import traces
from afterview.memory.writing.open import open_camera
from afterview.memory.writing.reembed import build_sealed, open_generation
from tests.support.clips import make_clip
from tests.support.memory_world import START, assert_holds, kept_frame, make_frame, make_spec, record_frames

SPEC = make_spec(storage="int8")
PLAIN = make_spec()
FRAMES = 200  # three seals and eight frames in the journal


@pytest.fixture
def camera(tmp_path: Path) -> Path:
    return record_frames(tmp_path, FRAMES, SPEC)


def tokens_of(numbers: list[int]) -> NDArray[np.floating]:
    return np.stack([kept_frame(number, SPEC).tokens for number in numbers])


def assert_readable(snapshot: MemorySnapshot, lost: range = range(0)) -> None:
    assert_holds(snapshot, (number for number in range(FRAMES) if number not in lost))


# --- codes ---


def test_every_code_of_every_scale_is_the_product_rounded_to_float16() -> None:
    scales = np.arange(0x7C00, dtype=np.uint16).view(np.float16)
    scales = scales[scales <= np.float16(515.5)]
    codes = np.repeat(np.arange(-127, 128, dtype=np.int8)[:, None], len(scales), axis=1)
    plain = (codes.astype(np.float32) * scales.astype(np.float32)).astype(np.float16)
    np.testing.assert_array_equal(dequantise(Codes(codes, scales)).view(np.uint16), plain.view(np.uint16))


@given(
    exponent=st.integers(-24, 15),
    wide=st.floats(1, 200),
    seed=st.integers(0, 2**32 - 1),
    cells=st.sampled_from([1, 16]),
)
def test_no_value_is_off_by_more_than_half_a_step(exponent: int, wide: float, seed: int, cells: int) -> None:
    """Of any size that float16 holds, some channels far wider than the others, some all zero."""
    random = np.random.default_rng(seed)
    gains = np.where(random.random(24) < 0.1, wide, 1.0) * (random.random(24) > 0.1) * 2.0**exponent
    tokens = np.clip(random.standard_normal((3, cells, 24)) * gains, -65000, 65000).astype(np.float16)
    stored = quantise(tokens)
    back = dequantise(stored).astype(np.float64)
    assert stored.codes.min() > MISSING_CODE
    assert stored.scales.dtype == np.float16
    step = stored.scales.astype(np.float64)[:, None]
    rounding = np.abs(back) * 2.0**-11 + 2.0**-25  # of the result, to float16
    assert (np.abs(back - tokens) <= step / 2 + rounding).all()
    assert (back[np.broadcast_to(step == 0, back.shape)] == 0).all()


def test_a_frame_s_codes_depend_on_no_other_frame() -> None:
    tokens = np.random.default_rng(0).standard_normal((5, 16, 700)).astype(np.float16)
    together = quantise(tokens)
    for number, frame in enumerate(tokens):
        alone = quantise(frame)
        np.testing.assert_array_equal(alone.codes, together.codes[number])
        np.testing.assert_array_equal(alone.scales, together.scales[number])
        np.testing.assert_array_equal(dequantise(alone), dequantise(together)[number])


# --- the memory ---


def test_a_frame_is_the_same_in_the_journal_and_sealed_and_reopened(tmp_path: Path) -> None:
    with open_camera(tmp_path, "a", SPEC) as repository:
        for number in range(63):
            repository.append(make_frame(number, SPEC))
        (*_, acknowledged) = repository.sync()
        ids = np.arange(63)
        reader = CameraReader(repository.directory)
        unsealed = reader.snapshot()
        assert Manifest.read(repository.directory).frames == 0
        before = unsealed.tokens(ids)
        repository.append(make_frame(63, SPEC))
        repository.sync()
        sealed = reader.snapshot()
        assert Manifest.read(repository.directory).frames == 64
        np.testing.assert_array_equal(sealed.tokens(ids), before)
    from afterview.memory.base.records import frame_crc

    after = CameraReader(tmp_path / "a").snapshot()
    np.testing.assert_array_equal(after.tokens(ids), before)
    np.testing.assert_array_equal(before, tokens_of(ids.tolist()))
    assert before.dtype == np.float16
    assert frame_crc(after.image(62), after.tokens(ids[62:])[0], after.embeddings(ids[62:])[0]) == acknowledged.crc
    assert np.abs(before - np.stack([make_frame(n, SPEC).tokens for n in range(63)])).max() < 0.02
    assert not np.array_equal(before[5], make_frame(5, SPEC).tokens)


def test_a_memory_of_bytes_is_half_as_large(tmp_path: Path) -> None:
    sizes = {}
    for spec in (make_spec(width=128, cells=64), make_spec(width=128, cells=64, storage="int8")):
        with open_camera(tmp_path, spec.tokens.storage, spec) as repository:
            for number in range(64):
                repository.append(make_frame(number, spec))
        features = tmp_path / spec.tokens.storage / "generation-1"
        sizes[spec.tokens.storage] = sum(path.stat().st_size for path in features.rglob("c.*"))
    assert sizes["int8"] < 0.53 * sizes["float16"]


def test_a_memory_of_before_opens_and_stays_as_it_was(tmp_path: Path) -> None:
    with open_camera(tmp_path, "a", PLAIN) as repository:
        repository.append(make_frame(0, PLAIN))
    spec = tmp_path / "a" / "generation-1" / "spec.json"
    assert "storage" not in json.loads(spec.read_text())["tokens"]  # as older versions wrote it, and read it
    with open_camera(tmp_path, "a", SPEC) as repository:  # whatever new cameras get
        repository.append(make_frame(1, PLAIN))
        assert repository.spec == PLAIN
    snapshot = CameraReader(tmp_path / "a").snapshot()
    np.testing.assert_array_equal(snapshot.tokens(snapshot.ids)[1], make_frame(1, PLAIN).tokens)


def test_a_storage_that_is_not_known_is_refused_by_name(camera: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec = camera / "generation-1" / "spec.json"
    values = read_json(spec, missing="")
    values["tokens"]["storage"] = "int4"
    spec.write_bytes(encode_json(values))
    with pytest.raises(FormatMismatch, match=r"tokens\.storage.*int4.*another version"):
        CameraReader(camera)
    assert main(["info", str(camera.parent)]) == 2
    assert "storage" in capsys.readouterr().err
    values["tokens"]["stored"] = values["tokens"].pop("storage")  # what an older version makes of it
    spec.write_bytes(encode_json(values))
    with pytest.raises(FormatMismatch, match="unknown key"):
        CameraReader(camera)


@pytest.mark.parametrize(
    ("file", "harm", "says", "lost"),
    [
        ("scales/c.1.0", "flip", "fails its checksum", range(64, 128)),
        ("scales/c.0.0", "truncate", "9 bytes instead", range(64)),
        ("scales/c.2.0", "delete", "is missing", range(128, 192)),
        ("tokens/c.2.0.0", "flip", "fails its checksum", range(32, 48)),
        ("tokens/c.5.0.0", "delete", "is missing", range(80, 96)),
    ],
)
def test_damage_costs_its_chunk_and_is_repaired(camera: Path, file: str, harm: str, says: str, lost: range) -> None:
    path = camera / "generation-1" / file
    data = bytearray(path.read_bytes())
    data[11] ^= 1
    path.unlink() if harm == "delete" else path.write_bytes(data if harm == "flip" else data[:9])
    snapshot = CameraReader(camera).snapshot()
    with pytest.raises(DamagedFrames) as caught:
        snapshot.tokens(snapshot.ids)
    assert caught.value.frames.tolist() == list(lost)
    assert_readable(snapshot.without(caught.value.frames), lost)
    (finding,) = fsck(camera).damage
    assert (finding.where, finding.frames) == (path, (lost.start, lost.stop))
    assert says in finding.what
    assert fsck(camera, repair=True).damage == []
    assert fsck(camera).findings == []
    assert_readable(CameraReader(camera).snapshot(), lost)
    with open_camera(camera.parent, "a", SPEC) as repository:
        assert repository.append(make_frame(500, SPEC)) == FRAMES


@pytest.mark.parametrize("name", ["tokens", "scales"])
def test_rows_that_nobody_can_have_written_are_found(camera: Path, name: str) -> None:
    path = camera / "generation-1" / name / ("c.1.0" if name == "scales" else "c.4.0.0")
    rows = np.frombuffer(path.read_bytes()[:-4], dtype=np.float16 if name == "scales" else np.int8).copy()
    rows[3] = np.nan if name == "scales" else MISSING_CODE
    path.write_bytes(with_checksum(rows.tobytes()))
    assert [(finding.what, finding.frames) for finding in fsck(camera).damage] == [
        ("the row of frame 64 is not a number", (64, 65))
    ]


def test_forgetting_leaves_neither_codes_nor_scales(camera: Path) -> None:
    with open_camera(camera.parent, "a", SPEC) as repository:
        done = repository.forget(START + 70, START + 195)  # a part of one seal, a whole one, and some of the journal
    assert done.frames == 126
    features = camera / "generation-1"
    assert not (features / "scales" / "c.2.0").exists()
    scales = np.frombuffer((features / "scales" / "c.1.0").read_bytes()[:-4], dtype=np.float16).reshape(64, 6)
    assert not scales[6:].any()
    assert scales[:6].any(axis=1).all()
    assert_readable(CameraReader(camera).snapshot(), range(70, 196))
    (removal,) = CameraReader(camera).snapshot().removed
    assert traces(camera, removal, sealed=192) == []
    blank, planted = features / "scales" / "c.1.0", scales.copy()
    planted[40, 3] = 0.5
    blank.write_bytes(with_checksum(planted.tobytes()))
    assert traces(camera, removal, sealed=192) == [f"{blank}: rows of forgotten frames"]
    assert [finding.what for finding in fsck(camera).damage] == ["still holds rows of forgotten frames"]
    assert fsck(camera, repair=True).damage == []
    assert traces(camera, removal, sealed=192) == []


def test_an_exported_span_comes_back_to_the_last_bit(camera: Path, tmp_path: Path) -> None:
    file = tmp_path / "span.safetensors"
    assert main(["export", str(file), "--memory", str(camera.parent), "--from", str(START + 10)]) == 0
    arrays = load_file(file)
    assert (arrays["tokens"].dtype, arrays["tokens"].shape) == (np.int8, (190, 4, 6))
    assert (arrays["scales"].dtype, arrays["scales"].shape) == (np.float16, (190, 6))
    np.testing.assert_array_equal(dequantise(Codes(arrays["tokens"], arrays["scales"])), tokens_of([*range(10, 200)]))
    other = tmp_path / "other"
    assert main(["import", str(file), "--memory", str(other)]) == 0
    new = Memory(other).camera("a").snapshot()
    assert new.spec == SPEC
    np.testing.assert_array_equal(new.tokens(new.ids), tokens_of([*range(10, 200)]))
    stored = new.stored_tokens(new.ids)
    np.testing.assert_array_equal(stored["tokens"], arrays["tokens"])  # the codes themselves, not codes of codes
    np.testing.assert_array_equal(stored["scales"], arrays["scales"])
    assert fsck(other / "a").findings == []


@pytest.mark.parametrize(("old", "new"), [(PLAIN, SPEC), (SPEC, PLAIN)])
def test_a_new_generation_may_keep_its_tokens_in_another_way(tmp_path: Path, old: object, new: object) -> None:
    old_spec, new_spec = (make_spec(storage=spec.tokens.storage) for spec in (old, new))  # type: ignore[attr-defined]

    def encode(images: object) -> tuple[NDArray[np.floating], NDArray[np.float32]]:
        made = [by_image[image] for image in images]  # type: ignore[attr-defined]
        return np.stack([frame.tokens for frame in made]), np.stack([frame.embedding for frame in made])

    by_image = {frame.image: frame for frame in (make_frame(number, old_spec) for number in range(FRAMES))}
    camera = record_frames(tmp_path, FRAMES, old_spec)
    generation = open_generation(camera, new_spec)
    build_sealed(camera, generation, new_spec, encode)
    with open_camera(tmp_path, "a", old_spec) as repository:
        repository.switch(generation, new_spec, encode)
    snapshot = CameraReader(camera).snapshot()
    assert snapshot.spec == new_spec
    assert_holds(snapshot, range(FRAMES))
    assert fsck(camera).findings == []


# --- the command line ---


def test_who_makes_a_camera_says_how_its_tokens_are_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clip = str(make_clip(tmp_path / "clip.mp4", frames=30, rate=10))
    memory = str(tmp_path / "m")
    early = ["--start", "2020-01-01"]
    for storage in ("float16", "int8"):
        assert main(["replay", clip, "--memory", memory, "--camera", storage, "--tokens", storage, *early]) == 0
    assert main(["replay", clip, "--memory", memory, "--camera", "unsaid"]) == 0
    capsys.readouterr()
    assert main(["info", memory, "--json"]) == 0
    cameras = json.loads(capsys.readouterr().out)["cameras"]
    stored = {camera["id"]: camera["spec"]["tokens"]["storage"] for camera in cameras}
    assert stored == {"float16": "float16", "int8": "int8", "unsaid": "float16"}  # the tiny preset's own
    assert main(["info", memory]) == 0
    assert "tokens of 128 a frame, int8" in capsys.readouterr().out
    assert main(["ask", "What is shown now?", "--memory", memory, "--camera", "float16"]) == 0  # one model reads both
    assert main(["ask", "What is shown now?", "--memory", memory, "--camera", "int8"]) == 0
    capsys.readouterr()
    again = ["replay", clip, "--memory", memory, "--camera", "float16", "--start", "2020-01-02"]
    assert main([*again, "--tokens", "int8"]) == 2
    assert "afterview reembed --model tiny --tokens int8" in capsys.readouterr().err
    assert main(again) == 0
    assert main(["reembed", "--memory", memory, "--camera", "float16", "--model", "tiny", "--tokens", "int8"]) == 0
    assert Memory(tmp_path / "m").camera("float16").spec.tokens.storage == "int8"
