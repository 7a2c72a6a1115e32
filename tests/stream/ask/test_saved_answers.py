"""Saved answers: they open again as they were, keep their limits, and hold nothing of forgotten frames."""

import json
import os
import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from afterview.configs import UsageError
from afterview.memory.base.errors import DamagedMemory, MemoryNotFound, Unreadable
from afterview.memory.base.records import Gap
from afterview.memory.directory import Memory
from afterview.memory.format import answer_files
from afterview.memory.format.answer_files import RECORD, saved_directories
from afterview.memory.plans.retention import Limits
from afterview.memory.writing.open import open_camera
from afterview.memory.writing.repository import Repository
from afterview.stream.ask import saved_answers
from afterview.stream.ask.answer_record import AnswerRecord, Origin, SearchRecord
from afterview.stream.ask.question import Answer, CameraAnswer, Coverage, Evidence, Question
from afterview.stream.ask.saved_answers import changes_since, find_saved, open_saved, save
from afterview.stream.ask.search import Hit, SearchResult
from tests.support.memory_world import START, make_frame, make_spec
from tests.support.unprivileged import public_directory, unprivileged

SPEC = make_spec()
SECRET = "a visitor in a green coat"


def open_a(memory: Path, camera: str = "a") -> Repository:
    return open_camera(memory, camera, SPEC, timezone="Europe/Paris")


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Cameras `a` and `b`, 100 frames each."""
    path = tmp_path_factory.mktemp("recorded") / "m"
    for camera in ("a", "b"):
        with open_a(path, camera) as repository:
            for number in range(100):
                repository.append(make_frame(number, SPEC))
    return path


@pytest.fixture
def memory(recorded: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(recorded, tmp_path / "m"))


def part(
    memory: Path, camera: str, frames: list[int], *, first: int = 0, last: int = 99, text: str = SECRET
) -> CameraAnswer:
    snapshot = Memory(memory).camera(camera).snapshot()
    coverage = Coverage(
        camera=camera, frames=last - first + 1, first_time=START + first, last_time=START + last,
        gaps=(Gap(START + 3, START + 5, "lost", 4), Gap(START + 99, float("nan"), "not recording", -1)),
        removed=tuple(gone for gone in snapshot.removed if gone.start <= START + last and gone.stop >= START + first),
        damaged=1, lag_s=2.0, time_basis={"file": 100}, recall="full", search="none", positions="true", recalled=100, visible=9,
    )  # fmt: skip
    evidence = tuple(
        Evidence(camera, frame, START + frame, 0.5 / (place + 1), make_frame(frame, SPEC).image)
        for place, frame in enumerate(frames)
    )
    provenance: dict[str, object] = {"model": "made-up", "first_frame": first, "last_frame": last}
    return CameraAnswer(text, "it was named", evidence, coverage, provenance, {"first_token_s": 0.5, "total_s": 1.0})


def record_of(memory: Path, *parts: CameraAnswer, id: str = "a1b2c3") -> AnswerRecord:
    texts = [f"{one.coverage.camera}: {one.text}" if len(parts) > 1 else one.text for one in parts]
    answer = Answer(id, "Who came?", "\n".join(texts), parts, "a notice", {"c": "it holds no frame"}, 1.25)
    cameras = {name: Memory(memory).camera(name).info for name in ("a", "b")}
    question = Question("Who came?", ("a",), at=START + 99, seed=3)
    return AnswerRecord.of(answer, question, asked=START + 500, memory=memory, cameras=cameras, version="0.1.0")


def texts_in(memory: Path) -> str:
    """Everything that saved answers say, and the names of their files."""
    paths = [path for path in (memory / "answers").rglob("*") if path.is_file()]
    return "\n".join([str(path) for path in paths] + [path.read_text() for path in paths if path.suffix == ".json"])


def test_an_answer_opens_as_it_was(memory: Path) -> None:
    record = record_of(memory, part(memory, "a", [10, 11]), part(memory, "b", [5], text="nobody"))
    saved = save(record, memory)
    assert saved.kept
    assert saved.notes == ()
    opened, images = open_saved(memory / "answers" / "a1b2c3")
    assert isinstance(opened, AnswerRecord)
    again = replace(opened.answer, parts=record.answer.parts)
    assert again == record.answer
    assert json.dumps(opened.to_dict(images)) == json.dumps(record.to_dict(saved.images))
    assert opened.about == record.about
    assert opened.about.options["seed"] == 3
    assert images == saved.images
    assert Path(images["a", 10]).read_bytes() == make_frame(10, SPEC).image
    assert changes_since(opened, memory) == []


def test_evidence_of_nearly_equal_weights_keeps_its_order(memory: Path) -> None:
    parts = [
        replace(one, evidence=(replace(one.evidence[0], weight=weight),))
        for one, weight in ((part(memory, "a", [10]), 0.25), (part(memory, "b", [5]), 0.2500003))
    ]
    record = record_of(memory, *parts)
    save(record, memory)
    opened, _ = open_saved(memory / "answers" / "a1b2c3")
    assert isinstance(opened, AnswerRecord)
    asked, again = ([item.to_dict() for item in one.answer.evidence] for one in (record, opened))
    assert asked == again


def test_a_declined_question_and_a_search_open_again(memory: Path) -> None:
    declined = Answer("dd", "Why?", "This model knows only shapes.", (), None, {}, 0.1, declined=True)
    save(AnswerRecord.of(declined, Question("Why?"), asked=1.0, memory=memory, cameras={}, version="0"), memory)
    opened, _ = open_saved(memory / "answers" / "dd")
    assert isinstance(opened, AnswerRecord)
    assert opened.answer == declined
    info = Memory(memory).camera("a").info
    hits = (Hit("a", 7, START + 7, 0.5, info.iso(START + 7)), Hit("a", 90, START + 90, 0.25, info.iso(START + 90)))
    result = SearchResult("a red car", hits, True, {}, {}, None)
    origin = Origin("ee", START, str(memory), "0", {"top": 2}, {"a": info})
    search = SearchRecord(origin, result, {("a", 7): b"jpeg"})
    save(search, memory)
    again, images = open_saved(memory / "answers" / "ee")
    assert again == search
    assert list(images) == [("a", 7)]


def test_forgetting_deletes_what_came_from_the_frames_and_nothing_else(memory: Path) -> None:
    save(record_of(memory, part(memory, "a", [10, 50]), part(memory, "b", [50], text="nobody")), memory)
    save(record_of(memory, part(memory, "a", [5], last=30, text="early"), id="before"), memory)
    with open_a(memory) as repository:
        forgotten = repository.forget(START + 40, START + 60)
    assert forgotten.erased.deleted >= 1
    said = texts_in(memory)
    assert SECRET not in said
    assert "a-50.jpg" not in said
    assert "early" in said  # its span ends before
    assert "nobody" in said  # another camera
    assert "b-50.jpg" in said
    opened, images = open_saved(memory / "answers" / "a1b2c3")
    assert isinstance(opened, AnswerRecord)
    assert [(item.camera, item.frame) for item in opened.answer.evidence] == [("a", 10), ("b", 50)]
    assert sorted(images) == [("a", 10), ("b", 50)]
    assert opened.about.forgotten == {"a": {"frames": 21, "shown": 1}}
    assert "forgotten on request" in opened.answer.text
    assert "nobody" in opened.answer.text


def test_an_answer_without_evidence_loses_its_text_too(memory: Path) -> None:
    save(record_of(memory, part(memory, "a", [])), memory)
    with open_a(memory) as repository:
        repository.forget(START + 40, START + 40)
    assert SECRET not in texts_in(memory)


def test_an_answer_that_never_saw_the_frames_keeps_its_text(memory: Path) -> None:
    with open_a(memory) as repository:
        repository.forget(START + 40, START + 60)
        save(record_of(memory, part(memory, "a", [10])), memory)
        repository.forget(START + 70, START + 70.5)
        assert SECRET not in texts_in(memory)
        save(record_of(memory, part(memory, "a", [10]), id="again"), memory)
        repository.forget(START + 40, START + 60)  # nothing is left there
    assert SECRET in texts_in(memory)


def test_evidence_of_evicted_frames_outlives_them_but_not_a_forget(memory: Path) -> None:
    save(record_of(memory, part(memory, "a", [10, 30], last=60)), memory)
    with open_a(memory) as repository:
        for number in range(100, 128):
            repository.append(make_frame(number, SPEC))
        repository.sync()
        repository.enforce(Limits(20.0, None))
        assert Memory(memory).camera("a").snapshot().ids[0] == 64
        opened, images = open_saved(memory / "answers" / "a1b2c3")
        assert sorted(images) == [("a", 10), ("a", 30)]
        assert "2 of the frames shown were evicted" in changes_since(opened, memory)[0]
        repository.forget(START + 25, START + 35)
    said = texts_in(memory)
    assert SECRET not in said
    assert "a-30.jpg" not in said
    assert "a-10.jpg" in said


def test_images_that_an_earlier_version_saved_are_found_and_forgotten(memory: Path) -> None:
    old = memory / "answers" / "0123456789ab"
    old.mkdir(parents=True)
    for frame in (50, 90):
        (old / f"a-{frame}.jpg").write_bytes(b"jpeg")
    with open_a(memory) as repository:
        repository.forget(START + 40, START + 60)
    assert sorted(path.name for path in old.iterdir()) == ["a-90.jpg"]
    with pytest.raises(MemoryNotFound):
        open_saved(old)
    assert [one.id for one in saved_directories(memory)] == ["0123456789ab"]


def test_a_damaged_part_is_deleted_with_the_frames_that_it_may_describe(memory: Path) -> None:
    save(record_of(memory, part(memory, "a", [10])), memory)
    path = memory / "answers" / "a1b2c3" / "a.part.json"
    path.write_text(path.read_text().replace(SECRET, SECRET + "!"))
    with pytest.raises(DamagedMemory, match="answers ID --delete"):
        open_saved(path.parent)
    with open_a(memory) as repository:
        repository.forget(START + 40, START + 60)
    assert not path.exists()
    opened, _ = open_saved(path.parent)
    assert isinstance(opened, AnswerRecord)
    assert opened.answer.parts == ()


@pytest.mark.parametrize("when", ["before the files", "after the images", "after the parts"])
def test_frames_that_are_forgotten_while_an_answer_is_saved_are_not_in_it(
    memory: Path, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    record = record_of(memory, part(memory, "a", [50]))
    write = saved_answers.write_answer

    def forget() -> None:
        with open_a(memory) as repository:
            repository.forget(START + 40, START + 60)

    def interrupted(directory: Path, document: dict, parts: dict, images: dict) -> None:  # type: ignore[type-arg]
        if when == "before the files":
            forget()
        write(directory, document, {}, images)
        if when == "after the images":
            forget()
        write(directory, document, parts, {})
        if when == "after the parts":
            forget()

    monkeypatch.setattr(saved_answers, "write_answer", interrupted)
    saved = save(record, memory)
    said = texts_in(memory)
    assert SECRET not in said
    assert "a-50.jpg" not in said
    assert saved.images == {}
    assert any("forgotten meanwhile" in note for note in saved.notes) == (when != "after the parts")


def test_two_writers_forget_in_one_answer_at_once(memory: Path) -> None:
    """Each camera has a file of its own, so that neither puts back what the other took out."""
    for number in range(6):
        save(record_of(memory, part(memory, "a", [50]), part(memory, "b", [50]), id=f"id{number}"), memory)

    def forget(camera: str) -> None:
        with open_a(memory, camera) as repository:
            repository.forget(START + 40, START + 60)

    threads = [threading.Thread(target=forget, args=(camera,)) for camera in ("a", "b")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert SECRET not in texts_in(memory)
    assert "-50.jpg" not in texts_in(memory)


def test_the_oldest_go_beyond_the_limits_and_it_is_said(memory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(saved_answers, "KEPT", 3)
    for number in range(5):
        saved = save(record_of(memory, part(memory, "a", [10]), id=f"id{number}"), memory)
        os.utime(memory / "answers" / f"id{number}" / RECORD, (1000 + number, 1000 + number))
        assert bool(saved.notes) == (number >= 3)
    assert "the oldest saved answer was deleted" in saved.notes[0]
    assert [one.id for one in saved_directories(memory)] == ["id4", "id3", "id2"]
    monkeypatch.setattr(saved_answers, "KEPT_BYTES", 1)
    save(record_of(memory, part(memory, "a", [10]), id="id5"), memory)
    assert [one.id for one in saved_directories(memory)] == ["id5"]


def test_a_user_who_asks_much_pushes_out_their_own_answers(memory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(saved_answers, "KEPT", 4)

    def saved(id: str, user: str | None) -> tuple[str, ...]:
        record = record_of(memory, part(memory, "a", [10]), id=id)
        notes = save(replace(record, about=replace(record.about, user=user)), memory).notes
        when = 1000 + len(seen)
        seen.append(id)
        if (memory / "answers" / id).exists():
            os.utime(memory / "answers" / id / RECORD, (when, when))
        return notes

    seen: list[str] = []
    for id, user in (("ann1", "ann"), ("own1", None), ("bob1", "bob"), ("bob2", "bob")):
        saved(id, user)
    notes = saved("bob3", "bob")
    assert notes == (
        "the oldest saved answer of whoever has the most was deleted: a memory keeps 4 of them, up to 1 GB",
    )
    for number in range(4, 9):
        saved(f"bob{number}", "bob")
    assert [one.id for one in saved_directories(memory)] == ["bob8", "bob7", "own1", "ann1"]
    saved("ann2", "ann")
    assert [one.id for one in saved_directories(memory)] == ["ann2", "bob8", "bob7", "own1"]  # as many: the older
    monkeypatch.setattr(saved_answers, "KEPT_BYTES", 1)
    saved("ann3", "ann")
    assert [one.id for one in saved_directories(memory)] == ["ann3"]


def test_an_id_may_be_shortened_while_it_is_unique(memory: Path) -> None:
    for id in ("abc1", "abc2", "d"):
        save(record_of(memory, part(memory, "a", [10]), id=id), memory)
    assert find_saved(memory, "abc1").id == "abc1"
    assert find_saved(memory, "d").id == "d"
    for wrong, why in (
        ("abc", "may be any of"),
        ("x", "no saved answer 'x'"),
        ("", "no saved answer"),
        ("../a", "no saved"),
    ):
        with pytest.raises(UsageError, match=why):
            find_saved(memory, wrong)


def test_a_memory_that_cannot_be_written_is_said(memory: Path) -> None:
    (memory / "answers").write_text("a file")
    saved = save(record_of(memory, part(memory, "a", [10])), memory)
    assert not saved.kept
    assert saved.directory is not None
    assert str(saved.directory) in saved.notes[0]
    assert "`forget` does not reach it" in saved.notes[0]
    assert Path(saved.images["a", 10]).read_bytes() == make_frame(10, SPEC).image


def test_a_memory_that_was_deleted_is_not_made_again(memory: Path) -> None:
    record = record_of(memory, part(memory, "a", [10]))
    shutil.rmtree(memory)
    assert not save(record, memory).kept
    assert not memory.exists()


def test_nothing_is_saved_in_the_copy_of_a_store(memory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = memory.parent / "cache"
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    copy = cache / "afterview" / "stores" / "0123"
    copy.parent.mkdir(parents=True)
    memory.rename(copy)
    saved = save(record_of(copy, part(copy, "a", [10])), copy)
    assert not saved.kept
    assert not (copy / "answers").exists()


def test_a_full_disk_leaves_no_half_of_an_answer(memory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write: Callable[..., None] = saved_answers.write_answer

    def full(directory: Path, *rest: object) -> None:
        if directory.parent.name == "answers":
            directory.mkdir(parents=True)
            (directory / "a-10.jpg").write_bytes(b"half")
            raise OSError(28, "No space left on device", str(directory))
        write(directory, *rest)

    monkeypatch.setattr(saved_answers, "write_answer", full)
    saved = save(record_of(memory, part(memory, "a", [10])), memory)
    assert "No space left on device" in saved.notes[0]
    assert saved_directories(memory) == []


def test_removals_of_other_spans_do_not_count(memory: Path) -> None:
    """What is known of frames outside the span of an answer changes nothing."""
    save(record_of(memory, part(memory, "a", [80], first=70)), memory)
    opened, _ = open_saved(memory / "answers" / "a1b2c3")
    with open_a(memory) as repository:
        assert repository.forget(START + 10, START + 20).frames == 11
    assert open_saved(memory / "answers" / "a1b2c3")[0].about == opened.about


def test_several_answers_are_saved_and_pruned_at_once(memory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(saved_answers, "KEPT", 2)
    record = record_of(memory, part(memory, "a", [10, 20, 30]))
    failures: list[BaseException] = []

    def ask(name: str) -> None:
        try:
            for number in range(5):
                save(replace(record, about=replace(record.about, id=f"{name}{number}")), memory)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=ask, args=(name,)) for name in "pqrs"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    known = saved_directories(memory)
    assert 1 <= len(known) <= 5
    for one in known:
        opened, images = open_saved(one.path)
        assert len(images) == 3
        assert opened.about.id == one.id


def test_forgetting_reaches_what_was_saved_under_a_former_name(memory: Path) -> None:
    save(record_of(memory, part(memory, "a", [10, 11]), part(memory, "b", [10], text="nobody")), memory)
    shutil.copytree(memory / "b", memory / "copy")
    (memory / "a").rename(memory / "lobby")
    with open_a(memory, "copy") as repository:
        repository.forget(START, START + 99)
    assert "b-10.jpg" in texts_in(memory)
    with open_a(memory, "lobby") as repository:
        repository.forget(START + 10, START + 10)
    assert "a-10.jpg" not in texts_in(memory)
    assert "a-11.jpg" in texts_in(memory)
    assert SECRET not in texts_in(memory)
    assert "nobody" in texts_in(memory)


def test_a_saved_answer_that_may_not_be_read_does_not_vanish(tmp_path: Path, recorded: Path) -> None:
    with public_directory() as place:
        memory = Path(shutil.copytree(recorded, place / "m"))
        save(record_of(memory, part(memory, "a", [10])), memory)
        (memory / "answers" / "a1b2c3").chmod(0)
        with unprivileged():
            assert find_saved(memory, "a1b").id == "a1b2c3"
            with pytest.raises(Unreadable, match="may not enter"):
                open_saved(memory / "answers" / "a1b2c3")


def test_saving_reads_no_other_answer_again(memory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each answer has a file per frame that it shows: a service that read them all at every question would become slower and slower."""
    monkeypatch.setattr(answer_files, "_SETTLED_NS", -1, raising=False)
    opened: list[str] = []
    scandir = os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: opened.append(os.path.basename(path)) or scandir(path))
    record = record_of(memory, part(memory, "a", [10]))
    reads = []
    for number in range(12):
        opened.clear()
        save(replace(record, about=replace(record.about, id=f"id{number}")), memory)
        reads.append([name for name in opened if name.startswith("id")])
    assert reads == [[f"id{number}"] for number in range(12)]
    assert len(saved_directories(memory)) == 12


def test_what_is_known_of_a_saved_answer_follows_its_changes(memory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answer_files, "_SETTLED_NS", -1)
    save(record_of(memory, part(memory, "a", [10, 11])), memory)
    save(record_of(memory, part(memory, "b", [10]), id="other"), memory)
    before = {one.id: one.bytes for one in saved_directories(memory)}
    time.sleep(0.02)  # a tick of the file system's clock
    with open_a(memory) as repository:
        repository.forget(START + 10, START + 10)
    after = {one.id: one.bytes for one in saved_directories(memory)}
    assert after["a1b2c3"] == sum(file.stat().st_size for file in (memory / "answers" / "a1b2c3").iterdir())
    assert after["a1b2c3"] < before["a1b2c3"]
    assert after["other"] == before["other"]
    shutil.rmtree(memory / "answers" / "other")
    assert [one.id for one in saved_directories(memory)] == ["a1b2c3"]
