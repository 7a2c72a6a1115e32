"""Real footage through every kind of preset: replay, live by RTSP, search, ask, and a model server that checks what it is sent.

The models have random weights, except `tiny`: what is checked is that every frame, time and picture is the right one.
"""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from afterview.cli.main import main
from afterview.memory.base.errors import MemoryNotFound
from afterview.memory.directory import Memory
from afterview.memory.reading.snapshot import MemorySnapshot
from tests.support.checking_model import MOST_DIFFERENCE, CheckingModel
from tests.support.footage import (
    PEDESTRIANS,
    SCENES,
    SHARED,
    Footage,
    beginning,
    decoded,
    footage_of,
    repeated,
    rotated,
    served_by_rtsp,
    thumbnail,
)
from tests.support.kinds import FINDS_ONLY, KINDS
from tests.support.model_server import MODEL, ModelServer, model_server
from tests.support.processes import environment
from tests.support.servers import RtspServer, need_rtsp, wait_until

SECONDS = 20.0
ZONE = ZoneInfo("Europe/Paris")
START = datetime(2026, 11, 27, 8, tzinfo=ZONE)
QUESTION = "Which scene do you see now?"  # which every model takes
LIVE_FRAMES = 4
FRAMES, SIZE = 5, 200  # of --answer-with

pytestmark = [pytest.mark.thorough, pytest.mark.timeout(600)]


@dataclass(frozen=True)
class Recorded:
    """A memory of one kind of preset. model: what --model takes. files: of its cameras, which are called like their scenes.

    rounds: how often the cameras may have shown their files.
    """

    kind: str
    model: str
    memory: Path
    files: dict[str, Path]
    rounds: int = 1

    def footage(self, scene: str) -> Footage:
        return repeated(decoded(self.files[scene]), self.rounds)

    def snapshot(self, scene: str) -> MemorySnapshot:
        return Memory(self.memory).camera(scene).snapshot()


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The beginning of every scene that is here."""
    place = tmp_path_factory.mktemp("footage")
    found = {}
    for scene in SCENES:
        try:
            found[scene] = beginning(footage_of(scene), place, SECONDS)
        except pytest.skip.Exception:
            pass  # the test of the scene says so
    if not found:
        pytest.skip("no footage here: neither ../shared/videos nor Debian's opencv-doc")
    return found


@pytest.fixture(scope="module", params=KINDS)
def kind(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """A kind of preset, and what --model takes for it."""
    return request.param, KINDS[request.param](tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def recorded(kind: tuple[str, str], files: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    """Every scene, replayed."""
    memory = tmp_path_factory.mktemp("memory")
    for scene, file in files.items():
        options = ["--camera", scene, "--timezone", str(ZONE), "--start", START.isoformat(), "--model", kind[1], "-qq"]
        assert main(["replay", str(file), "--memory", str(memory), *options]) == 0
    return Recorded(*kind, memory, files)


@pytest.fixture(scope="module")
def live(kind: tuple[str, str], files: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    """Every scene, as a live camera, all of them watched at once."""
    need_rtsp()
    place = tmp_path_factory.mktemp("live")
    served = {scene: served_by_rtsp(file, place) for scene, file in files.items()}
    memory = place / "memory"
    with ExitStack() as stack:
        servers = {scene: stack.enter_context(RtspServer(file, loop=True)) for scene, file in served.items()}
        options = [option for scene in servers for option in ("--camera", scene)]
        options += ["--timezone", str(ZONE), "--model", kind[1], "-qq"]
        addresses = [server.url for server in servers.values()]
        command = ["watch", *addresses, "--memory", str(memory), *options]
        watch = subprocess.Popen([sys.executable, "-m", "afterview", *command], cwd=place, env=environment())
        try:
            for scene in served:
                assert wait_until(lambda: frames_of(memory, scene) >= LIVE_FRAMES, 120, every_s=0.2)  # noqa: B023
            watch.send_signal(signal.SIGINT)
            assert watch.wait(60) in (0, 130)
        finally:
            watch.kill()
            watch.wait()
    return Recorded(*kind, memory, files, rounds=6)


def frames_of(memory: Path, scene: str) -> int:
    try:
        return Memory(memory).camera(scene).snapshot().frames
    except MemoryNotFound:
        return 0


def answers_of(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The part of each camera, with its evidence."""
    return {
        part["camera"]: {**part, "evidence": [one for one in document["evidence"] if one["camera"] == part["camera"]]}
        for part in document["cameras"]
    }


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    """The document of a command that succeeds."""
    capsys.readouterr()
    assert main([*arguments, "--json"]) == 0
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    return document


def require_shown(recorded: Recorded, snapshot: MemorySnapshot, pictures: list[tuple[bytes, float]]) -> None:
    """Every picture is what the footage shows at its time, and would not be at the time of another one."""
    footage = recorded.footage(snapshot.info.id)
    seconds = [time - float(snapshot.times[0]) for _, time in pictures]
    differences = [
        footage.difference(picture, second, 0.3) for (picture, _), second in zip(pictures, seconds, strict=True)
    ]
    assert max(differences) < MOST_DIFFERENCE, differences
    if len(pictures) > 8:
        others = rotated([picture for picture, _ in pictures], seconds, footage, 0.3)
        assert others > 1.5 * float(np.mean(differences))


def test_replay_keeps_what_every_scene_shows(recorded: Recorded, scene: str) -> None:
    footage_of(scene)  # skips
    snapshot = recorded.snapshot(scene)
    assert snapshot.times[0] == START.timestamp()
    assert snapshot.times[-1] - snapshot.times[0] == pytest.approx(recorded.footage(scene).seconds, abs=1.05)
    assert not snapshot.gaps
    ids = [int(frame) for frame in snapshot.ids]
    assert len(ids) >= SECONDS
    require_shown(recorded, snapshot, [(snapshot.image(frame), snapshot.time_of(frame)) for frame in ids])


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """The pedestrians must be there on CI; the other scenes only beside some checkouts."""
    if "scene" in metafunc.fixturenames:
        needed = pytest.param(PEDESTRIANS, marks=pytest.mark.integration)
        metafunc.parametrize("scene", [needed, *SHARED])


def test_search_shows_frames_of_their_times(recorded: Recorded, capsys: pytest.CaptureFixture[str]) -> None:
    found = run(capsys, "search", "a person who walks", "--memory", str(recorded.memory), "--top", "6")
    assert len(found["hits"]) == 6
    assert not found["skipped"]
    for hit in found["hits"]:
        snapshot = recorded.snapshot(hit["camera"])
        assert hit["time"] == snapshot.time_of(hit["frame"])
        require_shown(recorded, snapshot, [(Path(hit["image"]).read_bytes(), hit["time"])])


def test_ask_rests_on_frames_of_their_times(recorded: Recorded, capsys: pytest.CaptureFixture[str]) -> None:
    require_evidence(recorded, run(capsys, "ask", QUESTION, "--memory", str(recorded.memory)))


def require_evidence(recorded: Recorded, document: dict[str, Any]) -> None:
    """Of an answer of the built-in model: every camera with all its frames, and evidence that is what the footage shows then."""
    parts = answers_of(document)
    assert set(parts) == set(recorded.files)
    assert ("This model finds frames and does not answer" in document["answer"]) == (recorded.kind == FINDS_ONLY)
    for scene, part in parts.items():
        snapshot = recorded.snapshot(scene)
        assert part["coverage"]["frames"] == snapshot.frames
        evidence = part["evidence"]
        assert evidence
        assert all(one["time"] == snapshot.time_of(one["frame"]) for one in evidence)
        require_shown(recorded, snapshot, [(Path(one["image"]).read_bytes(), one["time"]) for one in evidence])


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with model_server() as running:
        yield running


def checking(recorded: Recorded) -> CheckingModel:
    starts = {scene: datetime.fromtimestamp(float(recorded.snapshot(scene).times[0]), ZONE) for scene in recorded.files}
    return CheckingModel({scene: recorded.footage(scene) for scene in recorded.files}, starts, ZONE, FRAMES, SIZE)


def require_checked(recorded: Recorded, server: ModelServer, model: CheckingModel, document: dict[str, Any]) -> None:
    """Of an answer of a server: it got what it should, and its words, evidence and coverage came back."""
    assert model.problems == []
    assert len(server.chats) == len(recorded.files)
    assert document["provenance"]["answered_by"]["host"] == server.host
    for scene, part in answers_of(document).items():
        snapshot, sent = recorded.snapshot(scene), part["provenance"]["sent"]["frame_ids"]
        grays = [float(thumbnail(snapshot.image(frame)).mean()) for frame in sent]
        best = int(part["answer"].rpartition("[")[2].rstrip("]"))
        assert grays[best - 1] >= max(grays) - 0.5  # its words are about these pictures
        clocks = [f"{snapshot.info.local(snapshot.time_of(frame)):%H:%M:%S}" for frame in sent]
        said = f"{len(sent)} pictures of {scene}, {clocks[0]} until {clocks[-1]}; the brightest is [{best}]"
        assert part["answer"] == f"CONFIRMED: {said}"
        assert part["provenance"]["verdict"] == {"verdict": "confirmed", "reason": said}
        assert len(sent) == min(FRAMES, snapshot.frames)
        ends = [
            frame for end in (clocks[0], clocks[-1]) for frame, clock in zip(sent, clocks, strict=True) if clock == end
        ]
        cited = list(dict.fromkeys([*ends, sent[best - 1]]))  # by time, and by number: in the order of the words
        evidence = [(one["frame"], one["weight"]) for one in part["evidence"]]
        assert evidence[: len(cited)] == [(frame, pytest.approx(1 / len(cited))) for frame in cited]
        assert evidence[len(cited) :] == [(frame, 0.0) for frame in sent if frame not in cited]
        assert part["coverage"]["frames"] == snapshot.frames
        pictures, seconds = zip(*model.seen[scene], strict=True)
        own = float(np.mean([model.shown[scene].difference(*one, 1.0) for one in model.seen[scene]]))
        if seconds[-1] - seconds[0] > SECONDS / 2:  # and no other order of the pictures fits the times that were sent
            assert rotated(pictures, seconds, model.shown[scene], 1.0) > 1.3 * own


def test_a_model_server_gets_the_right_frames_and_its_words_come_back(
    recorded: Recorded, server: ModelServer, capsys: pytest.CaptureFixture[str]
) -> None:
    server.answers = model = checking(recorded)
    options = ["--answer-with", server.url, "--answer-frames", str(FRAMES), "--answer-image-size", str(SIZE)]
    asked = ["ask", "Is anybody there?", "--memory", str(recorded.memory)]
    require_checked(recorded, server, model, run(capsys, *asked, *options))
    assert all(chat.body["model"] == MODEL for chat in server.chats)


@pytest.mark.integration
def test_live_through_the_same_kind(live: Recorded, server: ModelServer, capsys: pytest.CaptureFixture[str]) -> None:
    now = datetime.now(ZONE)
    for scene in live.files:
        snapshot = live.snapshot(scene)
        assert snapshot.frames >= LIVE_FRAMES
        assert [gap.reason for gap in snapshot.gaps] == []
        first = snapshot.info.local(float(snapshot.times[0]))
        assert now - timedelta(minutes=10) < first < now
        ids = [int(frame) for frame in snapshot.ids]
        require_shown(live, snapshot, [(snapshot.image(frame), snapshot.time_of(frame)) for frame in ids])
    found = run(capsys, "search", "a person who walks", "--memory", str(live.memory), "--top", "4")
    assert len(found["hits"]) == 4
    require_evidence(live, run(capsys, "ask", QUESTION, "--memory", str(live.memory)))
    server.answers = model = checking(live)
    options = ["--answer-with", server.url, "--answer-frames", str(FRAMES), "--answer-image-size", str(SIZE)]
    require_checked(
        live, server, model, run(capsys, "ask", "Is anybody there?", "--memory", str(live.memory), *options)
    )
