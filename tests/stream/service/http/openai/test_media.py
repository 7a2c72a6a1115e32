"""Pictures and videos that come with a question: as data, from folders and addresses; hostile ones; and that nothing of them stays."""

import base64
import http.server
import io
import os
import socket
import struct
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import openai
import pytest
from PIL import Image

from afterview.stream.service import given
from afterview.stream.service.given import GIVEN
from afterview.stream.service.http import bodies
from afterview.training.world import WorldConfig
from afterview.training.world.make import WorldRequest, make_world
from afterview.training.world.video import VideoFormat
from tests.support.openai_client import client_of, data_url, jpeg, picture, user, video
from tests.support.servers import wait_until
from tests.support.service import ServiceHere, record_camera

QUESTION = "Did you see a red ring?"
LARGEST = 4 << 20


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A video of the synthetic world: the blue triangle is last shown after 6 s, and the last scene is the city."""
    path = tmp_path_factory.mktemp("world") / "world.mp4"
    make_world(WorldRequest(seed=5, seconds=40.0, config=WorldConfig(), video=VideoFormat(rate=10)), path)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, world: Path) -> Path:
    folder = tmp_path_factory.mktemp("folder")
    (folder / "a b.mp4").write_bytes(world.read_bytes())
    (folder.parent / "secret.mp4").write_bytes(world.read_bytes())
    (folder / "link.mp4").symlink_to(folder.parent / "secret.mp4")
    (folder / "out").symlink_to(folder.parent)
    (folder / "inside.mp4").symlink_to(folder / "a b.mp4")
    os.mkfifo(folder / "pipe.mp4")
    (folder / "large.mp4").write_bytes(b"\0" * (LARGEST + 1))
    (folder / "text.mp4").write_text("#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n")
    return folder


@pytest.fixture(scope="module")
def service(tiny: Any, tmp_path_factory: pytest.TempPathFactory, folder: Path) -> Iterator[ServiceHere]:
    memory = tmp_path_factory.mktemp("memory") / "memory"
    record_camera(memory, "yard", tiny, 5)
    options = {"folders": [str(folder)], "allow_urls": ["*", "127.0.0.1"], "largest_bytes": LARGEST}
    with ServiceHere(memory, tiny, openai=options) as running:
        yield running
    assert not (memory / GIVEN).exists()


@pytest.fixture(scope="module")
def client(service: ServiceHere) -> openai.OpenAI:
    return client_of(service)


def ask(client: openai.OpenAI, *messages: Any, **more: Any) -> Any:
    return client.chat.completions.create(model="afterview", messages=list(messages), **more)


def outcomes(service: ServiceHere) -> dict[str, int]:
    text = service.client.get("/metrics").text
    head = 'afterview_given_media_total{outcome="'
    return {
        line[len(head) :].partition('"')[0]: int(line.split()[-1])
        for line in text.splitlines()
        if line.startswith(head)
    }


def test_a_video_is_asked_and_kept_for_the_conversation(
    service: ServiceHere, client: openai.OpenAI, world: Path
) -> None:
    before = outcomes(service)
    first = user(video(data_url(world.read_bytes())), "When was the blue triangle last shown?")
    found = ask(client, first)
    assert found.choices[0].message.content in ("00:00:05", "00:00:06", "00:00:07", "00:00:08")
    coverage = found.afterview["coverage"]
    assert (coverage["camera"], coverage["frames"], coverage["first_time"], coverage["last_time"]) == (
        "video",
        40,
        0.0,
        39.0,
    )
    assert (coverage["gaps"], coverage["lag_s"]) == ([], 0.0)
    assert all(0 <= item["time"] < 40 and item["image"] is None for item in found.afterview["evidence"])
    follow_up = user("Which scene do you see now?")
    again = ask(client, first, {"role": "assistant", "content": found.choices[0].message.content}, follow_up)
    assert again.choices[0].message.content == "city"
    after = outcomes(service)
    assert after.get("ingested", 0) - before.get("ingested", 0) == 1
    assert after.get("reused", 0) - before.get("reused", 0) == 1
    assert not [one["id"] for one in service.json("GET", "/answers")["answers"] if one["id"] == found.afterview["id"]]
    turned = ask(client, first, {"role": "assistant", "content": "x"}, user(QUESTION, video("afterview://camera/yard")))
    assert turned.afterview["coverage"]["camera"] == "yard"
    linked = ask(client, first, extra_body={"afterview": {"links": True, "evidence": 1}})
    assert linked.choices[0].message.content.partition("\n\n")[2].startswith("1. video, ")


def test_a_uuid_stands_for_what_was_sent_before(client: openai.OpenAI, world: Path) -> None:
    found = ask(client, user(video(data_url(world.read_bytes()), uuid="w-5"), "Which scene do you see now?"))
    by_uuid = {"type": "video_url", "video_url": None, "uuid": "w-5"}
    again = ask(client, user(by_uuid, "Which scene do you see now?"))
    assert again.choices[0].message.content == found.choices[0].message.content == "city"
    with pytest.raises(openai.BadRequestError, match="nothing was sent with this uuid"):
        ask(client, user({**by_uuid, "uuid": "w-6"}, QUESTION))
    with pytest.raises(openai.BadRequestError, match="send it again"):
        ask(client, user(by_uuid, picture(data_url(jpeg(), "image/jpeg")), QUESTION))


def test_frigates_pictures_of_an_event(client: openai.OpenAI) -> None:
    """Frigate 0.18 sends the prompt, then its pictures; earlier versions the pictures, then the prompt as a bare text."""
    shots = [picture(data_url(jpeg(value=value), "image/jpeg"), detail="low") for value in (30, 90, 150)]
    found = ask(client, user(QUESTION, *shots))
    assert found.choices[0].message.content
    assert found.afterview["coverage"]["frames"] == 3
    assert found.afterview["coverage"]["camera"] == "pictures"
    assert found.afterview["warnings"] == ["detail is ignored: each picture is scaled to what the model sees"]
    early = ask(client, {"role": "user", "content": [*shots, QUESTION]})
    assert early.choices[0].message.content == found.choices[0].message.content
    streamed = ask(client, user(QUESTION, *shots), stream=True)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in streamed) == found.choices[0].message.content
    format_ = {"type": "json_schema", "json_schema": {"name": "x", "strict": True, "schema": {"type": "object"}}}
    with pytest.raises(openai.BadRequestError, match="no format can be promised"):
        ask(client, user(QUESTION, *shots), response_format=format_)


def test_pictures_and_videos_together_have_a_camera_each(client: openai.OpenAI, world: Path) -> None:
    one = video(data_url(world.read_bytes()))
    found = ask(client, user(one, picture(data_url(jpeg(), "image/jpeg")), QUESTION))
    assert [part["camera"] for part in found.afterview["cameras"]] == ["pictures", "video"]
    with pytest.raises(openai.BadRequestError, match="at most 4 videos"):
        ask(
            client,
            user(*[video(f"data:x;base64,{base64.b64encode(world.read_bytes()[:200_000]).decode()}")] * 5, QUESTION),
        )


def animation(kind: str) -> bytes:
    frames = [Image.fromarray(np.full((32, 32, 3), 60 * number, np.uint8)) for number in range(4)]
    file = io.BytesIO()
    frames[0].save(file, kind, save_all=True, append_images=frames[1:], duration=1000)
    return file.getvalue()


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_animations_are_videos(client: openai.OpenAI, kind: str) -> None:
    found = ask(client, user(picture(data_url(animation(kind), "image/gif")), QUESTION))
    assert found.afterview["coverage"]["camera"] == "video"
    assert found.afterview["coverage"]["frames"] >= 3


# --- folders and addresses ---


def test_a_file_of_a_folder(client: openai.OpenAI, folder: Path) -> None:
    for name in ("a%20b.mp4", "inside.mp4"):
        found = ask(client, user(video(f"file://{folder}/{name}"), "Which scene do you see now?"))
        assert found.choices[0].message.content == "city"


def test_no_file_outside_a_folder(client: openai.OpenAI, folder: Path) -> None:
    said = set()
    for name in (
        "missing.mp4", "link.mp4", "out/secret.mp4", "../secret.mp4", "%2e%2e/secret.mp4", "pipe.mp4", "", ".", "a%00b", "../../etc/passwd",
    ):  # fmt: skip
        with pytest.raises(openai.BadRequestError) as found:
            ask(client, user(video(f"file://{folder}/{name}"), QUESTION))
        said.add(found.value.message)
    for url in (f"file://evil{folder}/a%20b.mp4", "file:a.mp4", "file:///etc/passwd", f"file://{folder}x/a.mp4"):
        with pytest.raises(openai.BadRequestError) as found:
            ask(client, user(video(url), QUESTION))
        said.add(found.value.message)
    assert len(said) == 1, "a file elsewhere and one that does not exist look the same"
    with pytest.raises(openai.BadRequestError, match="at most 4194304 are taken"):
        ask(client, user(video(f"file://{folder}/large.mp4"), QUESTION))
    with pytest.raises(openai.BadRequestError, match="neither a picture nor a video"):
        ask(client, user(video(f"file://{folder}/text.mp4"), QUESTION))


class Files(http.server.BaseHTTPRequestHandler):
    """Sends what a path asks for."""

    protocol_version = "HTTP/1.1"
    data = b""

    def do_GET(self) -> None:
        if self.path.startswith("/to?"):
            self.send_response(302)
            self.send_header("Location", self.path[4:])
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if self.path == "/endless":
            self.send_response(200)
            self.end_headers()
            try:
                while True:
                    self.wfile.write(b"\0" * 65536)
            except OSError:
                self.close_connection = True
            return
        data = self.data if self.path == "/video?key=SECRET" else b"no"
        self.send_response(200 if self.path.startswith("/video") else 500)
        self.send_header("Content-Length", str(len(data)))
        if self.path == "/video.gz":
            self.send_header("Content-Encoding", "gzip")
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *arguments: Any) -> None:
        pass


@pytest.fixture(scope="module")
def files(world: Path) -> Iterator[str]:
    Files.data = world.read_bytes()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Files) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_video_of_an_address_that_is_allowed(client: openai.OpenAI, files: str) -> None:
    for url in (f"{files}/video?key=SECRET", f"{files}/to?/video?key=SECRET", f"{files}/to?{files}/video?key=SECRET"):
        found = ask(client, user(video(url), "Which scene do you see now?"))
        assert found.choices[0].message.content == "city"


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/to?/to?/to?/to?/to?/video", "redirects"),
        ("/to?http://localhost/x", "private network"),
        ("/to?http://[::1]/x", "private network"),
        ("/to?http://[::ffff:127.0.0.1]/x", "private network"),
        ("/to?http://169.254.169.254/latest/meta-data", "private network"),
        ("/to?http://2130706433/", "private network"),
        ("/to?file:///etc/passwd", "not an http or https address"),
        ("/to?http://user:pw@127.0.0.1/", "are not taken"),
        ("/to?http://[", "malformed"),
        ("/endless", "more than 4194304 bytes"),
        ("/missing", "status 500"),
        ("/video.gz", "compressed"),
        ("/video", "neither a picture nor a video"),
    ],
)
def test_addresses_that_are_refused(client: openai.OpenAI, files: str, path: str, said: str) -> None:
    with pytest.raises(openai.APIStatusError, match=said) as found:
        ask(client, user(video(files + path), QUESTION))
    assert found.value.status_code == 400
    assert found.value.body["param"] == "messages.0.content.0.video_url"  # type: ignore[index]
    assert "pw" not in found.value.message


def test_a_host_that_does_not_answer(client: openai.OpenAI) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        with pytest.raises(openai.BadRequestError, match=r"127\.0\.0\.1: ConnectError: the file could not be fetched"):
            ask(client, user(video(f"http://127.0.0.1:{closed.getsockname()[1]}/SECRET"), QUESTION))
    with pytest.raises(openai.BadRequestError, match="its name is not known"):
        ask(client, user(video("http://no-such-host.invalid/SECRET"), QUESTION))


def test_nothing_is_fetched_by_default(tiny: Any, tmp_path: Path, files: str, world: Path) -> None:
    record_camera(tmp_path, "yard", tiny, 3)
    with ServiceHere(tmp_path, tiny) as service:
        for url, said in (
            (f"{files}/video?key=SECRET", "does not fetch"),
            (f"file://{world}", "no such file in the folders"),
        ):
            with pytest.raises(openai.BadRequestError, match=said) as found:
                ask(client_of(service), user(video(url), QUESTION))
            assert "SECRET" not in found.value.message


# --- hostile data ---


def bomb(width: int, height: int) -> bytes:
    """A PNG of few bytes that states so many pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")
    )


HOSTILE = {
    "empty": (b"", "is empty"),
    "text": (b"hello", "neither a picture nor a video"),
    "playlist": (
        b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile:///etc/passwd\n",
        "neither a picture nor a video",
    ),
    "concat": (b"ffconcat version 1.0\nfile /etc/passwd\n", "neither a picture nor a video"),
    "svg": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "neither a picture nor a video"),
    "bomb": (bomb(60_000, 60_000), "damaged picture|at most 50 million"),
    "large": (bomb(9_000, 9_000), "at most 50 million"),
    "truncated picture": (jpeg(256)[:700], "damaged picture|not one picture in it"),
    "no picture": (b"\xff\xd8\xff" + b"\0" * 100, "damaged picture"),
    "no video": (b"\0\0\0\x18ftypisom" + b"\0" * 500, "was never finished"),
    "no matroska": (b"\x1aE\xdf\xa3" + bytes(range(256)), "not a video|no video|cannot be read|could be decoded"),
    "no transport stream": ((b"\x47" + b"\xff" * 187) * 20, "not a video|no video|cannot be read|could be decoded"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_data_is_refused_by_name(service: ServiceHere, client: openai.OpenAI, name: str) -> None:
    data, said = HOSTILE[name]
    with pytest.raises(openai.BadRequestError, match=said) as found:
        ask(client, user(picture(data_url(data, "image/png")), QUESTION))
    assert found.value.param == "messages.0.content.0.image_url"
    assert str(service.memory) not in found.value.message
    assert GIVEN not in found.value.message


def test_a_truncated_video_is_asked_and_said(client: openai.OpenAI, tmp_path: Path, world: Path) -> None:
    import av

    path = tmp_path / "world.mkv"
    with av.open(str(world)) as source, av.open(str(path), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(source.streams.video[0]):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    found = ask(client, user(video(data_url(path.read_bytes()[:300_000])), "Which scene do you see now?"))
    assert 3 < found.afterview["coverage"]["frames"] < 39


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("data:", "must read data:TYPE;base64"),
        ("data:video/mp4,hello", "must read data:TYPE;base64"),
        ("data:video/mp4;base64,%%%", "not base64"),
        ("data:video/mp4;base64,AA$A", "not base64"),
        ("data:video/mp4;base64,data:video/mp4;base64,AAAA", "not base64"),
        ("data:;base64,", "is empty"),
        ("javascript:alert(1)", "not an address"),
        ("concat:/etc/passwd|/etc/group", "not an address"),
        ("/etc/passwd", "not an address"),
    ],
)
def test_wrong_addresses(client: openai.OpenAI, url: str, said: str) -> None:
    with pytest.raises(openai.BadRequestError, match=said) as found:
        ask(client, user(video(url), QUESTION))
    assert found.value.param == "messages.0.content.0.video_url"


def test_too_much_data_is_refused(service: ServiceHere, client: openai.OpenAI) -> None:
    before = outcomes(service).get("too large", 0)
    with pytest.raises(openai.BadRequestError, match="more than 4194304 bytes"):
        ask(client, user(video(data_url(b"\0" * (LARGEST + 10))), QUESTION))
    half = data_url(jpeg() + b"\0" * (LARGEST // 2), "image/jpeg")
    with pytest.raises(openai.BadRequestError, match=r"messages\.0\.content\.1.*more than"):
        ask(client, user(picture(half), picture(half), QUESTION))
    with pytest.raises(openai.APIStatusError) as found:
        ask(client, user(video(data_url(b"\0" * (LARGEST + (2 << 20)))), QUESTION))
    assert (found.value.status_code, found.value.body["code"]) == (413, "request_too_large")  # type: ignore[index]
    assert outcomes(service)["too large"] == before + 1
    other = service.client.post("/api/v1/ask", content=b" " * (2 << 20))
    assert other.status_code == 413, "other routes keep their limit"


def test_large_bodies_are_few_at_once(
    service: ServiceHere, client: openai.OpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bodies, "_MOST_LARGE", 0)
    with pytest.raises(openai.RateLimitError) as found:
        ask(client, user(video(data_url(b"\0" * (2 << 20))), QUESTION))
    assert (found.value.code, found.value.response.headers["retry-after"]) == ("too_many_uploads", "5")
    monkeypatch.undo()
    with pytest.raises(openai.BadRequestError):
        ask(client, user(video(data_url(b"\0" * (2 << 20))), QUESTION))


def test_a_video_beyond_a_limit_is_refused_and_deleted(
    service: ServiceHere, client: openai.OpenAI, world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    message = user(video(data_url(world.read_bytes() + b"\0" * 8)), QUESTION)
    for name, value, said in (("_MOST_FRAMES", 5, "more than 5 frames"), ("_LONGEST_S", 0.0, "takes longer than 0 s")):
        with monkeypatch.context() as patch:
            patch.setattr(given, name, value)
            with pytest.raises(openai.BadRequestError, match=said):
                ask(client, message)
    kept = {path.name for path in (service.memory / GIVEN).iterdir()}
    assert ask(client, message).choices[0].message.content
    assert len({path.name for path in (service.memory / GIVEN).iterdir()} - kept) == 1


def test_what_was_unused_longest_goes(
    service: ServiceHere, client: openai.OpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(given, "_MOST_KEPT", 2)
    for value in (1, 2, 3, 4):
        ask(client, user(picture(data_url(jpeg(value=value), "image/jpeg")), QUESTION))
    monkeypatch.setattr(given, "_KEPT_S", 0.0)
    ask(client, user(picture(data_url(jpeg(value=5), "image/jpeg")), QUESTION))
    ask(client, user(picture(data_url(jpeg(value=6), "image/jpeg")), QUESTION))
    assert wait_until(lambda: len(list((service.memory / GIVEN).iterdir())) <= 1, 5)


def test_a_client_that_leaves_ends_the_reading(
    tiny: Any, tmp_path: Path, world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record_camera(tmp_path, "yard", tiny, 3)
    monkeypatch.setattr(given, "_WATCH_EVERY_S", 30.0)  # it would wait so long for the end of the video
    with ServiceHere(tmp_path, tiny) as service:
        hasty = client_of(service).with_options(timeout=0.5)
        with pytest.raises(openai.APITimeoutError):
            ask(hasty, user(video(data_url(world.read_bytes())), QUESTION))
        assert wait_until(lambda: not list((tmp_path / GIVEN).iterdir()), 10)
        assert outcomes(service) == {"failed": 1}
        monkeypatch.setattr(given, "_MOST_KEPT", 0)
        with pytest.raises(openai.RateLimitError, match="are asked at once"):
            ask(client_of(service), user(video(data_url(world.read_bytes())), QUESTION))
        assert outcomes(service) == {"failed": 1, "refused": 1}


def test_leftovers_of_a_crash_are_deleted_at_the_start(tiny: Any, tmp_path: Path) -> None:
    record_camera(tmp_path, "yard", tiny, 3)
    (tmp_path / GIVEN / "old").mkdir(parents=True)
    with ServiceHere(tmp_path, tiny):
        assert not (tmp_path / GIVEN).exists()
