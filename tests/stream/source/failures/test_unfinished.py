"""MP4 files whose recorder has not finished them."""

from pathlib import Path

import pytest

from afterview.stream.errors import NotAVideo
from afterview.stream.source.failures.unfinished import was_never_finished
from tests.support.clips import make_clip
from tests.support.reading import read


@pytest.mark.parametrize("name", ["clip.mp4", "clip.mov"])
def test_a_file_without_its_index_was_never_finished(name: str, tmp_path: Path) -> None:
    clip = make_clip(tmp_path / name, frames=50)
    whole = clip.read_bytes()
    assert not was_never_finished(str(clip))
    clip.write_bytes(whole[: whole.index(b"moov") - 4])
    with pytest.raises(NotAVideo, match=r"clip.*: the recording was never finished \(its index, moov, is missing\)"):
        read(clip)
    clip.write_bytes(whole[: whole.index(b"mdat") + 200])
    assert was_never_finished(str(clip))


def test_other_files_are_not_taken_for_unfinished_ones(tmp_path: Path) -> None:
    for name, data in {
        "zero.mp4": b"\0" * 5000,
        "text.mp4": b"hello world, this is no video",
        "empty.mp4": b"",
    }.items():
        (tmp_path / name).write_bytes(data)
        assert not was_never_finished(str(tmp_path / name))
    assert not was_never_finished(str(make_clip(tmp_path / "clip.mkv", frames=5)))
    assert not was_never_finished(str(tmp_path / "nothing.mp4"))
