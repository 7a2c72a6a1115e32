"""`afterview store` and the commands beside it, as a person runs them, against a real S3 server process."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from afterview.cli.main import main
from afterview.memory.base.lock import CameraLock
from afterview.memory.format.manifest import Manifest
from afterview.memory.format.upload_state import UploadState
from afterview.memory.reading.reader import CameraReader
from afterview.memory.remote import bucket
from afterview.memory.sync.replica import replica_of
from afterview.memory.sync.status import store_status
from afterview.memory.writing.open import open_camera
from tests.support.memory_world import make_frame, make_spec
from tests.support.object_memory import moving
from tests.support.object_server import BUCKET, KEYS, ObjectServer, gate_to, need_object_store

URL = f"s3://{BUCKET}/home"
WATCH = ["watch", "lavfi:testsrc2=size=96x64:rate=50", "--fps", "50", "--camera", "yard"]
PATIENCE_S = 90.0


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """In this process: no fsync, and a bucket that did not answer is asked again soon."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    monkeypatch.setattr(bucket, "SILENT_S", 0.05)


@pytest.fixture(scope="module")
def _recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A watch of about 200 frames, three seals and some in the journal, for tests to copy.

    The source is live: on a busy machine frames are dropped, and a watch may end just at a seal. Then another one is made.
    """
    for _ in range(5):
        memory = tmp_path_factory.mktemp("recording") / "m"
        assert main([*WATCH, "--memory", str(memory), "--for", "4s"]) == 0
        sealed, frames = Manifest.read(memory / "yard").frames, CameraReader(memory / "yard").snapshot().frames
        if 0 < sealed < frames:
            return memory
    raise AssertionError(f"no watch left frames in the journal; the last has {frames} frames, {sealed} of them sealed")


@pytest.fixture
def memory(_recording: Path, tmp_path: Path) -> Path:
    shutil.copytree(_recording, tmp_path / "m")
    return tmp_path / "m"


def run(capsys: pytest.CaptureFixture[str], *arguments: str, status: int = 0) -> str:
    """Run a command; what it printed, with the error line if it failed. No credential may be in it."""
    capsys.readouterr()
    assert main(list(arguments)) == status
    said = capsys.readouterr()
    for secret in (KEYS["AWS_ACCESS_KEY_ID"], KEYS["AWS_SECRET_ACCESS_KEY"]):
        assert secret not in said.out + said.err
    return said.out if status == 0 else said.err


def test_a_memory_moves_to_a_store_answers_from_there_and_comes_back(
    memory: Path, server: ObjectServer, capsys: pytest.CaptureFixture[str]
) -> None:
    camera, where = memory / "yard", ["--memory", str(memory)]
    before = {path.relative_to(camera): path.read_bytes() for path in moving(camera)}
    frames = CameraReader(camera).snapshot().frames
    ask = [
        "ask",
        "What is there now?",
        *where,
        "--at",
        repr(float(CameraReader(camera).snapshot().times[-1])),
        "--json",
    ]
    first = json.loads(run(capsys, *ask))
    assert "go to s3://" in run(capsys, "store", "set", URL, "--endpoint", server.endpoint, "--local-gb", "0", *where)
    assert "everything sealed is on s3://" in run(capsys, "store", "flush", *where)
    assert moving(camera) == []
    again = json.loads(run(capsys, *ask))
    assert (again["answer"], again["evidence"][0]["weight"]) == (first["answer"], first["evidence"][0]["weight"])
    assert Path(again["evidence"][0]["image"]).read_bytes() == Path(first["evidence"][0]["image"]).read_bytes()
    stored = json.loads(run(capsys, "info", str(memory), "--json"))["cameras"][0]["store"]
    assert stored["bytes"] == stored["bytes_there_alone"] == sum(len(data) for data in before.values())
    assert (stored["waiting_seals"], stored["unreachable_since"]) == (0, None)
    assert "connection: ok" in run(capsys, "store", "status", *where)
    run(capsys, "fsck", str(memory), "--deep")
    exported = str(memory.parent / "span")
    assert json.loads(run(capsys, "export", exported, *where, "--json"))["frames"] == frames
    run(capsys, "store", "leave", "--delete", "--yes", *where)
    assert {path.relative_to(camera): path.read_bytes() for path in moving(camera)} == before
    assert server.objects() == {}
    assert not (memory / "store.json").exists()
    run(capsys, "fsck", str(memory))


def send_away(memory: Path, server: ObjectServer, capsys: pytest.CaptureFixture[str]) -> None:
    """Have a store hold all sealed chunks, alone."""
    where = ["--memory", str(memory)]
    run(capsys, "store", "set", URL, "--endpoint", server.endpoint, "--local-gb", "0", *where)
    run(capsys, "store", "flush", *where)


def test_a_store_is_kept_until_everything_is_back(
    memory: Path, server: ObjectServer, capsys: pytest.CaptureFixture[str]
) -> None:
    where = ["--memory", str(memory)]
    send_away(memory, server, capsys)
    (lost,) = [key for key in server.objects() if key.endswith("tokens/c.0.0.0")]
    server.remove(lost)
    kept = server.objects()
    assert main(["store", "leave", "--delete", "--yes", *where]) == 1
    assert "The store is kept" in capsys.readouterr().out
    assert server.objects() == kept
    assert (memory / "store.json").exists()
    run(capsys, "fsck", str(memory), "--repair")
    run(capsys, "store", "leave", "--delete", "--yes", *where)
    assert server.objects() == {}
    run(capsys, "fsck", str(memory))


def test_another_memorys_chunks_are_not_brought_back(
    memory: Path, server: ObjectServer, capsys: pytest.CaptureFixture[str]
) -> None:
    where = ["--memory", str(memory)]
    send_away(memory, server, capsys)
    name = next(key for key in server.objects() if key.endswith("yard/camera.json"))
    about = json.loads(server.read(name))
    about.pop("checksum", None)
    server.write(name, json.dumps({**about, "created": about["created"] + 1}).encode())
    assert main(["store", "leave", "--delete", "--yes", *where]) != 0
    assert "another memory's camera" in capsys.readouterr().err
    assert moving(memory / "yard") == []


def test_a_watch_goes_on_while_its_store_is_away_and_sends_what_waits_when_it_is_back(
    tmp_path: Path, server: ObjectServer, capsys: pytest.CaptureFixture[str]
) -> None:
    memory = tmp_path / "m"
    memory.mkdir()
    where = ["--memory", str(memory)]
    with gate_to(server) as gate:
        run(capsys, "store", "set", URL, "--endpoint", gate.endpoint, "--local-gb", "0", *where)
        gate.shut()
        with watch(memory) as watching:
            until(
                lambda: (memory / "yard/camera.json").exists() and waits(memory, seals=2),
                "the outage is noted and two seals wait",
            )
            gate.open()
            until(lambda: sent(memory) >= 2, "what waited is sent")
            assert watching.poll() is None
        assert UploadState.read(memory / "yard").silent_since is None
        run(capsys, "store", "flush", *where)
        assert moving(memory / "yard") == []
        run(capsys, "fsck", str(memory), "--deep")


@pytest.mark.slow
def test_a_watch_ends_when_it_is_told_to_though_its_store_hangs(
    tmp_path: Path, server: ObjectServer, capsys: pytest.CaptureFixture[str]
) -> None:
    memory = tmp_path / "m"
    memory.mkdir()
    run(capsys, "store", "set", URL, "--endpoint", server.endpoint, "--memory", str(memory))
    try:
        with watch(memory) as watching:
            until(lambda: sent(memory) >= 1, "a seal is sent")
            server.freeze()
            until(lambda: waiting(memory) >= 1, "a seal is being sent now, and nobody takes it")
            watching.send_signal(signal.SIGINT)
            assert watching.wait(20) == 0
    finally:
        server.thaw()
    assert CameraReader(memory / "yard").snapshot().frames > 64


@pytest.mark.thorough
def test_kill_9_of_a_watch_in_mid_upload_loses_nothing(
    tmp_path: Path, server: ObjectServer, capsys: pytest.CaptureFixture[str]
) -> None:
    memory, acks = tmp_path / "m", tmp_path / "acks"
    memory.mkdir()
    where = ["--memory", str(memory)]
    run(capsys, "store", "set", URL, "--endpoint", server.endpoint, "--local-gb", "0", *where)
    for point in ("upload.after-put:2", "upload.after-release:1"):  # tests.crash.uploads kills a writer at every point
        with watch(memory, "--ack-file", str(acks), AFTERVIEW_FAILPOINT=point) as watching:
            assert watching.wait(PATIENCE_S) == -signal.SIGKILL, point
        acknowledged = [int(line.split()[0]) for line in acks.read_text().splitlines()]
        assert set(acknowledged) <= set(CameraReader(memory / "yard").snapshot().ids.tolist())
    run(capsys, "store", "flush", *where)
    run(capsys, "fsck", str(memory), "--deep")
    snapshot = CameraReader(memory / "yard").snapshot()
    assert len(snapshot.tokens(snapshot.ids)) == len(snapshot.ids)


def test_an_answer_rests_on_what_is_here_and_says_what_is_out_of_reach(
    memory: Path, server: ObjectServer, capsys: pytest.CaptureFixture[str]
) -> None:
    where = ["--memory", str(memory)]
    with gate_to(server) as gate:
        run(capsys, "store", "set", URL, "--endpoint", gate.endpoint, "--local-gb", "0", *where)
        run(capsys, "store", "flush", *where)
        gate.shut()
        snapshot = CameraReader(memory / "yard").snapshot()
        away = Manifest.read(memory / "yard").frames
        assert 0 < away < snapshot.frames
        coverage = json.loads(run(capsys, "ask", "What is there now?", *where, "--json"))["coverage"]
        assert (coverage["unreachable"], coverage["frames"]) == (away, snapshot.frames - away)
        assert coverage["damaged"] == 0
        assert json.loads(run(capsys, "search", "a thing", *where, "--json"))["hits"] == []  # nothing is indexed yet
        for command in (
            ["export", str(memory / "span")],
            ["reembed", "--model", "tiny", "--again"],
            ["store", "leave"],
        ):
            said = run(capsys, *command, *where, status=1)
            assert "does not answer" in said
            assert "damage" not in said
        assert f"{away} frames cannot be read now and were left out: s3://" in run(capsys, "ask", "What now?", *where)
        early = repr(float(snapshot.times[5]))
        said = run(capsys, "ask", "What is there now?", *where, "--at", early, status=1)
        assert "all of its 6 frames in that span" in said
        assert "does not answer" in said
        assert "does not answer" in run(capsys, "store", "status", *where)
        said = run_fsck(capsys, memory)
        assert "unchecked: " in said
        assert "does not answer" in said
        assert "damage:" not in said
        gate.open()
        time.sleep(0.1)
        assert json.loads(run(capsys, "ask", "What is there now?", *where, "--json"))["coverage"]["unreachable"] == 0


def run_fsck(capsys: pytest.CaptureFixture[str], memory: Path) -> str:
    capsys.readouterr()
    assert main(["fsck", str(memory)]) == 1
    return capsys.readouterr().out


def test_forget_says_how_many_objects_went_and_whether_old_versions_stay(
    memory: Path, server: ObjectServer, capsys: pytest.CaptureFixture[str]
) -> None:
    where = ["--memory", str(memory)]
    server.client().put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
    try:
        run(capsys, "store", "set", URL, "--endpoint", server.endpoint, "--local-gb", "0", *where)
        run(capsys, "store", "flush", *where)
        times = CameraReader(memory / "yard").snapshot().times
        said = run(capsys, "forget", *where, "--yes", "--from", repr(float(times[3])), "--to", repr(float(times[70])))
        assert "objects deleted from the store" in said
        assert "keeps old versions" in said
    finally:
        server.client().put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Suspended"})


def test_an_emptied_store_is_found_out(memory: Path, server: ObjectServer, capsys: pytest.CaptureFixture[str]) -> None:
    where = ["--memory", str(memory)]
    half = sum(path.stat().st_size for path in moving(memory / "yard")) / 2e9
    run(capsys, "store", "set", URL, "--endpoint", server.endpoint, "--local-gb", f"{half:.9f}", *where)
    run(capsys, "store", "flush", *where)
    kept, objects = moving(memory / "yard"), server.objects()
    assert kept
    server.remove(*[key for key in objects if "/tokens/c." in key])
    said = run_fsck(capsys, memory)
    assert "is missing, here and on s3://" in said
    server.remove(*server.objects())
    assert "holds nothing where this camera's chunks were sent" in run_fsck(capsys, memory)
    run(capsys, "store", "flush", *where)  # what is still here goes again
    assert all(f"home/yard/{path.relative_to(memory / 'yard')}" in server.objects() for path in kept)


@pytest.mark.parametrize(
    ("url", "endpoint", "said"),
    [
        ("s3://no-such-bucket/x", None, "there is no such bucket"),
        (URL, "http://127.0.0.1:9", "does not answer"),
        ("http://host/x", None, "write s3://bucket/prefix"),
        ("s3://key:secret@bucket/x", None, "without credentials"),
        (URL, "http://user:secret@host", "without credentials"),
        ("s3://Bucket/x", None, "lower-case letters"),
        ("s3://buck..et/x", None, "no two dots together"),
        (f"s3://{BUCKET}/a//b", None, "no part of it empty"),
        (f"s3://{BUCKET}/../b", None, "no part of it empty"),
        (f"s3://{BUCKET}/{'k' * 900}", None, "too long"),
        (URL, "http://[::1", "write http://host:port"),
        (URL, "http://127.0.0.1:99999", "write http://host:port"),
    ],
)
def test_a_place_that_does_not_work_is_refused_in_one_line(
    tmp_path: Path, server: ObjectServer, capsys: pytest.CaptureFixture[str], url: str, endpoint: str | None, said: str
) -> None:
    (tmp_path / "m").mkdir()
    capsys.readouterr()
    arguments = ["store", "set", url, "--endpoint", endpoint or server.endpoint, "--memory", str(tmp_path / "m")]
    assert main(arguments) in (1, 2)
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert "secret" not in error
    assert not list((tmp_path / "m").iterdir())


def test_a_store_of_a_memory_that_is_not_there_is_refused(
    tmp_path: Path, server: ObjectServer, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "papers").mkdir()
    (tmp_path / "papers" / "letter.txt").write_text("")
    setting = ["store", "set", URL, "--endpoint", server.endpoint, "--memory"]
    assert "mkdir" in run(capsys, *setting, str(tmp_path / "m"), status=2)
    assert "holds no camera but other files ('letter.txt')" in run(capsys, *setting, str(tmp_path / "papers"), status=2)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["letter.txt", "papers"]
    assert server.objects() == {}


def test_what_stays_here_is_said_and_the_store_counts_the_same(
    memory: Path, server: ObjectServer, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    where = ["--memory", str(memory)]
    run(capsys, "store", "set", URL, "--endpoint", server.endpoint, "--local-gb", "0", *where)
    before = store_status(memory / "yard", CameraReader(memory / "yard").snapshot())
    snapshot, sealed = CameraReader(memory / "yard").snapshot(), Manifest.read(memory / "yard").frames
    assert before is not None
    assert (before.published_frames, before.local_frames) == (0, snapshot.frames)
    forgotten = [repr(float(snapshot.times[place])) for place in (10, 19)]
    run(capsys, "forget", *where, "--yes", "--from", forgotten[0], "--to", forgotten[1])
    (flushed,) = json.loads(run(capsys, "store", "flush", *where, "--json"))["cameras"]
    left = snapshot.frames - sealed
    assert left > 0
    assert (flushed["unsealed_frames"], flushed["local_frames"]) == (left, left)
    assert flushed["unsealed_since"] == float(snapshot.times[sealed])
    assert (flushed["published_frames"], flushed["published_last_time"]) == (
        sealed - 10,
        float(snapshot.times[sealed - 1]),
    )
    said = run(capsys, "store", "flush", *where)
    assert f"{left} frames since" in said
    assert "are not sealed and stay on this machine" in said
    (status,) = json.loads(run(capsys, "store", "status", *where, "--json"))["cameras"]
    monkeypatch.setenv("AWS_ENDPOINT_URL", server.endpoint)
    monkeypatch.setenv("XDG_CACHE_HOME", str(memory.parent / "cache"))
    (there,) = json.loads(run(capsys, "info", URL, "--json"))["cameras"]
    chunks = [size for key, size in server.objects().items() if "/c." in key and "/frames/images/" in key]
    chunks += [size for key, size in server.objects().items() if "/c." in key and "/generation-1/" in key]
    keys = ("bytes", "published_frames", "published_last_time")
    assert [there["store"][key] for key in keys] == [status[key] for key in keys]
    assert (there["frames"], there["last_time"]) == (status["published_frames"], status["published_last_time"])
    assert there["store"]["bytes"] == sum(chunks) > 0
    assert there["store"]["local_frames"] is None
    assert "later frames are not published yet" in run(capsys, "info", URL)


def test_a_camera_that_cannot_be_read_is_named_and_the_store_is_kept(
    memory: Path, server: ObjectServer, capsys: pytest.CaptureFixture[str]
) -> None:
    where = ["--memory", str(memory)]
    run(capsys, "store", "set", URL, "--endpoint", server.endpoint, *where)
    shutil.copytree(memory / "yard", memory / "hall")
    (memory / "hall" / "committed").write_text("{")
    document = json.loads(run(capsys, "store", "status", *where, "--json"))
    assert [camera["camera"] for camera in document["cameras"]] == ["yard"]
    assert "committed" in document["skipped"]["hall"]
    for action in (["flush"], ["leave", "--delete", "--yes"]):
        assert main(["store", *action, *where]) == 1
        assert "hall: left out" in capsys.readouterr().out
    assert (memory / "store.json").exists()
    assert server.objects()


def test_flush_fails_where_a_removal_could_not_be_completed(
    memory: Path, server: ObjectServer, capsys: pytest.CaptureFixture[str]
) -> None:
    where = ["--memory", str(memory)]
    run(capsys, "store", "set", URL, "--endpoint", server.endpoint, *where)
    with CameraLock(memory / "yard" / "lock", camera="yard"):
        assert main(["store", "flush", *where, "--json"]) == 1
    (flushed,) = json.loads(capsys.readouterr().out)["cameras"]
    assert "could not be completed" in flushed["problems"][0]
    assert flushed["waiting_seals"] == 0


def test_a_store_whose_name_is_damaged_is_named_again(
    memory: Path, server: ObjectServer, capsys: pytest.CaptureFixture[str]
) -> None:
    setting = ["store", "set", URL, "--endpoint", server.endpoint, "--memory", str(memory)]
    run(capsys, *setting)
    run(capsys, "store", "flush", "--memory", str(memory))
    (memory / "store.json").write_text("{")
    assert "`afterview store set`" in run(capsys, "store", "status", "--memory", str(memory), status=1)
    run(capsys, *setting)
    run(capsys, "fsck", str(memory))


def test_wrong_credentials_are_refused_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    need_object_store()
    (tmp_path / "m").mkdir()
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    with ObjectServer(INITIAL_NO_AUTH_ACTION_COUNT="1") as strict:  # after the bucket is made, keys are checked
        said = run(
            capsys, "store", "set", URL, "--endpoint", strict.endpoint, "--memory", str(tmp_path / "m"), status=2
        )
    assert "access denied (InvalidAccessKeyId)" in said
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("AWS_SECRET_ACCESS_KEY", "never-printed\n", "AWS_SECRET_ACCESS_KEY: holds a character"),
        ("AWS_SESSION_TOKEN", "ü", "AWS_SESSION_TOKEN: holds a character"),
        ("AWS_SESSION_TOKEN", "t" * 100_000, "refuses the request (431)"),
        ("AWS_REGION", "x y", "AWS_REGION: write the name of a region"),
        ("AWS_CA_BUNDLE", "/nowhere", "AWS_CA_BUNDLE: /nowhere: cannot be read: no such file"),
    ],
)
def test_an_environment_that_no_request_can_carry_is_named(
    tmp_path: Path, server: ObjectServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    name: str, value: str, said: str,
) -> None:  # fmt: skip
    (tmp_path / "m").mkdir()
    monkeypatch.setenv(name, value)
    endpoint = server.endpoint.replace("http:", "https:") if name == "AWS_CA_BUNDLE" else server.endpoint
    arguments = ["store", "set", URL, "--endpoint", endpoint, "--memory", str(tmp_path / "m")]
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert "never-printed" not in error
    assert not list((tmp_path / "m").iterdir())


def test_without_the_package_it_says_what_to_install(
    tmp_path: Path, server: ObjectServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "m").mkdir()
    monkeypatch.setitem(sys.modules, "obstore", None)
    said = run(capsys, "store", "set", URL, "--endpoint", server.endpoint, "--memory", str(tmp_path / "m"), status=2)
    assert "pip install '.[s3]'" in said


# --- a watch in another process ---


class watch:
    """`afterview watch` of a test pattern, killed on leaving."""

    def __init__(self, memory: Path, *more: str, **environment: str) -> None:
        command = [sys.executable, "-m", "afterview", *WATCH, "--memory", str(memory), *more]
        self._process = subprocess.Popen(
            command, env={**os.environ, **environment}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    def __enter__(self) -> "subprocess.Popen[bytes]":
        return self._process

    def __exit__(self, *unused: object) -> None:
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
            try:
                self._process.wait(30)
            except subprocess.TimeoutExpired:
                self._process.kill()
        self._process.wait()


def until(holds: object, what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not holds():  # type: ignore[operator]
        assert time.monotonic() < deadline, what
        time.sleep(0.1)


def sent(memory: Path) -> int:
    return min((tree.sent for tree in UploadState.read(memory / "yard").trees.values()), default=0)


def waiting(memory: Path) -> int:
    """How many seals are not in the bucket yet."""
    status = store_status(memory / "yard", CameraReader(memory / "yard").snapshot())
    return status.waiting_seals if status else 0


def waits(memory: Path, *, seals: int) -> bool:
    """Whether other processes can tell that the store does not answer and that so many seals wait for it."""
    return UploadState.read(memory / "yard").silent_since is not None and waiting(memory) >= seals


def test_another_machine_answers_from_the_store_alone(
    memory: Path, server: ObjectServer, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    where = ["--memory", str(memory)]
    run(capsys, "store", "set", URL, "--endpoint", server.endpoint, *where)
    monkeypatch.setenv("AWS_ENDPOINT_URL", server.endpoint)
    monkeypatch.setenv("XDG_CACHE_HOME", str(memory.parent / "cache"))
    assert "no memory is published at" in run(capsys, "ask", "What now?", "--memory", URL, status=2)
    run(capsys, "store", "flush", *where)
    snapshot = CameraReader(memory / "yard").snapshot()
    sealed = Manifest.read(memory / "yard").frames
    at = repr(float(snapshot.times[sealed - 1]))
    here = json.loads(run(capsys, "ask", "What is there now?", *where, "--at", at, "--json"))
    shutil.move(memory, memory.with_name("gone"))
    there = json.loads(run(capsys, "ask", "What is there now?", "--memory", URL, "--at", at, "--json"))
    assert there["answer"] == here["answer"]
    assert [item["weight"] for item in there["evidence"]] == [item["weight"] for item in here["evidence"]]
    assert (
        Path(there["evidence"][0]["image"]).read_bytes()
        == Path(here["evidence"][0]["image"].replace("/m/", "/gone/")).read_bytes()
    )
    assert json.loads(run(capsys, "info", URL, "--json"))["cameras"][0]["frames"] == sealed
    assert "needs the directory" in run(capsys, "forget", "--memory", URL, "--last", "1h", status=2)
    shutil.move(memory.with_name("gone"), memory)
    times = snapshot.times
    run(capsys, "forget", *where, "--yes", "--from", repr(float(times[10])), "--to", repr(float(times[90])))
    run(capsys, "store", "flush", *where)
    known = json.loads(run(capsys, "info", URL, "--json"))["cameras"][0]
    assert known["frames"] == sealed - 81
    said = run(
        capsys,
        "ask",
        "What now?",
        "--memory",
        URL,
        "--from",
        repr(float(times[20])),
        "--at",
        repr(float(times[80])),
        status=2,
    )
    assert "no longer remembered" in said


def test_a_memory_whose_machine_is_lost_comes_back_from_the_store_alone(
    memory: Path, server: ObjectServer, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", server.endpoint)
    monkeypatch.setenv("XDG_CACHE_HOME", str(memory.parent / "cache"))
    where, back, file = ["--memory", str(memory)], memory.parent / "back", str(memory.parent / "yard.span")
    run(capsys, "store", "set", URL, "--endpoint", server.endpoint, "--local-gb", "0", *where)
    first = CameraReader(memory / "yard").snapshot()
    run(capsys, "forget", *where, "--yes", "--from", repr(float(first.times[20])), "--to", repr(float(first.times[30])))
    run(capsys, "store", "flush", *where)
    before = CameraReader(memory / "yard").snapshot()
    kept = before.ids[
        before.ids < Manifest.read(memory / "yard").frames
    ]  # those in the journal are lost with the machine
    asked = ["What is there now?", "--at", repr(before.time_of(int(kept[-1]))), "--json"]
    answer = json.loads(run(capsys, "ask", *where, *asked))
    hits = json.loads(run(capsys, "search", "a red circle", *where, *asked[1:]))["hits"]
    images = list(before.images(kept))
    shutil.rmtree(memory)
    run(capsys, "export", file, "--memory", URL)
    run(capsys, "import", file, "--memory", str(back))
    after = CameraReader(back / "yard").snapshot()
    assert after.times.tolist() == before.times[: len(kept)].tolist()
    assert list(after.images(after.ids)) == images
    run(capsys, "fsck", str(back))
    again = json.loads(run(capsys, "ask", "--memory", str(back), *asked))
    assert again["answer"] == answer["answer"]
    assert [item["time"] for item in again["evidence"]] == [item["time"] for item in answer["evidence"]]
    found = json.loads(run(capsys, "search", "a red circle", "--memory", str(back), *asked[1:]))["hits"]  # a new index
    assert [(hit["time"], hit["score"]) for hit in found] == [(hit["time"], hit["score"]) for hit in hits]
    run(capsys, "watch", *WATCH[1:], "--memory", str(back), "--for", "1s")
    assert CameraReader(back / "yard").snapshot().frames > after.frames
    (memory.parent / "empty").mkdir()
    for another in (back, memory.parent / "empty"):  # the objects of before stay as they are
        said = run(capsys, "store", "set", URL, "--endpoint", server.endpoint, "--memory", str(another), status=2)
        assert "another memory ('yard'); choose another prefix" in said
        assert not (another / "store.json").exists()
    run(capsys, "store", "set", f"{URL}-2", "--endpoint", server.endpoint, "--memory", str(back))
    run(capsys, "store", "flush", "--memory", str(back))
    run(capsys, "store", "set", f"{URL}-2", "--endpoint", server.endpoint, "--memory", str(back), "--local-gb", "1")


def test_a_camera_of_any_name_has_objects(
    tmp_path: Path, server: ObjectServer, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = tmp_path / "m"
    memory.mkdir()
    run(capsys, "store", "set", URL, "--endpoint", server.endpoint, "--local-gb", "0", "--memory", str(memory))
    with open_camera(memory, "Übergang 2 (Tür)", make_spec()) as repository:
        for number in range(70):
            repository.append(make_frame(number, make_spec()))
    run(capsys, "store", "flush", "--memory", str(memory))
    run(capsys, "fsck", str(memory), "--deep")
    assert moving(memory / "übergang-2-tür") == []
    monkeypatch.setenv("AWS_ENDPOINT_URL", server.endpoint)
    snapshot = CameraReader(replica_of(URL, cache=tmp_path / "cache") / "übergang-2-tür").snapshot()
    assert snapshot.ids.tolist() == list(range(64))
    assert snapshot.image(63) == make_frame(63, make_spec()).image
