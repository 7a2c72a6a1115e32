"""Pictures in HTTP bodies, in every dialect of multipart, whatever pieces the bytes come in."""

import io

import pytest
from PIL import Image

from afterview.stream.source.pictures.jpeg_end import PictureEnd, format_of
from afterview.stream.source.pictures.parts import MOST_HEADER_BYTES, Found, PartError, PictureParts, content_type
from tests.support.clips import picture
from tests.support.mjpeg_server import jpeg

JPEGS = [jpeg(number) for number in range(3)]
LENGTHS = [len(data) for data in JPEGS]


def parts(*, dashes: bytes = b"--", newline: bytes = b"\r\n", headers: list[list[bytes]] | None = None) -> bytes:
    """Three JPEGs as a multipart body whose boundary is `frame`."""
    headers = headers or [[b"Content-Type: image/jpeg"]] * 3
    return b"".join(
        newline.join([dashes + b"frame", *lines, b"", data, b""]) for lines, data in zip(headers, JPEGS, strict=True)
    )


def lengths(*more: int) -> list[list[bytes]]:
    return [
        [b"Content-Type: image/jpeg", b"Content-Length: %d" % (length + extra)]
        for length, extra in zip(LENGTHS, more, strict=True)
    ]


def read_parts(body: bytes, boundary: str, piece: int, *, ends: bool = True) -> tuple[list[Found], PictureParts]:
    reader, found = PictureParts(boundary), list[Found]()
    for at in range(0, len(body), piece):
        found += reader.feed(body[at : at + piece], float(at))
    return found + (reader.end() if ends else []), reader


def with_thumbnail() -> bytes:
    """A JPEG whose EXIF holds a whole JPEG."""
    exif = Image.Exif()
    exif[0x010E] = "camera"
    data = io.BytesIO()
    Image.fromarray(picture(0)).save(data, "jpeg", comment=JPEGS[1])
    return data.getvalue()


BODIES = {
    "plain": (parts(), "frame"),
    "dashes in the header": (parts(), "--frame"),
    "more dashes in the body": (parts(dashes=b"----"), "--frame"),
    "no dashes in the body": (parts(dashes=b""), "frame"),
    "no boundary in the header": (parts(), ""),
    "another boundary in the header": (parts(), "myboundary"),
    "LF": (parts(newline=b"\n"), "frame"),
    "lengths": (parts(headers=lengths(0, 0, 0)), "frame"),
    "lengths, LF": (parts(headers=lengths(0, 0, 0), newline=b"\n"), "frame"),
    "lengths that count the line end": (parts(headers=lengths(2, 2, 2)), "frame"),
    "lengths too small": (parts(headers=lengths(-100, -900, -1)), "frame"),
    "lengths too large": (parts(headers=lengths(5, 400, 10_000)), "frame"),
    "lengths too large, no boundary in the header": (parts(headers=lengths(5, 400, 10_000)), ""),
    "length 0": (parts(headers=lengths(*(-length for length in LENGTHS))), "frame"),
    "no headers": (parts(headers=[[]] * 3).replace(b"frame\r\n\r\n", b"frame\r\n\r\n"), "frame"),
    "no first boundary": (parts().removeprefix(b"--frame\r\n"), "frame"),
    "no first boundary, nor in the header": (parts().removeprefix(b"--frame\r\n"), ""),
    "begins with the picture": (parts()[parts().index(JPEGS[0]) :], "frame"),
    "another type": (parts(headers=[[b"Content-Type: application/x-camera"]] * 3), "frame"),
    "text/plain": (parts(headers=[[b"Content-Type: text/plain"]] * 3), "frame"),
    "image/jpg, small letters, no space": (parts(headers=[[b"content-type:image/jpg", b"x-timestamp:1.5"]] * 3), "frame"),
    "blank lines before the picture": (parts(headers=[[b"Content-Type: image/jpeg", b"", b""]] * 3), "frame"),
    "preamble": (b"This is a camera.\r\n\r\nIt sends pictures: many.\r\n" + parts(), "frame"),
    "epilogue": (parts() + b"--frame--\r\nGood bye.\r\n", "frame"),
    "a final boundary after every part": (parts().replace(b"--frame", b"--frame--\r\n--frame"), "frame"),
    "nothing between picture and boundary": (parts().replace(b"\xff\xd9\r\n", b"\xff\xd9"), "frame"),
    "padding after the picture": (parts().replace(b"\xff\xd9\r\n", b"\xff\xd9" + bytes(50) + b"\r\n"), "frame"),
    "padding by the length": (
        parts(headers=lengths(50, 50, 50)).replace(b"\xff\xd9\r\n", b"\xff\xd9" + b"\xff\xd8\xff" + bytes(47) + b"\r\n"),
        "frame",
    ),
    "a boundary of one letter": (parts().replace(b"--frame", b"--b"), "b"),
    "JPEGs alone": (b"".join(JPEGS), ""),
    "JPEGs and line ends": (b"\r\n".join(JPEGS), ""),
    "quoted, with a space": (parts().replace(b"--frame", b"--my frame"), "my frame"),
    "signs of patterns": (parts().replace(b"--frame", b"--+(fr).a*me"), "+(fr).a*me"),
}  # fmt: skip


@pytest.mark.parametrize("piece", [1, 7, 1 << 20])
@pytest.mark.parametrize("name", BODIES)
def test_every_dialect_gives_the_same_pictures(name: str, piece: int) -> None:
    body, boundary = BODIES[name]
    found, reader = read_parts(body, boundary, piece)
    assert [picture.data for picture in found] == JPEGS
    assert not any(picture.cut for picture in found)
    assert reader.skipped == 0


@pytest.mark.parametrize("name", BODIES)
def test_a_picture_is_there_with_its_last_byte(name: str) -> None:
    """The next boundary may come 15 s later."""
    body, boundary = BODIES[name]
    reader = PictureParts(boundary)
    end = body.index(JPEGS[0]) + LENGTHS[0]
    assert reader.feed(body[: end - 1], 1.0) == []
    (found,) = reader.feed(body[end - 1 : end], 3.0)
    assert (found.data, found.at) == (JPEGS[0], 1.0)


def test_a_picture_is_dated_by_its_first_byte() -> None:
    reader = PictureParts("frame")
    reader.feed(b"--frame\r\nContent-Type: image/jpeg\r\n\r\n", 1.0)
    reader.feed(JPEGS[0][:100], 15.0)
    (found,) = reader.feed(JPEGS[0][100:] + b"\r\n--frame\r\n\r\n", 16.0)
    assert found.at == 15.0
    (found,) = reader.feed(JPEGS[1], 31.0)
    assert found.at == 31.0


@pytest.mark.parametrize("piece", [1, 50, 1 << 20])
@pytest.mark.parametrize("kind", [b"application/json", b"text/plain", b"audio/basic"])
@pytest.mark.parametrize("length", [True, False])
@pytest.mark.parametrize("boundary", ["frame", ""])
def test_parts_that_are_no_pictures_are_skipped_and_counted(
    kind: bytes, length: bool, boundary: str, piece: int
) -> None:
    text = b'{"motion": true,\r\n"a": 1}\xff\xd8\xff\xe0'  # sound may hold any bytes
    stated = b"\r\nContent-Length: %d" % len(text) if length else b""
    part = b"--frame\r\nContent-Type: " + kind + stated + b"\r\n\r\n" + text + b"\r\n"
    body = parts().replace(b"--frame\r\n", part + b"--frame\r\n")
    found, reader = read_parts(body, boundary, piece)
    assert [picture.data for picture in found] == JPEGS
    assert (reader.skipped, reader.skipped_type) == (3, kind.decode())


@pytest.mark.parametrize("piece", [1, 50, 1 << 20])
@pytest.mark.parametrize("at", [2, 20, 200, 700, -2])
@pytest.mark.parametrize(
    "name", ["plain", "lengths", "LF", "no dashes in the body", "JPEGs alone", "no boundary in the header"]
)
def test_a_picture_that_is_cut_off_does_not_take_the_next_one_with_it(name: str, at: int, piece: int) -> None:
    body, boundary = BODIES[name]
    body = body.replace(JPEGS[1], JPEGS[1][:at])
    found, _ = read_parts(body, boundary, piece)
    assert [picture.data for picture in found if not picture.cut] == [JPEGS[0], JPEGS[2]]
    assert sum(picture.cut for picture in found) <= 1
    if at != 2:
        assert sum(picture.cut for picture in found) == 1


def test_a_body_that_ends_within_a_picture_gives_what_there_is() -> None:
    (found,), _ = read_parts(b"--frame\r\n\r\n" + JPEGS[0][:900], "frame", 100)
    assert (found.data, found.cut) == (JPEGS[0][:900], True)


def test_markers_inside_a_thumbnail_do_not_end_a_picture() -> None:
    data = with_thumbnail()
    assert data.count(b"\xff\xd9") == 2
    found, _ = read_parts(data * 3, "", 333)
    assert [picture.data for picture in found] == [data] * 3


@pytest.mark.parametrize("kind", ["png", "webp"])
@pytest.mark.parametrize("piece", [1, 1 << 20])
def test_other_pictures(kind: str, piece: int) -> None:
    data = io.BytesIO()
    Image.fromarray(picture(3)).save(data, kind)
    body = b"".join(b"--frame\r\nContent-Type: image/%s\r\n\r\n%s\r\n" % (kind.encode(), data.getvalue()) for _ in "12")
    found, _ = read_parts(body, "frame", piece)
    assert [(picture.data, picture.kind) for picture in found] == [(data.getvalue(), kind)] * 2


def test_progressive_and_restarts() -> None:
    data = io.BytesIO()
    Image.fromarray(picture(3)).save(data, "jpeg", progressive=True, restart_marker_rows=1)
    found, _ = read_parts(data.getvalue() * 2, "", 77)
    assert [picture.data for picture in found] == [data.getvalue()] * 2


def test_endless_headers_end() -> None:
    reader = PictureParts("frame")
    with pytest.raises(PartError, match="headers"):
        reader.feed(b"X-Header: value\r\n" * MOST_HEADER_BYTES, 0.0)


def test_a_picture_without_end_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("afterview.stream.source.pictures.parts.MOST_BYTES", 1 << 20)
    reader = PictureParts("frame")
    reader.feed(b"--frame\r\n\r\n" + JPEGS[0][:900], 0.0)
    with pytest.raises(PartError, match="more than 1 MiB"):
        reader.feed(bytes(1 << 21), 0.0)


def test_garbage_takes_no_memory() -> None:
    reader = PictureParts("frame")
    for _ in range(100):
        assert reader.feed(b"\x01" * (1 << 16), 0.0) == []
    assert len(reader._data) <= 2 * MOST_HEADER_BYTES
    assert [found.data for found in reader.feed(b"\r\n" + parts(), 0.0)] == JPEGS


@pytest.mark.parametrize(
    ("header", "kind", "boundary"),
    [
        ("multipart/x-mixed-replace; boundary=frame", "multipart/x-mixed-replace", "frame"),
        ('Multipart/Mixed;boundary="my frame" ; charset=x', "multipart/mixed", "my frame"),
        ("multipart/x-mixed-replace;boundary=--a=b", "multipart/x-mixed-replace", "--a=b"),
        ("multipart/x-mixed-replace; Boundary=--x--", "multipart/x-mixed-replace", "--x--"),
        ("multipart/x-mixed-replace", "multipart/x-mixed-replace", ""),
        ("multipart/x-mixed-replace; boundary=", "multipart/x-mixed-replace", ""),
        ("multipart/x-mixed-replace; boundary", "multipart/x-mixed-replace", ""),
        ("image/jpeg", "image/jpeg", ""),
        ("", "", ""),
    ],
)
def test_content_types(header: str, kind: str, boundary: str) -> None:
    assert content_type(header) == (kind, boundary)


def test_formats_are_told_by_their_first_bytes() -> None:
    assert [format_of(JPEGS[0][:count]) for count in (1, 2, 3)] == ["unknown", "unknown", "mjpeg"]
    assert [format_of(data) for data in (b"<html>", b"--", b"RIFFabcdWEB", b"RIFFabcdAVI ", b"RIx")] == [
        None, None, "unknown", None, None,
    ]  # fmt: skip
    assert PictureEnd("mjpeg").find(bytearray(JPEGS[0])) == (len(JPEGS[0]), False)


def with_comment(data: bytes, text: bytes) -> bytes:
    return data[:2] + b"\xff\xfe" + (len(text) + 2).to_bytes(2, "big") + text + data[2:]


@pytest.mark.parametrize("piece", [1, 50, 1 << 20])
@pytest.mark.parametrize("text", [b"--frame\r\n", b"x\r\n--frame\r\nContent-Type: image/jpeg\r\n\r\n"])
def test_a_boundary_in_a_comment_does_not_end_a_picture(piece: int, text: bytes) -> None:
    pictures = [with_comment(data, text) for data in JPEGS]
    body = b"".join(b"--frame\r\nContent-Type: image/jpeg\r\n\r\n" + data + b"\r\n" for data in pictures)
    found, _ = read_parts(body, "frame", piece)
    assert [picture.data for picture in found] == pictures
    assert not any(picture.cut for picture in found)


@pytest.mark.parametrize("piece", [1, 50, 1 << 20])
def test_a_picture_that_is_cut_in_its_comment_ends_at_the_boundary(piece: int) -> None:
    cut = with_comment(JPEGS[0], b"c" * 40)[:20]
    body = b"".join(b"--frame\r\n\r\n" + data + b"\r\n" for data in (cut, *JPEGS[1:]))
    found, _ = read_parts(body, "frame", piece)
    assert [picture.cut for picture in found] == [True, False, False]
    assert [picture.data for picture in found[1:]] == JPEGS[1:]
