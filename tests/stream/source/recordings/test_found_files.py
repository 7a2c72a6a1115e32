"""Which files a folder or a pattern stands for."""

import os
from pathlib import Path

import pytest
from PIL import Image

from afterview.stream.errors import BadUrl, NotAVideo, SourceNotFound
from afterview.stream.source.recordings.found_files import find_files, names_several
from tests.support.clips import make_clip


def names(addresses: object) -> list[str]:
    return [Path(address.url).name for address in addresses]  # type: ignore[attr-defined]


def test_a_folder_gives_videos_pictures_and_names_the_rest(tmp_path: Path) -> None:
    folder = tmp_path / "nvr"
    (folder / ".thumbs").mkdir(parents=True)
    (folder / "day").mkdir()
    for name in ("clip 10.mp4", "clip 9.mp4", "day/a.ts", ".hidden.mp4", ".thumbs/t.mp4"):
        (folder / name).write_bytes(b"x")
    make_clip(folder / "extensionless.mp4", frames=3).rename(folder / "extensionless")
    for name, animated in (("still.webp", False), ("moving.webp", True), ("moving.png", True), ("still.png", False)):
        images = [Image.new("RGB", (16, 16), (shade, 0, 0)) for shade in (0, 200)]
        images[0].save(folder / name, save_all=animated, append_images=images[1:] if animated else [])
    (folder / "notes.txt").write_text("x")
    (folder / "unknown").write_text("x")
    (folder / "empty.mp4").touch()
    (folder / "gone.mp4").symlink_to(tmp_path / "nowhere")
    (folder / "again.mp4").symlink_to(folder / "clip 9.mp4")
    os.mkfifo(folder / "pipe.mp4")
    found = find_files([str(folder), str(folder / "clip 9.mp4")])
    assert names(found.videos) == ["again.mp4", "clip 10.mp4", "a.ts", "extensionless", "moving.png", "moving.webp"]
    assert names(found.pictures) == ["still.png", "still.webp"]
    assert sorted(Path(path).name for path in found.left_out) == [
        "empty.mp4 (empty)", "gone.mp4 (a broken link)", "notes.txt", "pipe.mp4 (a special file)", "unknown",
    ]  # fmt: skip


def test_the_pictures_of_a_memory_are_not_recorded_again(tmp_path: Path) -> None:
    for name in ("memory/front/camera.json", "memory/front/a.jpg", "memory/answers/1/front-1.jpg", "b.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    assert names(find_files([str(tmp_path)]).pictures) == ["b.jpg"]


def test_patterns_are_expanded_unless_a_file_has_that_name(tmp_path: Path) -> None:
    for name in ("clip[1].mp4", "clip1.mp4", "a/b/c.mp4"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    assert not names_several(str(tmp_path / "clip[1].mp4"))
    assert names(find_files([str(tmp_path / "clip[1].mp4")]).videos) == ["clip[1].mp4"]
    assert names(find_files([str(tmp_path / "clip?.mp4")]).videos) == ["clip1.mp4"]
    assert names(find_files([str(tmp_path / "**/*.mp4")]).videos) == ["c.mp4", "clip1.mp4", "clip[1].mp4"]
    assert names(find_files([str(tmp_path / "a*")]).videos) == ["c.mp4"]


def test_what_is_not_there_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x")
    for text, error, part in (
        (f"{tmp_path}/*.mkv", SourceNotFound, "no file matches"),
        (f"{tmp_path}/gone.mp4", SourceNotFound, "no such file"),
        (str(tmp_path), NotAVideo, "such as notes.txt"),
        ("rtsp://127.0.0.1/x", BadUrl, "use `afterview watch`"),
    ):
        with pytest.raises(error, match=part):
            find_files([text, str(tmp_path)])


def test_links_in_a_circle_lead_to_each_file_once(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"x")
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / "gone.mp4").symlink_to(tmp_path / "nowhere")
    (tmp_path / "loop").symlink_to(tmp_path)
    found = find_files([str(tmp_path / "**" / "*.*")])
    assert names(found.videos) == ["a.mp4"]
    assert sorted(Path(path).name for path in found.left_out) == ["gone.mp4 (a broken link)", "notes.txt"]


def test_names_are_shown_in_one_line_that_every_terminal_can_print(tmp_path: Path) -> None:
    (tmp_path / "a\nb\x1b[2J.mp4").write_bytes(b"x")
    (tmp_path / "c\td.txt").write_bytes(b"x")
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.mp4")).write_bytes(b"x")
    found = find_files([str(tmp_path)])
    assert [Path(video.redacted).name for video in found.videos] == ["a\\nb\\x1b[2J.mp4", "\\udcff.mp4"]
    assert [Path(path).name for path in found.left_out] == ["c\\td.txt"]
    assert all(os.path.isfile(video.url) for video in found.videos)
