"""Wrong input of every command: found before a model is loaded and before anything is created, and told in plain words.

Each row has the arguments, the exit status and a part of the message. Rows with a word of a library in their message fail.
"""

import http.server
import json
import os
import re
import struct
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from afterview.cli.main import main
from afterview.memory.base.lock import CameraLock
from afterview.memory.writing.open import open_camera
from afterview.model.checkpoint import for_questions, loading
from afterview.stream.ingest.control import ControlServer
from tests.support.clips import make_clip
from tests.support.memory_world import make_frame, make_spec

# Words by which a library's or a Python exception's own message is known.
FOREIGN = re.compile(
    r"pydantic|validation error|Input should|Field required|should have at least|unable to parse|deserializ|Errno|Traceback"
    r"|Expecting value|invalid (int|float) value|cannot start any token|but got '|NoneType|Error:|this is a bug|format does not support",
)
LONG = "x" * 20_000
PATTERN = "lavfi:testsrc2=size=64x64:rate=5"
STAGE = {"name": "s", "model": "tiny", "trainer": {"steps": 2, "learning_rates": {"memaug": 1e-4}}, "batch": 1}
SAMPLE = {"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]}
PICTURE = {
    "image": "none.png",
    "conversations": [{"from": "human", "value": "<image>\nq"}, {"from": "gpt", "value": "a"}],
}

Row = tuple[list[str], int, str]


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments: object) -> None:
        """Nothing."""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a clip, a memory of two cameras, and files of other kinds."""
    place = tmp_path_factory.mktemp("place")
    make_clip(place / "clip.mp4", frames=20)
    for name in ("front door", "yard"):
        with open_camera(place / "mem", name, make_spec(), timezone="UTC") as repository:
            for number in range(20):
                repository.append(make_frame(number, make_spec()))
    for name in ("picture.png", "picture.jpg"):
        Image.fromarray(np.zeros((64, 64, 3), np.uint8)).save(place / name)
    (place / "page.html").write_text(f"<!DOCTYPE html><html><body>{'hello' * 1000}</body></html>")
    (place / "text.txt").write_text("hello\n" * 100)
    (place / "empty.mp4").touch()
    (place / "junk.mp4").write_bytes(np.random.default_rng(0).bytes(5000))
    (place / "dir").mkdir()
    (place / "bad.yaml").write_text("a: [1, 2\nb: }")
    (place / "tab.yaml").write_text("name: x\n\tfoo: 1\n")
    (place / "twice.yaml").write_text("name: x\nseed: 1\nseed: 2\n")
    (place / "list.yaml").write_text("- a\n- b\n")
    (place / "unknown.yaml").write_text("name: x\nchekpoint: tiny\n")
    (place / "kinds.yaml").write_text(
        "name: x\ncheckpoint: tiny\nseed: lots\npositions: sideways\nmax_new_tokens: -1\n"
    )
    return place


@pytest.fixture(scope="module")
def server(place: Path) -> Iterator[str]:
    """The same directory over HTTP."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(place))) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_address[1]}"
        running.shutdown()


@pytest.fixture
def no_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loading a model fails the test."""
    import afterview.training.data.extraction as extraction  # late: they load accelerate and more
    import afterview.training.evaluation.worlds as worlds
    import afterview.training.run as run

    def loaded(*arguments: object, **options: object) -> None:
        raise AssertionError("a model was loaded")

    for module, name in (
        (loading, "load_encoders"), (loading, "load_pretrained"), (for_questions, "load_for_questions"),
        (extraction, "load_encoders"), (worlds, "load_pretrained"),
        (run, "load_pretrained"),
    ):  # fmt: skip
        monkeypatch.setattr(module, name, loaded)


def status_of(arguments: list[str]) -> int:
    """Exit status of a command, also where its arguments cannot be parsed."""
    try:
        return main(arguments)
    except SystemExit as end:
        return int(end.code or 0)


def tree(place: Path) -> dict[str, int]:
    return {str(path.relative_to(place)): path.stat().st_mtime_ns for path in place.rglob("*")}


def refuse(place: Path, row: Row, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The row is refused as it says, and the directory stays as it was."""
    arguments, status, part = row
    monkeypatch.chdir(place)
    before = tree(place)
    capsys.readouterr()
    assert status_of(arguments) == status
    said = capsys.readouterr()
    assert said.out == ""
    message = said.err.splitlines()[-1]
    assert part in message
    assert not FOREIGN.search(message), message
    assert len(message) < 1000
    assert tree(place) == before


def replay(*options: str) -> list[str]:
    return ["replay", "clip.mp4", "--memory", "new", *options]


def watch(source: str, *options: str) -> list[str]:
    return ["watch", source, "--memory", "new", "--for", "1s", *options]


RECORDING: list[Row] = [
    *(
        (["replay", source, "--memory", "new"], 2, part)
        for source, part in (
            ("", "is empty"), ("missing.mp4", "no such file"), ("dir", "there is no video"), ("empty.mp4", "is empty"),
            ("text.txt", "holds no video"), ("picture.png", "is a still picture"), ("picture.jpg", "is a still picture"),
            ("page.html", "not a video"), ("junk.mp4", "not a video"), ("a\0b", "NUL"), (LONG, "at most 4096"),
            ("rtsp://127.0.0.1:1/x", "use `afterview watch`"),
        )
    ),
    *((replay("--fps", text), 2, "--fps") for text in ("", "nan", "inf", "-1", "0", "1e400", "abc", "١", "1e-9", "1_0")),
    *((replay("--sync-every", text), 2, "--sync-every") for text in ("", "nan", "-1", "61", "1e400", "x")),
    *((replay("--speed", text), 2, "--speed") for text in ("", "nan", "inf", "-1", "0", "1e-300", "٣", "abc")),
    *((replay("--start", text), 2, "start" if text != "soon" else "not a time") for text in ("", "2099-01-01T08:00")),
    *((replay("--start", text), 2, "is not a time") for text in (" soon", "99:99", "nan", "1e10")),
    *((replay("--start", text), 2, "is not clear: a year") for text in ("3000", "2099")),
    *((replay("--timezone", text), 2, "zone") for text in ("", "Mars/Base", "../..")),
    *((replay("--camera", text), 2, "camera") for text in ("", "...", "answers", "two\nlines", LONG, "y" * 300)),
    *(
        (replay("--ack-file", text), 2, part)
        for text, part in (
            ("", "is empty"), ("dir", "is a directory"), ("none/acks", "no directory"), ("text.txt", "is not an ack file"),
            ("clip.mp4", "is not an ack file"), ("text.txt/x", "no directory"),
        )
    ),
    *(
        (["replay", "clip.mp4", "--memory", text], 2, part)
        for text, part in (
            ("", "is empty"), ("text.txt", "is not a directory"), ("text.txt/x", "is not a directory"), (LONG, "at most 4096"),
            ("y" * 300, "longer than 255"), ("S3://b/p", "needs the directory"), ("http://x/y", "is an address"),
            ("mem/yard", "--camera yard"),
        )
    ),
    *(
        (replay("--model", text), 2, part)
        for text, part in (
            ("", "is empty"), ("tinny", "did you mean 'tiny'"), ("text.txt", "neither a preset"), ("y" * 300, "no preset"),
            ("bad.yaml", "not valid YAML in line 2"), ("tab.yaml", "not by tabs"), ("twice.yaml", "key 'seed' is given twice"),
            ("list.yaml", "it holds a list"), ("unknown.yaml", "did you mean 'checkpoint'?"),
            ("kinds.yaml", "seed: must be a whole number (got 'lots')"), ("kinds.yaml", "max_new_tokens: must be at least 1 (got -1)"),
            ("kinds.yaml", "positions: must be 'true', 'interpolate' or 'rank'"),
        )
    ),
    (replay("--camera", "a", "--camera", "b"), 2, "--camera: given 2 times for 1 source"),
    (replay("--stream", "-1"), 2, "--stream -1: must be 0 or more"),
    (replay("--stream", "3"), 2, "video stream 3 cannot be recorded; it has 1 video stream: 0: h264"),
    (replay("--stream", "0", "--stream", "1"), 2, "--stream: given 2 times for 1 source"),
    *((replay("--stream", text), 2, "--stream") for text in ("", "x", "1.5", "1e0", "nan")),
    (replay("--memory", "other"), 2, "--memory: is given twice"),
    (["replay", "clip.mp4", "--memory", "mem", "--camera", "yard", "--fps", "2"], 2, "use --fps 1"),
    (["replay", "clip.mp4", "--memory", "mem", "--camera", "yard", "--timezone", "Asia/Tokyo"], 2, "leave out --timezone"),
    (["replay", "clip.mp4", "--memory", "mem", "--camera", "yard", "--start", "2020-01-01"], 2, "before the newest frame"),
    (watch("clip.mp4"), 2, "use `afterview replay`"),
    *((watch(source), 1, "cannot be reached") for source in ("rtsp://127.0.0.1:1/x", "http://127.0.0.1:1/x.m3u8")),
    (watch("rtsp://user:secret@127.0.0.1:1/x"), 1, "***@127.0.0.1"),
    (watch("lavfi:nonesuch=1"), 2, "filter graph"),
    (watch("lavfi:sine"), 2, "holds no video"),
    (watch("/dev/null"), 2, "is not a camera"),
    *((["watch", PATTERN, "--memory", "new", "--for", text], 2, part) for text, part in (
        ("", "is empty"), ("0", "longer than 0"), ("0s", "longer than 0"), ("-1", "duration"), ("nan", "duration"), ("1y", "duration"),
    )),
    *((watch(PATTERN, "--open-timeout", text), 2, "--open-timeout") for text in ("0", "-1", "nan", "1e400", "")),
]  # fmt: skip

ASKING: list[Row] = [
    *(
        ([command, "Is it red?", "--memory", "mem", option, text], 2, part)
        for command in ("ask", "search")
        for option in ("--at", "--from")
        for text, part in (
            ("", "is empty"), ("2099", "is not clear: a year"), ("3000", "is not clear: a year"), ("2099-01-01", "lies in the future"),
            ("nan", "is not a time"), (LONG, "at most 4096"),
        )
    ),
    *(
        ([command, "Is it red?", "--memory", "mem", "--last", text], 2, part)
        for command in ("ask", "search")
        for text, part in (("", "is empty"), ("0", "longer than 0"), ("nan", "duration"), ("99999999d", "hundred years"))
    ),
    *(
        ([command, text, "--memory", "mem"], 2, part)
        for command in ("ask", "search")
        for text, part in (("", "is empty"), (LONG, "at most"), ("x" * 2001, "at most 2000"), ("\udcff", "UTF-8"), ("a\0", "NUL"))
    ),
    *(
        ([command, "Is it red?", *given], 2, part)
        for command in ("ask", "search")
        for given, part in (
            (["--memory", "mem", "--from", "2026-01-02", "--at", "2026-01-01"], "ends before it begins"),
            (["--memory", "mem", "--from", "2026-01-02", "--last", "2h"], "give one of them"),
            (["--memory", "mem", "--camera", "yard", "--camera", "yard"], "is given twice"),
            (["--memory", "mem", "--camera", "gate"], "there are: front-door, yard"),
            (["--memory", "mem/yard"], "is one camera"),
            (["--memory", "dir"], "holds no camera"),
            (["--memory", "text.txt"], "is not a directory"),
            (["--memory", "mem", "--model", "tinny"], "did you mean 'tiny'"),
            (["--memory", "mem", "--model", "kinds.yaml"], "must be a whole number"),
        )
    ),
    *((["ask", "Is it red?", "--memory", "mem", "--evidence", text], 2, "--evidence") for text in ("-1", "1e3", "", "٣", "9" * 30)),
    *((["ask", "Is it red?", "--memory", "mem", "--seed", text], 2, "--seed") for text in ("-1", "x", "9" * 30)),
    *((["search", "red", "--memory", "mem", "--top", text], 2, "--top") for text in ("-1", "0", "nan")),
]  # fmt: skip

POLYGONS = ("0,0 640,0 640,360", "0,0 100,0 100,50", "nan,0 1,0 1,1", "1e400,0 1,0 1,1", "-0.1,0 1,0 1,1")
MANAGING: list[Row] = [
    *(
        ([command, "--memory", "mem", "--camera", "yard", "--last", "0"], 2, "longer than 0")
        for command in ("forget", "keep", "show")
    ),
    (
        ["forget", "--memory", "mem", "--camera", "yard", "--yes", "--from", "2099-01-01", "--to", "2099-01-02"],
        2,
        "lies in the future",
    ),
    (["show", "--memory", "mem", "--camera", "yard", "--last", "٣s"], 2, "is not a duration"),
    *((["mask", "--memory", "mem", "--camera", "yard", "--polygon", text], 2, "not pixels") for text in POLYGONS),
    (["mask", "--memory", "mem", "--camera", "yard", "--polygon", "0,0 0.5,0.5 1,1"], 2, "hide nothing"),
    (
        ["export", "out", "--memory", "mem", "--camera", "yard", "--from", "2026-01-02", "--to", "2026-01-01"],
        2,
        "before it begins",
    ),
    (
        ["export", "out", "--memory", "mem", "--camera", "yard", "--from", "2026-01-02", "--last", "1h"],
        2,
        "leave out --from",
    ),
    (["export", "out", "--memory", "mem", "--camera", "yard", "--last", "0"], 2, "longer than 0"),
    (["export", "", "--memory", "mem", "--camera", "yard"], 2, "is empty"),
    (["export", "none/x", "--memory", "mem", "--camera", "yard"], 2, "no directory"),
    *(
        (
            ["import", text, "--memory", "new"],
            2,
            "afterview export",
        )
        for text in ("", "dir", "text.txt", "clip.mp4", "empty.mp4")
    ),
    (["reembed", "--memory", "mem", "--model", "tinny"], 2, "did you mean 'tiny'"),
    (["reembed", "--memory", "none", "--model", "tiny"], 2, "no memory"),
]

MAKE = ["world", "make", "w.mp4", "--for", "10s", "--rate", "2"]
MAKING: list[Row] = [
    *(([*MAKE, option, text], 2, option.strip("-")) for option in ("--changing", "--hidden") for text in ("2", "-1", "nan", "", "x")),
    *(([*MAKE, "--size", text], 2, "--size") for text in ("0x0", "640", "641x361", "99999x99999", "٦٤x٣٦", "-1x5", "640X360")),
    *((["world", "make", "w.mp4", "--rate", text], 2, "--rate") for text in ("0", "-1", "1000000", "1.5")),
    *(([*MAKE, "--seed", text], 2, "--seed") for text in ("-1", "9" * 40)),
    *(([*MAKE, *options], 2, part) for options, part in (
        (["--questions", "-1"], "--questions"), (["--kinds", "nonsense"], "needs --questions"), (["--choices", "3"], "needs --questions"),
        (["--questions", "3", "--kinds", "nonsense"], "there are: colour"), (["--questions", "3", "--kinds", "colour,"], "--kinds"),
        (["--questions", "3", "--kinds", "colour,colour"], "different names"), (["--questions", "3", "--choices", "9"], "2 to 8"),
        (["--cameras", "0"], "--cameras"), (["--cameras", "9"], "2 to 4"), (["--codec", "h264"], "libx264"),
    )),
    *((["world", "make", name, "--for", "10s"], 2, part) for name, part in (("", "is empty"), ("dir", "is a directory"))),
    *((["world", "make", name, "--for", "10s"], 2, ".mp4, .mkv") for name in ("w", "w.xyz", "w.gif", "w.webm", "w.png")),
    *((["evaluate", "world", *options], 2, part) for options, part in (
        (["--kinds", "nonsense"], "there are: colour"), (["--seeds", "5..1"], "--seeds"), (["--seeds", "1..99999999999"], "at most 10000"),
        (["--seeds", "٣"], "--seeds"), (["--recall", "full,full"], "--recall"), (["--frames", "0"], "10 to 86400"),
        (["--frames", "86401"], "10 to 86400"), (["--work", "text.txt"], "is not a directory"), (["--model", "tinny"], "'tiny'"),
        (["--questions", "0"], "--questions"), (["--choices", "1"], "--choices"),
    )),
    (["demo", "--questions", "0"], 2, "--questions"),
    (["demo", "--output", "text.txt"], 2, "is not a directory"),
    (["demo", "--seed", "-1"], 2, "--seed"),
    *((["extract", "clip.mp4", source, "--out", "bank"], 2, part) for source, part in (
        ("", "is empty"), ("dir", "holds no camera"), ("rtsp://x/y", "is live"),
    )),
    *((["extract", source, "--out", "bank"], 2, part) for source, part in (
        ("missing.mp4", "no such file"), ("empty.mp4", "is empty"), ("text.txt", "holds no video"), ("picture.png", "still picture"),
        ("junk.mp4", "not a video"), ("missing.pt", "no such file"),
    )),
    (["extract", "junk.mp4", "missing.mp4", "--out", "bank"], 2, "no source can be read: junk.mp4: "),
    (["extract", "clip.mp4", "--out", "bank", "--root", "none"], 2, "--root none: is not a directory"),
    (["extract", "clip.mp4", "--out", "bank", "--root", "dir"], 2, "does not lie below --root dir"),
    *((["extract", "clip.mp4", "--out", out], 2, part) for out, part in (
        ("", "is empty"), ("text.txt", "is not a directory"), ("mem", "is a memory"),
    )),
    (["extract", "clip.mp4", "--out", "bank", "--model", "bad.yaml"], 2, "not valid YAML"),
]  # fmt: skip


@pytest.mark.parametrize("row", [*RECORDING, *ASKING, *MANAGING, *MAKING], ids=lambda row: " ".join(row[0])[:70])
def test_wrong_input_is_refused_before_anything_happens(
    row: Row, place: Path, no_model: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    refuse(place, row, monkeypatch, capsys)


@pytest.mark.parametrize(
    ("path", "part"), [("page.html", "not a video"), ("none", "no such stream"), ("page.html?.m3u8", "not a video")]
)
def test_a_page_is_not_a_stream(
    path: str, part: str, place: Path, server: str, no_model: None, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    refuse(place, (watch(f"{server}/{path}"), 2, part), monkeypatch, capsys)


def stage(**changes: Any) -> str:
    return yaml.safe_dump({**STAGE, "streams": [{"annotations": "ann.json"}], **changes})


TRAINING = {
    "no data": (stage(streams=[{"annotations": "none.json"}]), [SAMPLE], "none.json: cannot be read (No such file"),
    "no JSON": (stage(streams=[{"annotations": "ann.json"}]), "nope", "not JSON: line 1"),
    "no list": (stage(), {}, "holds keys with values"),
    "no bank": (stage(streams=[{"annotations": "ann.json", "features": "bank"}]), [SAMPLE], "afterview extract"),
    "no picture": (
        stage(streams=[{"annotations": "ann.json", "pictures": "."}]), [PICTURE], "does not have 'none.png'",
    ),
    "wrong speaker": (stage(), [{"conversations": [{"from": "dog", "value": "x"}]}], "must be 'human', 'gpt' or 'system' (got 'dog')"),
    "an item of another kind": (stage(), [3], "item 0: must be keys with values"),
    "no stream": (stage(streams=[]), [SAMPLE], "streams: must have at least 1 items"),
    "not a number": (stage(trainer={"steps": 2, "learning_rates": {"memaug": float("nan")}}), [SAMPLE], "must be a number"),
    "no steps": (stage(trainer={"steps": 0, "learning_rates": {"memaug": 0.1}}), [SAMPLE], "must be at least 1 (got 0)"),
    "unknown schedule": (
        stage(trainer={"steps": 2, "learning_rates": {"memaug": 0.1}, "schedule": "zigzag"}), [SAMPLE], "or 'cooldown' (got 'zigzag')",
    ),
    "unknown model": (stage(model="tinny"), [SAMPLE], "did you mean 'tiny'"),
    "a key twice": (stage() + "batch: 2\n", [SAMPLE], "key 'batch' is given twice"),
    "a list": ("- a\n", [SAMPLE], "it holds a list"),
    "half a line": ("name: [", [SAMPLE], "not valid YAML in line"),
}  # fmt: skip


@pytest.mark.parametrize("name", TRAINING)
def test_a_training_that_cannot_start_leaves_nothing_behind(
    name: str, tmp_path: Path, no_model: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config, annotations, part = TRAINING[name]
    (tmp_path / "c.yaml").write_text(config)
    (tmp_path / "ann.json").write_text(annotations if isinstance(annotations, str) else json.dumps(annotations))
    refuse(tmp_path, (["train", "c.yaml", "--out", "deep/out"], 2, part), monkeypatch, capsys)


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"max_length": 1}, "max_length is 1"),
        ({"streams": [{"annotations": "ann.json", "weight": 1e-9}]}, "leave no item"),
    ],
)
def test_nor_does_one_whose_samples_do_not_fit_the_model(
    changes: dict[str, Any],
    part: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "c.yaml").write_text(stage(**changes))
    (tmp_path / "ann.json").write_text(json.dumps([SAMPLE]))
    refuse(tmp_path, (["train", "c.yaml", "--out", "deep/out"], 2, part), monkeypatch, capsys)


TINY = Path(__file__).parents[3] / "configs" / "presets" / "tiny"
CONFIG: dict[str, Any] = json.loads((TINY / "config.json").read_text())
CHECKPOINTS: dict[str, tuple[dict[str, Any] | str | None, bytes | None, str]] = {
    "no config": (None, None, "no config.json"),
    "another config": ({"steps": 3}, b"", "names no mm_vision_tower"),
    "no JSON": ("nope", b"", "not JSON: line 1"),
    "a list": ("[]", b"", "holds a list"),
    "a word for a number": ({**CONFIG, "hidden_size": "x"}, b"", "hidden_size: must be a whole number (got 'x')"),
    "no width": ({**CONFIG, "hidden_size": 0}, b"", "hidden_size: must be at least 1"),
    "no tower": (
        {**CONFIG, "mm_vision_tower": "./none"},
        (TINY / "model.safetensors").read_bytes(),
        "lacks the directory ./none",
    ),
    "a header too large": (CONFIG, struct.pack("<Q", 10**15) + b"{}", "truncated, or no safetensors file"),
    "a header cut off": (CONFIG, (TINY / "model.safetensors").read_bytes()[:1000], "truncated, or no safetensors file"),
    "an empty file": (CONFIG, b"", "truncated, or no safetensors file"),
    "no tensors": (CONFIG, None, "holds no weights: none of model.safetensors"),
}


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_a_directory_that_is_no_checkpoint_is_explained(
    name: str, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config, weights, part = CHECKPOINTS[name]
    if config is not None:
        (tmp_path / "config.json").write_text(config if isinstance(config, str) else json.dumps(config))
    if weights is not None:
        (tmp_path / "model.safetensors").write_bytes(weights)
    refuse(place, (replay("--model", str(tmp_path)), 2, part), monkeypatch, capsys)


@pytest.mark.parametrize("config", [None, "{}"])
def test_the_folder_above_a_checkpoint_names_it(
    config: str | None, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As the --out of `train` is, which has a config.json of its own."""
    if config is not None:
        (tmp_path / "config.json").write_text(config)
    os.symlink(TINY, tmp_path / "model")
    refuse(place, (replay("--model", str(tmp_path)), 2, f"did you mean {tmp_path}/model?"), monkeypatch, capsys)


def test_a_moment_slightly_in_the_future_is_another_clock(
    place: Path, no_model: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place)
    now = 1_700_000_019.0  # of the newest frame
    monkeypatch.setattr("afterview.cli.commands.ask.time.time", lambda: now)
    question = ["ask", "Is it red?", "--memory", "mem", "--at"]
    assert status_of([*question, str(now + 61)]) == 2
    monkeypatch.setattr(for_questions, "load_for_questions", _answer)
    with pytest.raises(_Reached):
        main([*question, str(now + 59)])
    monkeypatch.setattr("afterview.cli.commands.ask.time.time", lambda: now - 1e6)
    with pytest.raises(_Reached):  # frames lie there: the machine that recorded them has another clock
        main([*question, str(now)])


class _Reached(BaseException):
    """A model would be loaded now."""


def _answer(*arguments: object, **options: object) -> None:
    raise _Reached


def test_a_watch_whose_sender_is_dead_leaves_nothing_behind(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A sender behind tcp:// is not opened before: it may serve one connection only."""
    dead = ["watch", "tcp://127.0.0.1:1", "--memory", "deep/new", "--ack-file", "acks"]
    refuse(place, (dead, 1, "cannot be reached"), monkeypatch, capsys)


def test_a_camera_that_another_process_records_is_found_busy_before_the_model(
    place: Path, no_model: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    camera = place / "mem" / "yard"
    with CameraLock(camera / "lock", camera="yard"), ControlServer(camera, lambda command: {}):
        for command in (["watch", PATTERN], ["replay", "clip.mp4"]):
            row = ([*command, "--memory", "mem", "--camera", "yard"], 2, f"being written by process {os.getpid()}")
            refuse(place, row, monkeypatch, capsys)


def test_a_start_is_in_the_zone_of_the_camera_that_exists(
    tmp_path: Path, place: Path, no_model: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with open_camera(tmp_path, "tokyo", make_spec(), timezone="Asia/Tokyo") as repository:
        repository.append(make_frame(0, make_spec()))  # 2023-11-15 07:13:20 in Tokyo, 22:13:20 the day before in UTC
    monkeypatch.chdir(place)
    command = ["replay", "clip.mp4", "--memory", str(tmp_path), "--camera", "tokyo", "--start", "2023-11-15T07:13"]
    assert main(command) == 2
    assert "2023-11-15 07:13:00 JST" in capsys.readouterr().err
