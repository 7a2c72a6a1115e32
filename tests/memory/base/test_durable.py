"""Directories that were created for nothing."""

import errno
from pathlib import Path

import pytest

from afterview.memory.base.durable import removed_if_unused, replacing


def make_and_fail(directory: Path) -> None:
    directory.mkdir(parents=True)
    directory.mkdir()


def test_directories_that_stay_empty_are_removed_and_others_kept(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    with pytest.raises(FileExistsError), removed_if_unused(tmp_path / "there" / "a" / "b"):
        make_and_fail(tmp_path / "there" / "a" / "b")
    assert [path.name for path in tmp_path.rglob("*")] == ["there"]
    with removed_if_unused(tmp_path / "there"):
        pass
    assert (tmp_path / "there").is_dir(), "it was there before"
    with removed_if_unused(tmp_path / "c" / "d"):
        (tmp_path / "c" / "d").mkdir(parents=True)
        (tmp_path / "c" / "d" / "file").touch()
    assert (tmp_path / "c" / "d" / "file").exists()
    with removed_if_unused(tmp_path / "e"):
        pass


def test_a_librarys_error_that_takes_no_name_stays_what_it_is(tmp_path: Path) -> None:
    class LibraryError(OSError):
        filename = property(lambda error: None)

    def write() -> None:
        with replacing(path) as temporary:
            temporary.write_bytes(b"half")
            raise LibraryError(errno.ENOSPC, "the disk is full")

    path = tmp_path / "video.mp4"
    with pytest.raises(OSError, match="full") as caught:
        write()
    assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, str(path))
    assert list(tmp_path.iterdir()) == []
