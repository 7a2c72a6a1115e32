"""Online benchmarks: their formats, and a protocol that stops where a harness would cheat."""

import json
import math
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from afterview.configs import AfterviewError
from afterview.memory.base.errors import NothingRecorded
from afterview.model.checkpoint.loading import load_pretrained
from afterview.model.checkpoint.models import AfterviewModel
from afterview.training.base.errors import BenchmarkError
from afterview.training.evaluation.benchmarks.asking import Asked, MemoryAsker, Reply
from afterview.training.evaluation.benchmarks.base import Item, Options, Problems, Reading, Standing
from afterview.training.evaluation.benchmarks.features import VideoMemories
from afterview.training.evaluation.benchmarks.online import Watched, run_online
from afterview.training.evaluation.benchmarks.registry import find_benchmark
from afterview.training.evaluation.benchmarks.running import Share, Work
from afterview.training.evaluation.benchmarks.tasks import moments, tasks_of
from afterview.training.evaluation.results import ResultsWriter, RunIdentity, read_rows
from afterview.training.world import World, make_script
from afterview.training.world.video import VideoFormat, write_video
from tests.support.benchmark_data import COLOURS, MADE_ONLINE, QUESTION
from tests.support.clips import make_clip
from tests.support.presets import small_model

SECONDS = 12


@pytest.fixture(scope="module")
def model() -> AfterviewModel:
    return small_model()


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_clip(tmp_path_factory.mktemp("clip") / "clip.mp4", frames=SECONDS * 2, rate=2)


@pytest.fixture(scope="module")
def memory(tmp_path_factory: pytest.TempPathFactory, model: AfterviewModel, clip: Path) -> Path:
    return VideoMemories(tmp_path_factory.mktemp("memories"), model.encoders, dense=False).memory(clip)


@dataclass
class Honest:
    """Sees what was shown by the moment asked. yes_at: from then on it says yes to polls."""

    yes_at: float = 5.0
    output: str = "ring"
    vague_at: float | None = None
    asked: list[Asked] = field(default_factory=list)

    def ask(self, asked: Asked) -> Reply:
        self.asked.append(asked)
        assert asked.end_s is not None
        if "Is it the right time" in asked.prompt:
            vague = self.vague_at is not None and asked.end_s >= self.vague_at
            text = "Yes" if asked.end_s >= self.yes_at else "No, not yet. Later yes" if vague else "No"
        else:
            text = self.output if "output" in asked.prompt else "A"
        return Reply(text, 0.1, 0.05, newest_s=float(int(asked.end_s)))

    def weigh(self, asked: Asked, choices: Any) -> Reply:
        raise AssertionError("nothing is weighed online")


def read(name: str, directory: Path, **options: Any) -> Reading:
    return find_benchmark(name).read(MADE_ONLINE[name](directory), Options(**options))


def run(out: Path, name: str, reading: Reading, asker: Any, memory: Path, **work: Any) -> dict[str, Any]:
    own = Work(find_benchmark(name), reading.items, lambda video: memory, lambda place: asker, **work)
    with ResultsWriter(out, RunIdentity("benchmark", name, "", "", ""), command=[]) as results:
        return run_online(own, results, reading)


def test_streamingbench_in_four_sets(tmp_path: Path) -> None:
    reading = read("streamingbench", tmp_path)
    by_set = {
        name: [item for item in reading.items if item.groups["set"] == name]
        for name in ("real", "omni", "sqa", "proactive")
    }
    assert {name: len(items) for name, items in by_set.items()} == {"real": 2, "omni": 1, "sqa": 2, "proactive": 1}
    assert reading.problems["time unreadable"] == 1
    first, bare = by_set["real"]
    assert (first.at_s, first.truth, bare.at_s) == (6.0, "A", 3.0)
    assert bare.options == dict(zip("ABCD", COLOURS, strict=True))
    assert bare.prompt.endswith(
        f"Question: {QUESTION}\n\nOptions:\nA. red\nB. blue\nC. green\nD. orange\n\nThe best option is:"
    )
    one, two = by_set["sqa"]
    assert "At timestamp" not in one.prompt
    assert f"At timestamp 00:00:02, the following question and answer occurred: Question: {QUESTION};" in two.prompt
    assert two.question == QUESTION  # frames are not recalled by the conversation
    (proactive,) = by_set["proactive"]
    assert proactive.polls == (3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0)  # one second after it is set, to four after the truth
    assert (proactive.truth, proactive.truth_s) == ("ring", (5.0, 5.0))
    assert [item.groups["set"] for item in read("streamingbench", tmp_path, split="omni").items] == ["omni"]


def test_what_is_told_of_earlier_questions_is_earlier_in_time_and_was_asked(tmp_path: Path) -> None:
    read("streamingbench", tmp_path)
    (path,) = tmp_path.rglob("questions_sqa.json")
    (rows,) = json.loads(path.read_text())
    video = rows[0] if isinstance(rows, list) else rows
    asked = video["questions"][0]
    late, early, none = (
        {**asked, "question": f"{name}?", "time_stamp": time, "answer": answer}
        for name, time, answer in (("LATE", "00:05:00", "C"), ("EARLY", "00:01:00", "B"), ("NONE", "00:00:30", None))
    )
    path.write_text(json.dumps([[{**video, "questions": [late, early, none]}]]))
    one, two = find_benchmark("streamingbench").read(tmp_path, Options(split="sqa")).items
    assert (one.question, two.question) == ("EARLY?", "LATE?")
    assert "occurred" not in one.prompt
    assert "EARLY?" in two.prompt
    assert "NONE?" not in two.prompt


def test_no_field_names_a_folder_outside_the_data(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "x.mp4").touch()
    data = tmp_path / "data"
    read("streamingbench", data)
    (path,) = data.rglob("questions_real.json")
    rows = json.loads(path.read_text())
    for folder in (str(secret), "../secret"):
        question = {**rows[0]["questions"][0], "task_type": folder}
        path.write_text(json.dumps([{**rows[0], "video_path": "x.mp4", "questions": [question]}]))
        reading = find_benchmark("streamingbench").read(data, Options(split="real"))
        assert (reading.items, reading.problems["video missing"]) == ((), 1)


def test_streamingbench_as_csv_files(tmp_path: Path) -> None:
    row = "Real-Time Visual Understanding_sample_3_2,Counting,How many?,00:01:05,B"
    text = f"question_id,task_type,question,time_stamp,answer,options\n{row},\"['A. 1', 'B. 2']\"\n"
    (tmp_path / "Real_Time_Visual_Understanding.csv").write_text(text)
    place = tmp_path / "videos" / "real" / "sample_3"
    place.mkdir(parents=True)
    (place / "video.mp4").touch()
    (item,) = find_benchmark("streamingbench").read(tmp_path, Options(split="real")).items
    assert (item.at_s, item.options, item.truth, item.video) == (65.0, {"A": "1", "B": "2"}, "B", place / "video.mp4")


def test_ovobench_in_three_modes(tmp_path: Path) -> None:
    reading = read("ovo-bench", tmp_path)
    asked = [item for item in reading.items if item.standing is None]
    assert [(item.id, item.at_s, item.truth, item.groups["mode"]) for item in asked] == [
        ("0", 9.5, "A", "backward"), ("1", 4.0, "A", "realtime"), ("3_0", 3.0, "0", "forward"), ("3_1", 7.5, "2", "forward"),
        ("4_0", 5.0, "Yes", "forward"), ("5_0", 2.0, "No", "forward"), ("5_1", 6.0, "Yes", "forward"),
    ]  # fmt: skip
    assert reading.problems["answer is no option"] == 1  # gt 7 of four
    assert "How many times did they jump?" in reading.items[2].prompt
    assert len(read("ovo-bench", tmp_path, split="backward").items) == 1


def test_ovobench_takes_clips_that_end_at_the_moment(tmp_path: Path) -> None:
    directory = MADE_ONLINE["ovo-bench"](tmp_path)
    (directory / "src_videos" / "x" / "a.mp4").unlink()
    (directory / "chunked_videos").mkdir()
    for name in ("0", "3_1"):
        (directory / "chunked_videos" / f"{name}.mp4").touch()
    reading = find_benchmark("ovo-bench").read(directory, Options())
    assert [(item.id, item.video.name) for item in reading.items] == [("0", "0.mp4"), ("3_1", "3_1.mp4")]
    assert reading.missing
    assert reading.problems["no source video for a standing question"] == 3  # a clip ends at the moment of a poll


@pytest.mark.parametrize(
    ("truth", "task", "answer", "strict", "official"),
    [
        ("2", "REC", "2", 1, 1), ("2", "REC", "Two times.", 1, 0), ("23", "REC", "2 or 3", 0, 1), ("2", "REC", "", 0, 0),
        ("Yes", "SSR", "Y", 0, 1), ("Yes", "SSR", "Yes", 1, 1), ("No", "CRR", "Not yet", 0, 1), ("No", "CRR", "no", 1, 0),
        ("Yes", "CRR", "Yes or No", 0, 1),
    ],
)  # fmt: skip
def test_ovobench_scores(truth: str, task: str, answer: str, strict: float, official: float) -> None:
    item = Item("1", Path("v"), "?", "?", truth=truth, groups={"task": task})
    assert find_benchmark("ovo-bench").score(item, answer) == {"strict": strict, "official": official}


@pytest.mark.parametrize("name", MADE_ONLINE)
def test_one_pass_in_order_and_both_contexts(name: str, tmp_path: Path, memory: Path) -> None:
    reading, asker = read(name, tmp_path), Honest()
    document = run(tmp_path / "out", name, reading, asker, memory)
    assert document["complete"]
    ends = [asked.end_s for asked in asker.asked]
    assert ends == sorted(ends)  # type: ignore[type-var]
    assert any(name.endswith("last 60 s") for name in document["scores"])
    assert document["online"]["lag_s"]["p50"] is not None
    assert document["online"]["first_token_s"]["p99"] == 0.05
    row = read_rows(tmp_path / "out")[0]
    log = row.details["log"]["all"]
    assert log["memory_frames"] == int(log["at_s"]) + 1
    assert log["newest_frame_s"] <= log["at_s"]
    assert log["memory_bytes"] > 0
    assert json.loads((tmp_path / "out" / "results.json").read_text())["online"]["answers"] >= len(reading.items)


def test_the_last_minute_begins_sixty_seconds_before(tmp_path: Path, memory: Path) -> None:
    item = Item("1", tmp_path / "v", "?", "?", {"A": "x", "B": "y"}, "A", at_s=70.5)
    asker = Honest()
    run(tmp_path / "out", "ovo-bench", Reading((item,), Problems(), ()), asker, memory)
    assert [(asked.start_s, asked.end_s) for asked in asker.asked] == [(None, 70.5), (10.5, 70.5)]


@pytest.mark.parametrize(
    ("asker", "scores", "polls"),
    [
        (Honest(yes_at=5.0), {"strict time": 1, "strict": 1, "official time": 1, "official": 1}, 3),
        (Honest(yes_at=7.0, output="a ring"), {"strict time": 1, "strict": 0, "official time": 1, "official": 1}, 5),
        (Honest(yes_at=8.0), {"strict time": 0, "strict": 0, "official time": 0, "official": 0}, 6),
        (Honest(yes_at=99.0), {"strict time": 0, "strict": 0, "official time": 0, "official": 0}, 7),
        # Any `yes` ends the official polls: `No, not yet. Later yes` at 4 s.
        (Honest(yes_at=8.0, vague_at=4.0), {"strict time": 0, "strict": 0, "official time": 1, "official": 1}, 6),
    ],
)
def test_proactive_output_is_polled_until_the_answer_is_yes(
    asker: Honest, scores: dict[str, float], polls: int, tmp_path: Path, memory: Path
) -> None:
    reading, own = read("streamingbench", tmp_path, split="proactive"), replace(asker, asked=[])
    run(tmp_path / "out", "streamingbench", reading, own, memory)
    (row,) = read_rows(tmp_path / "out")
    assert {name: value for name, value in row.scores.items() if not name.startswith("standing")} == scores
    assert len(row.details["polls"]) == polls


def test_polls_of_several_items_interleave_in_time(tmp_path: Path) -> None:
    items = [
        Item("a", Path("v"), "?", "?", polls=(1.0, 3.0)),
        Item("b", Path("v"), "?", "?", standing=Standing("?", 2.0, 3.5, ())),
        Item("c", Path("v"), "?", "?", at_s=2.5),
    ]
    work = Work(find_benchmark("ovo-bench"), items, lambda video: video, lambda place: Honest())
    tasks = [task for item in items for task in tasks_of(work, item)]
    assert [(time, task.item.id) for time, task in moments(tasks, [0.0, 1.0, 2.0, 3.0, 4.0])] == [
        (1.0, "a"), (2.0, "b"), (2.5, "c"), (3.0, "a"), (3.0, "b"),
    ]  # fmt: skip


@dataclass
class Alarming(Honest):
    """Says yes to a check while a moment lies in one of the spans; to polls as Honest does."""

    spans: tuple[tuple[float, float], ...] = ((5.0, 99.0),)

    def ask(self, asked: Asked) -> Reply:
        reply = super().ask(asked)
        assert asked.end_s is not None
        if "output it now" in asked.prompt or "Yes\u201d or" in asked.prompt:
            now = any(first <= asked.end_s <= last for first, last in self.spans)
            reply = replace(reply, text="Yes." if now else "No." if asked.end_s < 11 else "Hard to say")
        return reply


@pytest.mark.parametrize(
    ("spans", "scores", "log"),
    [
        (((5, 99),), (1, 1, 1, 1), ([5.0], [0.0], 0, 0)),  # it holds on: one alarm
        (((7, 99),), (1, 1, 1, 1), ([7.0], [2.0], 0, 0)),
        (((8, 99),), (0, 0, 0, 0), ([8.0], [None], 1, 0)),
        (((2, 2), (5, 5)), (0, 1, 0.5, 0), ([2.0, 5.0], [0.0], 1, 0)),  # the first alarm was false
        (((4, 4), (6, 6)), (1, 1, 0.5, 1), ([4.0, 6.0], [-1.0], 0, 1)),  # one moment, two alarms
        (((5, 5), (9, 10)), (1, 1, 0.5, 1), ([5.0, 9.0], [0.0], 1, 0)),  # after the truth the polls have ended
        (((0, 1),), (0, 0, None, 0), ([], [None], 0, 0)),  # before it was set
        (((2, 99),), (0, 0, 0, 0), ([2.0], [None], 1, 0)),  # always yes: one false alarm, and nothing found
    ],
)
def test_the_same_as_a_standing_question(
    spans: Any, scores: tuple[float | None, ...], log: Any, tmp_path: Path, memory: Path
) -> None:
    reading, asker = read("streamingbench", tmp_path, split="proactive"), Alarming(spans=spans)
    document = run(tmp_path / "out", "streamingbench", reading, asker, memory)
    (row,) = read_rows(tmp_path / "out")
    names = ("standing time", "standing recall", "standing precision", "standing")
    assert tuple(row.scores.get(name) for name in names) == scores
    own = row.details["standing"]
    assert (own["alarms_s"], own["lags_s"], own["false_alarms"], own["repeated_alarms"]) == log
    assert (own["checks"], own["unclear"], own["watched_s"]) == (10, int(not spans[-1][1] >= 11), 9.0)  # 2 s to 11 s
    assert document["proactive"]["standing"]["false_alarms"] == log[2]
    assert document["proactive"]["polled strict"]["found"] == 1
    assert document["scores"]["standing time"]["value"] == scores[0]
    checks = [asked for asked in asker.asked if "output it now" in asked.prompt]
    assert [asked.end_s for asked in checks] == [float(second) for second in range(2, SECONDS)]  # every frame
    assert not any('output "ring"?' in asked.prompt for asked in checks)  # only polls are told the output


def test_a_real_model_speaks_up_at_the_frame_that_shows_the_thing(tmp_path: Path) -> None:
    script = make_script(104, 32.0)  # shows it from 18.5 s to 21.5 s
    write_video(World.of(script), tmp_path / "story.mp4", video=VideoFormat(rate=2))
    (shown,) = [event for event in script.events if event.name == "red circle"]
    tiny = load_pretrained("tiny")
    check, due = f"Was there a {shown.name}?", float(math.ceil(shown.start_s))
    standing = Standing(check, due - 5, due + 4, ((shown.start_s, shown.end_s),))
    item = Item("1", tmp_path / "story.mp4", check, check, groups={"task": "CRR"}, standing=standing)
    memory = VideoMemories(tmp_path / "memories", tiny.encoders, dense=False).memory(item.video)
    document = run(tmp_path / "out", "ovo-bench", Reading((item,), Problems(), ()), MemoryAsker(memory, tiny), memory)
    (row,) = read_rows(tmp_path / "out")
    assert row.details["standing"]["alarms_s"] == [due]
    assert row.details["standing"]["unclear"] == 0
    assert row.scores == {"standing time": 1, "standing recall": 1, "standing precision": 1}
    assert document["proactive"]["standing"]["lag_s"]["p50"] == pytest.approx(due - shown.start_s, abs=1e-3)


def test_forward_tasks_of_ovobench_as_standing_questions(tmp_path: Path, memory: Path) -> None:
    reading = read("ovo-bench", tmp_path, split="forward")
    standing = {item.id: item.standing for item in reading.items if item.standing is not None}
    assert {name: (own.set_s, own.until_s, own.truths) for name, own in standing.items()} == {
        "3_standing": (0.0, 62.0, ((2.0, 2.0),)),  # when the motion is complete
        "4_standing_0": (0.0, 66.0, ((4.0, 6.0),)),
        "5_standing": (2.0, 66.0, ((6.0, 6.0),)),  # from its ask_time on
    }
    assert "they complete this action: jump" in standing["3_standing"].check
    asker = Alarming(spans=((4, 5), (7, 8)))
    document = run(tmp_path / "out", "ovo-bench", reading, asker, memory)
    rows = {row.id: row for row in read_rows(tmp_path / "out")}
    assert rows["4_standing_0"].scores == {"standing time": 1, "standing recall": 1, "standing precision": 0.5}
    assert rows["4_standing_0"].details["standing"]["repeated_alarms"] == 1
    assert rows["5_standing"].details["standing"]["lags_s"] == [-2.0]
    assert rows["3_standing"].answer == "4 s, 7 s"
    assert document["groups"]["task"]["SSR"]["strict"]["n"] == 1  # a standing question is no item of the official score
    assert document["proactive"]["standing"]["questions"] == 3
    assert "polled strict" not in document["proactive"]  # forward tasks are polled at their published moments


def test_odd_forward_rows_are_counted(tmp_path: Path) -> None:
    directory = MADE_ONLINE["ovo-bench"](tmp_path)
    path = directory / "ovo_bench_new.json"
    rec, ssr, crr = json.loads(path.read_text())[3:]
    test = {"realtime": 5, "step": "fold it", "type": 1}
    rows = [
        {**rec, "end_times": [2, 3]}, {**rec, "id": 6, "start_times": "soon"}, {**crr, "clue_time": None}, {**crr, "id": 8, "clue_time": 1},
        {**ssr, "all_steps": ["a", "b"], "test_info": [test, {**test, "step": "open it", "type": 0}]},
        {**ssr, "id": 7, "start_time": [1, 7], "end_time": [2, 9], "all_steps": ["cut", "cut"]},
    ]  # fmt: skip
    path.write_text(json.dumps(rows))
    reading = find_benchmark("ovo-bench").read(directory, Options())
    standing = {item.id: item.standing for item in reading.items if item.standing is not None}
    assert {name: own.truths for name, own in standing.items()} == {
        "4_standing_0": ((4.0, 6.0),),  # steps and times do not pair: by the poll that is answered with yes
        "7_standing_0": ((1.0, 2.0), (7.0, 9.0)),  # one question, two moments
    }
    assert reading.problems["no time of a standing question"] == 3
    assert reading.problems["truth before the question"] == 1


@pytest.mark.parametrize(("name", "file", "key"), [("ovo-bench", "ovo_bench_new", "id"), ("rvs", "*ego*", "video_id")])
def test_a_row_without_an_id_is_counted_and_left_out(name: str, file: str, key: str, tmp_path: Path) -> None:
    whole = read(name, tmp_path)
    (path,) = tmp_path.rglob(f"{file}.json")
    first, *rest = json.loads(path.read_text())
    path.write_text(json.dumps([first, *({**first, key: value} for value in (None, " ", True)), *rest]))
    reading = find_benchmark(name).read(tmp_path, Options())
    assert reading.problems["no id"] == 3
    assert reading.items == whole.items


def test_counts_and_types_of_ovobench_are_whole_numbers(tmp_path: Path) -> None:
    """`2.0`, as a table with empty cells has it, is two."""
    directory = MADE_ONLINE["ovo-bench"](tmp_path)
    path = directory / "ovo_bench_new.json"
    rec, _, crr = json.loads(path.read_text())[3:]
    rec["test_info"] = [{"realtime": 3, "count": count} for count in (2.0, "02", 2.5, "two", -1, None)]
    crr["test_info"] = [{"realtime": 2, "type": given} for given in (1.0, "0.0", 3)]
    path.write_text(json.dumps([rec, crr]))
    reading = find_benchmark("ovo-bench").read(directory, Options())
    assert [item.truth for item in reading.items if item.standing is None] == ["2", "2", "Yes", "No"]
    assert (reading.problems["answer unreadable"], reading.problems["no answer published"]) == (4, 1)


def test_seeing_the_next_second_is_caught(tmp_path: Path, memory: Path) -> None:
    class Ahead(Honest):
        def ask(self, asked: Asked) -> Reply:
            assert asked.end_s is not None
            return replace(super().ask(asked), newest_s=float(int(asked.end_s) + 1))

    with pytest.raises(BenchmarkError, match=r"a question at 4.0 s saw a frame of 5.0 s"):
        run(tmp_path / "out", "ovo-bench", read("ovo-bench", tmp_path, split="realtime"), Ahead(), memory)


def test_questions_out_of_order_are_caught(memory: Path) -> None:
    watched = Watched(Honest(), memory)
    watched.ask(Asked("?", "?", None, 5.0))
    with pytest.raises(BenchmarkError, match="asked in order"):
        watched.ask(Asked("?", "?", None, 4.0))
    with pytest.raises(BenchmarkError, match="asked in order"):
        Watched(Honest(), memory).ask(Asked("?", "?"))  # of all time


def test_an_answer_that_changes_the_memory_is_caught(tmp_path: Path, model: AfterviewModel, clip: Path) -> None:
    place = VideoMemories(tmp_path, model.encoders, dense=False).memory(clip)

    class Writing(Honest):
        def ask(self, asked: Asked) -> Reply:
            (place / "video" / "note").write_text(asked.prompt)
            return super().ask(asked)

    with pytest.raises(BenchmarkError, match=r"a question changed the memory \(video/note\)"):
        Watched(Writing(), place).ask(Asked("?", "?", None, 5.0))


def test_a_real_answer_sees_nothing_later_and_leaves_the_memory(memory: Path, model: AfterviewModel) -> None:
    watched = Watched(MemoryAsker(memory, model), memory)
    for time, newest in ((0.0, 0.0), (2.999, 2.0), (3.0, 3.0), (9.5, 9.0)):
        reply = watched.ask(Asked(QUESTION, QUESTION, None, time, max_new_tokens=1))
        assert (reply.newest_s, reply.frames) == (newest, int(newest) + 1)
    last = watched.ask(Asked(QUESTION, QUESTION, 6.0, 11.0, max_new_tokens=1))
    assert last.frames == 6


def test_a_question_before_the_first_frame_has_an_empty_answer(memory: Path) -> None:
    class Nothing(Honest):
        def ask(self, asked: Asked) -> Reply:
            raise NothingRecorded("nothing yet")

    assert Watched(Nothing(), memory).ask(Asked("?", "?", None, 0.0)).text == ""


def test_online_memories_hold_one_frame_a_second(memory: Path, tmp_path: Path, model: AfterviewModel) -> None:
    published = replace(model.encoders, preset=model.encoders.preset.model_copy(update={"short_videos": "published"}))
    offline, online = (VideoMemories(tmp_path, published, dense=dense) for dense in (True, False))
    clip = make_clip(tmp_path / "c.mp4", frames=SECONDS * 2, rate=2)
    assert offline.place(clip) != online.place(clip)
    assert len(Watched(Honest(), online.memory(clip)).times) == SECONDS
    assert len(Watched(Honest(), offline.memory(clip)).times) == 2 * SECONDS  # densely, as published


def test_only_seconds_without_a_frame_are_missing(memory: Path) -> None:
    """Frames of 29.97 a second lie a little after each second, and after the video's end nothing is missing."""
    watched = Watched(Honest(), memory)
    watched.times = [0.0, 1.001, 2.002, 3.003, 7.007]
    for time, missing in ((0.0, 0), (1.0, 0), (3.5, 0), (7.5, 3), (100.0, 3)):
        assert watched.log(time, Reply("", newest_s=0.0))["missing_frames"] == missing
    assert watched.ends_s == pytest.approx(8.007)


def test_a_question_after_the_videos_end_is_named(tmp_path: Path, memory: Path) -> None:
    reading = read("streamingbench", tmp_path, split="real")
    late = replace(reading.items[0], id="late", at_s=500.0)
    reading = replace(reading, items=(*reading.items, late))
    document = run(tmp_path / "out", "streamingbench", reading, Honest(), memory)
    (problem,) = [one for one in document["problems"] if one["kind"] == "asked after the video's end"]
    assert problem["examples"][0].startswith("late: 500 s of ")
    again = run(tmp_path / "out", "streamingbench", reading, Honest(), memory)  # nothing is left to ask
    assert again["problems"] == document["problems"]
    assert again["online"] == document["online"]


def test_a_truth_after_the_videos_end_is_named_once_an_item(tmp_path: Path, memory: Path) -> None:
    reading = read("streamingbench", tmp_path, split="proactive")
    (item,) = reading.items
    assert item.standing is not None
    standing = replace(item.standing, truths=((5.0, 5.0), (SECONDS + 1.0, 99.0)))
    items = (
        replace(item, truth_s=(50.0, 50.0), standing=replace(standing, truths=((50.0, 50.0),))),
        replace(item, id="watched", polls=(), truth_s=None, standing=standing),
        replace(item, id="shown", truth_s=(SECONDS - 0.5, 99.0)),  # its span begins before the end
    )
    document = run(tmp_path / "out", "streamingbench", replace(reading, items=items), Honest(), memory)
    (problem,) = document["problems"]
    assert (problem["kind"], problem["count"]) == ("truth after the video's end", 2)
    assert [example.split(": ")[1] for example in problem["examples"]] == ["50 s of 12 s", "13 s of 12 s"]


def test_an_item_that_cannot_be_asked_is_counted_once(tmp_path: Path, memory: Path) -> None:
    class Broken(Honest):
        def ask(self, asked: Asked) -> Reply:
            super().ask(asked)
            if asked.end_s == 4.0:
                raise AfterviewError("the prompt is too long")
            return Reply("No", 0.1)

    reading, asker = read("streamingbench", tmp_path, split="proactive"), Broken()
    document = run(tmp_path / "out", "streamingbench", reading, asker, memory)
    (problem,) = document["problems"]
    assert (problem["kind"], problem["count"]) == ("item cannot be asked", 1)
    assert (document["answered"], max(asked.end_s or 0.0 for asked in asker.asked)) == (0, 4.0)  # nothing after it


def test_figures_are_of_the_rows_of_all_processes(tmp_path: Path, memory: Path) -> None:
    """Also of those that another one wrote after this one began."""
    item = Item("a", tmp_path / "a.mp4", "?", "?", {"A": "x", "B": "y"}, "A", at_s=500.0)
    items = (item, replace(item, id="b", video=tmp_path / "b.mp4"))
    identity = RunIdentity("benchmark", "ovo-bench", "", "", "")
    documents = []
    with ExitStack() as stack:
        shares = [Share(process, 2) for process in (0, 1)]
        writers = [ResultsWriter(tmp_path, identity, command=[], **asdict(share)) for share in shares]
        for writer, share in zip([stack.enter_context(writer) for writer in writers], shares, strict=True):
            work = Work(find_benchmark("ovo-bench"), items, lambda _: memory, lambda _: Honest(), share=share)
            documents.append(run_online(work, writer, Reading(items, Problems(), ())))
    assert [document["online"]["answers"] for document in documents] == [2, 4]  # about all, and about the last minute
    assert [problem["count"] for problem in documents[1]["problems"]] == [2]


def test_of_two_that_end_together_the_later_has_the_figures_of_both(
    tmp_path: Path, memory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    item = Item("a", tmp_path / "a.mp4", "?", "?", {"A": "x", "B": "y"}, "A", at_s=500.0)
    items = (item, replace(item, id="b", video=tmp_path / "b.mp4"))
    plain, earlier = ResultsWriter.finish, [Share(1, 2)]

    def ask(share: Share) -> dict[str, Any]:
        with ResultsWriter(
            tmp_path, RunIdentity("benchmark", "ovo-bench", "", "", ""), command=[], **asdict(share)
        ) as results:
            work = Work(find_benchmark("ovo-bench"), items, lambda _: memory, lambda _: Honest(), share=share)
            return run_online(work, results, Reading(items, Problems(), ()))

    def finish(self: ResultsWriter, *arguments: Any, **more: Any) -> dict[str, Any]:
        if earlier:  # process 1 ends after process 0 has made these arguments
            ask(earlier.pop())
        return plain(self, *arguments, **more)

    monkeypatch.setattr(ResultsWriter, "finish", finish)
    document = ask(Share(0, 2))
    assert (document["answered"], document["online"]["answers"]) == (2, 4)
    assert [problem["count"] for problem in document["problems"]] == [2]


def test_polls_and_checks_are_timed_beside_the_answers(tmp_path: Path, memory: Path) -> None:
    reading = read("streamingbench", tmp_path, split="proactive")
    document = run(tmp_path / "out", "streamingbench", reading, Honest(yes_at=99.0), memory)  # no alarm, so no answer
    online = document["online"]
    assert (online["answers"], online["lag_s"], online["most_memory_frames"]) == (0, None, SECONDS)
    even = {"p50": 0.05, "p95": 0.05, "p99": 0.05}, {"p50": 0.0, "p95": 0.0, "p99": 0.0}
    for kind, count in (("polls", 7), ("checks", 10)):
        assert online[kind] == {"asked": count, "first_token_s": even[0], "lag_s": even[1]}


def test_one_output_that_two_rules_count_is_one_answer(tmp_path: Path, memory: Path) -> None:
    reading = read("streamingbench", tmp_path, split="proactive")
    document = run(tmp_path / "out", "streamingbench", reading, Honest(), memory)
    (row,) = read_rows(tmp_path / "out")
    assert set(row.details["answers"]) == {"strict, official", "standing"}
    assert document["online"]["answers"] == 2
    assert set(row.details["steps"]["polls"]["lag_s"]) == {0.0}
