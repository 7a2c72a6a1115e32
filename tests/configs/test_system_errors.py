"""What the system refuses, in words."""

import errno
import os
from pathlib import Path

import pytest

from afterview.configs.system_errors import describe, is_misplaced
from tests.support.unprivileged import public_directory, unprivileged

NUMBERS = "EACCES EPERM EROFS ENOSPC EDQUOT EIO ENOTDIR EISDIR ENAMETOOLONG ELOOP EMFILE ENFILE ESTALE ENOENT EEXIST ENOTEMPTY"


@pytest.mark.parametrize("name", NUMBERS.split())
def test_every_refusal_is_one_line_with_the_path_and_no_code(name: str, tmp_path: Path) -> None:
    number = getattr(errno, name)
    said = describe(OSError(number, os.strerror(number), str(tmp_path / "x")))
    assert said.startswith(f"{tmp_path / 'x'}: cannot be ")
    assert name not in said
    assert "Errno" not in said
    assert "\n" not in said
    assert os.strerror(number) not in said  # our words, not those of the C library


def test_an_error_without_a_number_or_a_path_is_described_all_the_same() -> None:
    assert describe(OSError("odd")) == "a file cannot be used: odd"
    assert describe(OSError(errno.ENOSPC, "x")) == "a file cannot be written: the disk is full; free some space"


def test_permission_names_the_place_the_user_and_what_is_missing() -> None:
    with public_directory() as place:
        (place / "closed" / "in").mkdir(parents=True)
        (place / "closed" / "in" / "file").write_text("x")
        (place / "closed").chmod(0o600)
        (place / "secret").write_text("x")
        (place / "secret").chmod(0)
        (place / "readonly").mkdir(mode=0o555)
        with unprivileged():
            error = PermissionError(errno.EACCES, "Permission denied")
            who = "user '"
            said = describe(error, place / "closed" / "in" / "file", action="read")
            assert f"{who}" in said
            assert f"may not enter {place / 'closed'} (drw-------, owner" in said
            assert "may not read it (----------" in describe(error, place / "secret", action="read")
            assert f"may not write in {place / 'readonly'} (" in describe(
                error, place / "readonly" / "new", action="written"
            )
            assert "may not list it" in describe(error, place / "closed", action="read")


def test_links_and_files_in_the_way_are_named(tmp_path: Path) -> None:
    (tmp_path / "away").symlink_to("nowhere")
    (tmp_path / "file").write_text("x")
    dangling = FileNotFoundError(errno.ENOENT, "x")
    assert "is a symbolic link to nowhere, which does not exist" in describe(dangling, tmp_path / "away" / "x")
    assert f"{tmp_path / 'file'} is a file, not a directory" in describe(
        NotADirectoryError(errno.ENOTDIR, "x"), tmp_path / "file" / "x"
    )


def test_only_a_wrong_thing_at_the_place_tells_about_its_content() -> None:
    assert is_misplaced(IsADirectoryError(errno.EISDIR, "x"))
    assert is_misplaced(OSError("a library's own"))
    assert not any(is_misplaced(OSError(number, "x")) for number in (errno.EACCES, errno.EIO, errno.EMFILE))


def test_a_path_by_a_descriptor_is_shown_by_name(tmp_path: Path) -> None:
    descriptor = os.open(tmp_path, os.O_RDONLY)
    try:
        said = describe(OSError(errno.ENOSPC, "x", f"/proc/self/fd/{descriptor}/door/journal"))
    finally:
        os.close(descriptor)
    assert said.startswith(f"{tmp_path}/door/journal: cannot be written")
