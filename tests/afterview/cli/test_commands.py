"""Commands from arguments to output: documents, messages, exit status. In this process, except where another process is the point."""

import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any, cast

import pytest

from afterview.cli.main import main
from afterview.memory.base.documents import read_json, write_json
from afterview.memory.directory import Memory
from afterview.memory.writing.open import open_camera
from tests.support.clips import make_clip
from tests.support.memory_world import make_frame, make_spec

START = 1_700_000_000.0


def run_process(*arguments: object, timeout: float = 120) -> subprocess.CompletedProcess[str]:
    """Run a command in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "afterview", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def document(capsys: pytest.CaptureFixture[str], *arguments: object) -> dict[str, Any]:
    """What a command prints with --json. Runs in this process, which has loaded PyTorch already."""
    capsys.readouterr()
    assert main([*map(str, arguments), "--json"]) == 0
    return cast(dict[str, Any], json.loads(capsys.readouterr().out))


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_clip(tmp_path_factory.mktemp("clip") / "clip.mp4", frames=120, rate=10)


@pytest.fixture(scope="module")
def memory(tmp_path_factory: pytest.TempPathFactory, clip: Path) -> Path:
    path = tmp_path_factory.mktemp("memory") / "m"
    replay = ["replay", str(clip), "--memory", str(path), "--camera", "Front door", "--start", str(START), "--json"]
    with redirect_stdout(io.StringIO()) as out:
        assert main(replay) == 0
    assert json.loads(out.getvalue())["recorded"] == 12
    return path


def test_ask_prints_the_document_of_the_design(memory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = document(capsys, "ask", "What is yellow?", "--memory", memory)
    assert {"id", "answer", "evidence", "coverage", "provenance", "timing"} <= set(said)
    coverage = said["coverage"]
    assert (coverage["frames"], coverage["first_time"], coverage["last_time"]) == (12, START, START + 11)
    assert (coverage["recall"], coverage["positions"]) == ("full", "true")
    assert coverage["lag_s"] > 0
    assert "synthetic world" in said["notice"]
    assert said["provenance"]["trained"] is True
    weights = [item["weight"] for item in said["evidence"]]
    assert weights == sorted(weights, reverse=True)
    assert 0 < sum(weights) <= 1.001
    for item in said["evidence"]:
        assert item["camera"] == "front-door"
        assert item["time"] == START + item["frame"]
        assert Path(item["image"]).read_bytes().startswith(b"\xff\xd8")
    assert 0 < said["timing"]["first_token_s"] <= said["timing"]["total_s"]


def test_another_process_gives_the_same_answer_to_the_same_question(
    memory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asking = ("ask", "What now?", "--memory", memory, "--at", START + 5)
    first, second = json.loads(run_process(*asking, "--json").stdout), document(capsys, *asking)
    assert first["answer"] == second["answer"]
    assert first["provenance"] == second["provenance"]
    for one, other in zip(first["evidence"], second["evidence"], strict=True):
        assert (one["frame"], one["weight"]) == (other["frame"], other["weight"])
    assert first["coverage"]["frames"] == 6
    assert first["coverage"]["lag_s"] == 0
    assert all(item["time"] <= START + 5 for item in first["evidence"])


def test_spans(memory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asking = ("ask", "What now?", "--memory", memory)
    coverage = document(capsys, *asking, "--from", START + 2, "--at", START + 4.9)["coverage"]
    assert (coverage["first_time"], coverage["frames"]) == (START + 2, 3)
    coverage = document(capsys, *asking, "--last", "3s", "--at", START + 8)["coverage"]
    assert (coverage["first_time"], coverage["frames"]) == (START + 5, 4)
    early = document(capsys, *asking, "--from", START - 60)
    gap = early["coverage"]["gaps"][0]
    assert (gap["start"], gap["end"], gap["seconds"], gap["reason"]) == (START - 60, START, 60.0, "not recording")


def test_ask_for_people_names_evidence_coverage_and_what_the_model_is(
    memory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["ask", "What is yellow?", "--memory", str(memory)]) == 0
    said = capsys.readouterr().out
    for part in ("evidence", "coverage", "12 frames", "2023-11-14", "synthetic world"):
        assert part in said


def test_info(memory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = document(capsys, "info", memory)
    assert said["format"] == 1
    (camera,) = said["cameras"]
    assert (camera["id"], camera["name"], camera["frames"]) == ("front-door", "Front door", 12)
    assert (camera["first_time"], camera["last_time"]) == (START, START + 11)
    assert camera["spec"]["tokens"]["tokens_per_frame"] == 64
    assert camera["bytes"] > 0
    assert "12 frames" in run_process("info", memory).stdout


MISTAKES = [
    (["replay", "nowhere.mp4", "--memory", "{new}"], 2, "nowhere.mp4: no such file"),
    (["replay", "{text}", "--memory", "{new}"], 2, "{text}"),
    (["replay", "{clip}", "--memory", "/dev/null/m"], 2, "is not a directory"),
    (["replay", "{clip}", "--memory", "{new}", "--model", "tinny"], 2, "did you mean 'tiny'"),
    (["replay", "{clip}", "--memory", "{new}", "--speed", "fast"], 2, "--speed fast"),
    (["replay", "{clip}", "--memory", "{new}", "--fps", "0"], 2, "above 0"),
    (
        ["replay", "{clip}", "--memory", "{memory}", "--camera", "Front door", "--start", "1600000000"],
        2,
        "before the newest frame",
    ),
    (["replay", "rtsp://127.0.0.1/x", "--memory", "{new}"], 2, "use `afterview watch`"),
    (["watch", "{clip}", "--memory", "{new}"], 2, "use `afterview replay`"),
    (["watch", "rtsp://", "--memory", "{new}"], 2, "malformed"),
    (["watch", "rtsp://user:secret@127.0.0.1:{closed}/x", "--memory", "{new}"], 1, "127.0.0.1"),
    (["ask", "", "--memory", "{memory}"], 2, "the question is empty"),
    (["ask", "  ", "--memory", "{memory}"], 2, "the question is empty"),
    (["ask", "What now?", "--memory", "{new}"], 2, "no memory at"),
    (["ask", "What now?", "--memory", "{memory}", "--camera", "back"], 2, "there are: front-door"),
    (["ask", "What now?", "--memory", "{memory}", "--at", "1600000000"], 2, "nothing was recorded before"),
    (["ask", "What now?", "--memory", "{memory}", "--at", "soon"], 2, "is not a time"),
    (["ask", "What now?", "--memory", "{memory}", "--last", "2h"], 2, "nothing was recorded"),
    (
        ["ask", "What now?", "--memory", "{memory}", "--from", "1700000009", "--at", "1700000003"],
        2,
        "ends before it begins",
    ),
    (["info", "{new}"], 2, "no memory at"),
]


@pytest.mark.parametrize(("arguments", "status", "message"), MISTAKES, ids=[" ".join(m[0])[:60] for m in MISTAKES])
def test_mistakes_get_one_clear_line(
    arguments: list[str],
    status: int,
    message: str,
    memory: Path,
    clip: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("not a video\n" * 100)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        closed = free.getsockname()[1]
    places = {"new": tmp_path / "new", "text": text, "clip": clip, "memory": memory, "closed": closed}
    before = set(memory.iterdir())
    assert main([argument.format(**places) for argument in arguments]) == status
    printed = capsys.readouterr()
    errors = [line for line in printed.err.splitlines() if line.startswith("afterview: error: ")]
    assert len(errors) == 1
    assert message.format(**places) in errors[0]
    assert "Traceback" not in printed.err
    assert "secret" not in printed.err + printed.out
    assert set(memory.iterdir()) == before  # nothing half-made is left
    assert not (tmp_path / "new").exists() or not list((tmp_path / "new").iterdir())


def test_a_mistake_ends_a_real_process_the_same_way(tmp_path: Path) -> None:
    done = run_process("replay", "nowhere.mp4", "--memory", tmp_path / "m")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines() == [
        "afterview: error: nowhere.mp4: no such file; a live source needs its scheme, such as rtsp://"
    ]


def test_a_memory_of_another_spec_or_format_is_refused(
    tmp_path: Path, clip: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with open_camera(tmp_path, "a", make_spec()) as repository:
        repository.append(make_frame(0, make_spec()))
    for command in (["ask", "What now?"], ["replay", str(clip), "--camera", "a"]):
        assert main([*command, "--memory", str(tmp_path), "--model", "tiny"]) == 2
        assert "reembed" in capsys.readouterr().err
    camera = tmp_path / "a" / "camera.json"
    write_json(camera, {**read_json(camera, missing=""), "format": 7})
    assert main(["info", str(tmp_path)]) == 2
    assert "storage format 7" in capsys.readouterr().err


def test_a_second_writer_is_told_who_has_the_camera(
    memory: Path, clip: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    reader = Memory(memory).camera("Front door")
    with open_camera(memory, "Front door", reader.spec):
        assert main(["replay", str(clip), "--memory", str(memory), "--camera", "Front door"]) == 2
        assert f"process {os.getpid()}" in capsys.readouterr().err
        assert document(capsys, "ask", "What now?", "--memory", memory)  # readers do not mind


def interrupt_after(acks: Path, count: int, done: threading.Event) -> None:
    """Press Ctrl-C on this process once so many frames are acknowledged, unless the watch has ended before."""
    while not done.wait(0.01):
        if acks.exists() and len(acks.read_text().splitlines()) >= count:
            os.kill(os.getpid(), signal.SIGINT)
            return


def test_ctrl_c_ends_a_watch_cleanly_and_acknowledges_only_what_is_durable(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    acks, done = tmp_path / "acks", threading.Event()
    pressing = threading.Thread(target=interrupt_after, args=(acks, 10, done), daemon=True)
    pressing.start()
    try:
        said = document(
            capsys, "watch", "lavfi:testsrc2=size=160x120:rate=40", "--memory", tmp_path / "m", "--camera", "pattern",
            "--ack-file", acks, "--fps", "20", "--for", "60s",
        )  # fmt: skip
    finally:
        done.set()
        pressing.join()
    lines = [line.split() for line in acks.read_text().splitlines()]
    assert 10 <= len(lines) == said["frames"] < 600  # 1200 in the minute that it would have lasted
    snapshot = Memory(tmp_path / "m").camera("pattern").snapshot()
    assert [int(frame) for frame, _, _ in lines] == list(range(snapshot.frames))
    assert [float(when) for _, when, _ in lines] == snapshot.times.tolist()
    assert all(re.fullmatch(r"[0-9a-f]{8}", crc) for _, _, crc in lines)
    assert snapshot.open_gap is not None
    assert snapshot.open_gap.reason == "not recording"


def test_a_time_that_cameras_of_two_zones_understand_differently_is_refused(
    tmp_path: Path, clip: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, zone in (("one", "Europe/Paris"), ("two", "Asia/Kathmandu")):
        recording = [
            "replay",
            str(clip),
            "--memory",
            str(tmp_path),
            "--camera",
            name,
            "--timezone",
            zone,
            "--start",
            str(START),
        ]
        assert main(recording) == 0
    capsys.readouterr()
    asking = ["ask", "What now?", "--memory", str(tmp_path), "--json"]
    assert main([*asking, "--at", "2023-11-14T23:20"]) == 2
    assert "different moments" in capsys.readouterr().err
    assert main([*asking, "--at", "2023-11-14T22:20Z"]) == 0
    assert json.loads(capsys.readouterr().out)["coverage"]["frames"] == 12


def test_ctrl_c_during_a_replay_is_no_success(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clip, acks, done = make_clip(tmp_path / "clip.mp4", frames=600, rate=10), tmp_path / "acks", threading.Event()
    pressing = threading.Thread(target=interrupt_after, args=(acks, 2, done), daemon=True)
    pressing.start()
    try:
        status = main(
            [
                "replay",
                str(clip),
                "--memory",
                str(tmp_path / "m"),
                "--camera",
                "a",
                "--speed",
                "10",
                "--ack-file",
                str(acks),
                "--json",
            ]
        )
    finally:
        done.set()
        pressing.join()
    said = capsys.readouterr()
    assert status == 130
    assert 2 <= json.loads(said.out)["recorded"] < 60
    assert "a: interrupted; the rest of the file is not recorded" in said.err
