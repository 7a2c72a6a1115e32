"""Benchmarks end to end: from published files and videos of the synthetic world to results, resumed, compared, and without a cheat."""

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from afterview.cli.main import main
from afterview.model.checkpoint.loading import load_pretrained
from afterview.model.checkpoint.models import AfterviewModel
from afterview.model.checkpoint.saving import save_pretrained
from afterview.model.language.moments import OPTION
from afterview.stream.ask.subtitles import Subtitle
from afterview.training.base.errors import BenchmarkError, ResultsError
from afterview.training.evaluation.benchmarks.asking import Asked, MemoryAsker, Reply
from afterview.training.evaluation.benchmarks.base import Item, Options, Problems, Reading
from afterview.training.evaluation.benchmarks.card import results_markdown
from afterview.training.evaluation.benchmarks.features import Unchanged, VideoMemories
from afterview.training.evaluation.benchmarks.lettering import listing
from afterview.training.evaluation.benchmarks.online import run_online
from afterview.training.evaluation.benchmarks.processes import Process
from afterview.training.evaluation.benchmarks.registry import BENCHMARKS, find_benchmark
from afterview.training.evaluation.benchmarks.running import Share, Work, chosen_items, run_offline
from afterview.training.evaluation.likelihood import log_likelihood, tokens_said
from afterview.training.evaluation.results import ResultsWriter, RunIdentity, read_rows
from afterview.training.tiny.pointing import with_pointers
from afterview.training.world import QuestionPlan, World, make_script, multiple_choice, questions_at, settled_time
from afterview.training.world.video import VideoFormat, write_video
from tests.support.benchmark_data import MADE, MADE_ONLINE, lay_out
from tests.support.flash import flash_preset
from tests.support.presets import small_model

SECONDS = 24


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, Any]]]:
    """A video of the synthetic world, and lettered questions about it as rows of one's own."""
    place = tmp_path_factory.mktemp("story")
    script = make_script(100, float(SECONDS))
    write_video(World.of(script), place / "story.mp4", video=VideoFormat(rate=2))
    at = settled_time(script, script.duration_s)
    rows = []
    for number, own in enumerate(
        questions_at(script, at, QuestionPlan(count=6, kinds=("colour", "shape", "scene seen"), seed=1))
    ):
        asked = multiple_choice(own, options=3)
        head, *options = asked.text.split("\n")
        row = {"id": f"q{number}", "video": "story.mp4", "question": head, "options": options, "answer": asked.answer}
        rows.append({**row, "category": own.kind})
    return place / "story.mp4", rows


@dataclass
class Scripted:
    """Says what a test wants. asked: all prompts, in order."""

    say: Mapping[str, str] | str = "A"
    asked: list[Asked] = field(default_factory=list)

    def ask(self, asked: Asked) -> Reply:
        self.asked.append(asked)
        return Reply(self.say if isinstance(self.say, str) else self.say[asked.recall], 0.5)

    def weigh(self, asked: Asked, choices: Sequence[str]) -> Reply:
        self.asked.append(asked)
        return Reply("", likelihoods={choice: -float(number) for number, choice in enumerate(choices)})


def run(
    directory: Path, name: str, reading: Reading, asker: Any, *, items: Sequence[Item] | None = None, **work: Any
) -> dict[str, Any]:
    own = Work(
        find_benchmark(name),
        reading.items if items is None else items,
        lambda video: video,
        lambda memory: asker,
        **work,
    )
    identity = RunIdentity("benchmark", name, "scripted", "none", "data", {"score": own.scoring})
    with ResultsWriter(directory, identity, command=["test"]) as results:
        return run_offline(own, results, reading)


def test_one_command_from_published_files_to_results_and_the_same_again(
    story: tuple[Path, list[dict[str, Any]]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    video, rows = story
    data, out = lay_out(tmp_path / "data", {"questions.json": rows}, ["story.mp4"], footage=video), tmp_path / "out"
    command = ["evaluate", "run", "own", "--data", str(data), "--model", "tiny", "--out", str(out), "--json"]
    assert main(command) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["complete"], document["answered"], document["videos"]) == (True, len(rows), 1)
    assert document["scores"]["strict"]["n"] == len(rows)
    assert document["problems"] == []
    assert set(document["groups"]["category"]) == {row["category"] for row in rows}
    before = read_rows(out)
    lines = (out / "items.jsonl").read_bytes().splitlines(keepends=True)
    (out / "items.jsonl").write_bytes(b"".join(lines[:2]) + lines[2][:20])  # as a kill leaves it
    (out / "results.json").unlink()
    assert main(command) == 0
    after = read_rows(out)
    assert [(row.id, row.answer, row.scores) for row in after] == [(row.id, row.answer, row.scores) for row in before]
    assert main([*command[:-1], "--score", "likelihood"]) == 2  # another run in the same directory
    assert "score is 'letter' there and 'likelihood' here" in capsys.readouterr().err
    capsys.readouterr()
    assert main(["evaluate", "compare", str(out), str(out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["scores"]["strict"]["difference"] == 0.0


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, AfterviewModel]:
    """Made checkpoints in both published layouts."""
    place = tmp_path_factory.mktemp("models")
    save_pretrained(small_model(), place / "hour")
    flash = load_pretrained(flash_preset(place), device="cpu", dtype="float32")
    return {"Hour-LLaVA": load_pretrained(place / "hour", device="cpu", dtype="float32"), "VideoChat-Flash": flash}


@pytest.mark.thorough
@pytest.mark.parametrize("layout", ["Hour-LLaVA", "VideoChat-Flash"])
def test_every_benchmark_runs_through_published_layouts(
    story: tuple[Path, list[dict[str, Any]]], models: dict[str, AfterviewModel], layout: str, tmp_path: Path
) -> None:
    model = models[layout]
    memories = VideoMemories(tmp_path / "memories", model.encoders)
    seconds = VideoMemories(tmp_path / "memories", model.encoders, dense=False)
    asker = MemoryAsker(memories.memory(story[0]), model)
    online = MemoryAsker(seconds.memory(story[0]), model)
    for name, make in (MADE | MADE_ONLINE).items():
        directory = make(tmp_path / name, footage=story[0])
        reading = find_benchmark(name).read(directory, Options(subtitles=BENCHMARKS[name].subtitles))
        assert {memories.place(item.video) for item in reading.items} == {
            memories.place(story[0])
        }  # recorded once for all
        for scoring in ("letter", "likelihood") if name in ("tempcompass", "lvbench") else ("letter",):
            place = tmp_path / f"{name}-{scoring}"
            if name in MADE_ONLINE:
                work = Work(BENCHMARKS[name], reading.items, seconds.memory, lambda memory: online, max_new_tokens=1)
                with ResultsWriter(place, RunIdentity("benchmark", name, "", "", ""), command=[]) as results:
                    document = run_online(work, results, reading)
            else:
                document = run(place, name, reading, asker, scoring=scoring, max_new_tokens=1)
            assert document["complete"], name
            assert all(0 <= row["value"] <= 1 for row in document["scores"].values())
            assert "| all |" in results_markdown(document)


def test_a_video_is_recorded_once_and_again_after_a_crash(
    story: tuple[Path, list[dict[str, Any]]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memories, recorded = VideoMemories(tmp_path, small_model().encoders), []
    plain = VideoMemories._record

    def record(self: VideoMemories, video: Path, memory: Path) -> None:
        recorded.append(video)
        plain(self, video, memory)

    monkeypatch.setattr(VideoMemories, "_record", record)
    place = memories.memory(story[0])
    assert memories.memory(story[0]) == place
    assert len(recorded) == 1
    (place.parent / "done.json").unlink()
    memories.memory(story[0])
    assert len(recorded) == 2
    assert VideoMemories(tmp_path, memories.encoders, dense=False).place(story[0]) == memories.place(
        story[0]
    )  # per second
    memories.discard(story[0])
    assert not place.exists()


def test_a_memory_that_another_run_asks_about_is_not_discarded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Two files of one content, or two runs with one --work, have one memory."""
    encoders, videos = small_model().encoders, [tmp_path / name for name in ("a.mp4", "b.mp4", "other.mp4")]
    for video, content in zip(videos, (b"same", b"same", b"other"), strict=True):
        video.write_bytes(content)
    monkeypatch.setattr(VideoMemories, "_make", lambda self, video, place: made(place))

    def made(place: Path) -> None:
        (place / "memory").mkdir(parents=True)
        (place / "done.json").touch()

    one, other = (VideoMemories(tmp_path / "work", encoders) for _ in range(2))
    memory = one.memory(videos[0])
    assert other.memory(videos[1]) == memory
    one.discard(videos[0])
    assert memory.is_dir()
    assert "b.mp4" not in caplog.text
    assert "a.mp4: its memory" in caplog.text
    assert "another process or run uses it" in caplog.text
    one.memory(videos[2])
    other.discard(videos[1])  # the last to use it removes it
    assert not memory.exists()
    assert one.memory(videos[0]).is_dir()  # whoever needs it again makes it anew
    del one
    other.discard(videos[0])
    assert not memory.exists()


def test_a_memory_that_is_removed_meanwhile_was_not_changed_by_a_question(tmp_path: Path) -> None:
    (tmp_path / "memory").mkdir()
    (tmp_path / "memory" / "chunk").touch()
    unchanged = Unchanged(tmp_path / "memory")
    unchanged.require()
    shutil.rmtree(tmp_path / "memory")
    with pytest.raises(
        BenchmarkError, match=r"was removed meanwhile; do not share --work with a run that has --discard"
    ):
        unchanged.require()


def test_a_letter_in_every_option_scores_nothing(tmp_path: Path) -> None:
    for name in ("video-mme", "longvideobench", "lvbench", "mlvu", "mvbench"):
        reading = find_benchmark(name).read(MADE[name](tmp_path / name), Options())
        document = run(tmp_path / f"{name}-out", name, reading, Scripted("A, B, C or D"))
        assert document["scores"]["strict"]["value"] == 0.0


def test_vnbench_counts_a_sample_only_if_all_its_trials_are_right(tmp_path: Path) -> None:
    reading = find_benchmark("vnbench").read(MADE["vnbench"](tmp_path), Options())
    document = run(tmp_path / "out", "vnbench", reading, Scripted("A"))  # the same letter though the options move
    assert document["scores"]["strict"]["value"] == 0.25
    assert document["units"]["scores"]["strict"] == {
        "value": 0.0,
        "low": 0.0,
        "high": 0.7935,
        "n": 1,
        "interval": "wilson",
    }
    assert document["units"]["groups"]["task"]["retrieval"]["strict"]["n"] == 1
    three = run(tmp_path / "three", "vnbench", reading, Scripted("A"), items=reading.items[:1])
    assert (three["units"]["scores"], three["units"]["incomplete"]) == ({}, 1)


def test_likelihood_takes_the_likeliest_letter(tmp_path: Path) -> None:
    reading = find_benchmark("tempcompass").read(MADE["tempcompass"](tmp_path), Options())
    document = run(tmp_path / "out", "tempcompass", reading, Scripted("Option 2"), scoring="likelihood")
    assert document["groups"]["form"]["multi-choice"]["likelihood"]["value"] == 1.0  # A is weighed most
    assert document["answered_by_text"] == 2  # captions and their options have no letters


LONG = {"A": "the square is\nblue", "B": "one of:\nA. green\nB. white", "C": "red"}


@pytest.fixture(scope="module")
def pointing(story: tuple[Path, list[dict[str, Any]]], tmp_path_factory: pytest.TempPathFactory) -> MemoryAsker:
    """A model that points to options."""
    model = with_pointers(load_pretrained("tiny", device="cpu", dtype="float32"), (OPTION,))
    return MemoryAsker(VideoMemories(tmp_path_factory.mktemp("pointing"), model.encoders).memory(story[0]), model)


def test_options_of_several_lines_are_weighed_as_the_benchmark_has_them(pointing: MemoryAsker) -> None:
    """Read from the prompt, `A. green` would take the place of the option A."""
    prompt = f"What?\n{listing(LONG)}"
    found = pointing.weigh(Asked(prompt, "What?", options=LONG), list(LONG))
    inputs = pointing.inputs(Asked(prompt, "What?"))
    for letter, words in zip("ABC", ("the square is blue", "one of: A. green B. white", "red"), strict=True):
        ids = tokens_said(pointing._model, letter, {letter: words})
        assert found.likelihoods[letter] == pytest.approx(log_likelihood(pointing._model, inputs, ids)[0], abs=1e-4)
    assert (found.weighed, len(found.likeliest)) == ("words", 1)
    assert (
        pointing.weigh(Asked("Seen?", "Seen?", options={"yes": "yes", "no": "no"}), ["yes", "no"]).weighed
        == "first token"
    )
    same = Asked("What?\nA. red\nB. red", "What?", options={"A": "red", "B": "red"})
    assert pointing.weigh(same, "AB").likeliest == ["A", "B"]


def test_a_likelihood_counts_what_an_answer_counts(
    pointing: MemoryAsker, story: tuple[Path, list[dict[str, Any]]], tmp_path: Path
) -> None:
    lines = tuple(Subtitle(0.0, 5.0, f"{'word ' * 30}{number}") for number in range(800))
    item = Item("q", story[0], "What?", f"What?\n{listing(LONG)}", LONG, "C", subtitles=lines)
    found = {}
    for scoring in ("letter", "likelihood"):
        run(tmp_path / scoring, "own", Reading((item,), Problems(), ()), pointing, scoring=scoring, max_new_tokens=1)
        (found[scoring],) = read_rows(tmp_path / scoring)
    said = {
        name: found["letter"].details[name]
        for name in ("frames", "recalled", "subtitles", "subtitles left out", "subtitles stand")
    }
    assert said["subtitles left out"] > 0
    assert {name: found["likelihood"].details[name] for name in said} == said


def test_options_that_tie_name_none_and_are_told(tmp_path: Path) -> None:
    class Torn(Scripted):
        def weigh(self, asked: Asked, choices: Sequence[str]) -> Reply:
            return Reply("", likelihoods=dict.fromkeys(choices, -1.5))

    item = Item("q", Path("a.mp4"), "?", "?", {"A": "red", "B": "Red"}, "A")
    document = run(tmp_path, "own", Reading((item,), Problems(), ()), Torn(), scoring="likelihood")
    (row,) = read_rows(tmp_path)
    assert (row.answer, row.details["tied"], document["scores"]["likelihood"]["value"]) == (
        "no option",
        ["A", "B"],
        0.0,
    )
    (problem,) = document["problems"]
    assert (problem["kind"], problem["examples"]) == ("options tie: none is chosen", ["q: A, B"])


def test_a_span_is_asked_from_text_and_from_evidence(tmp_path: Path) -> None:
    class Pointing(Scripted):
        def ask(self, asked: Asked) -> Reply:
            super().ask(asked)
            return Reply("The event happens in the 1 - 3.5 seconds", weights=[(0.0, 0.01), (1.0, 0.4), (2.0, 0.59)])

    asker = Pointing()
    reading = find_benchmark("charades-sta").read(MADE["charades-sta"](tmp_path), Options())
    document = run(tmp_path / "out", "charades-sta", reading, asker)
    assert document["scores"]["text mIoU"]["value"] == document["scores"]["official mIoU"]["value"] == 1.0
    assert document["scores"]["evidence mIoU"]["value"] == 0.5  # 0.5 to 2.5 of 1 to 3.5
    assert [asked.prompt == asked.recall for asked in asker.asked] == [False, True]


@pytest.mark.thorough
def test_evidence_grounds_sentences_in_the_worlds_truth(tmp_path: Path) -> None:
    lines = []
    (tmp_path / "Charades_v1_480").mkdir()
    for seed in (100, 101, 102):
        script = make_script(seed, 60.0)
        write_video(World.of(script), tmp_path / "Charades_v1_480" / f"W{seed}.mp4", video=VideoFormat(rate=2))
        events = [event for event in script.events if event.kind == "object"]
        names = [event.name for event in events]
        once = [event for event in events if names.count(event.name) == 1]
        lines += [f"W{seed} {event.start_s} {min(event.end_s, 60)}##a {event.name}." for event in once]
    reading = find_benchmark("charades-sta").read(
        lay_out(tmp_path, {"charades_sta_test.txt": "\n".join(lines)}), Options()
    )
    assert len(reading.items) == len(lines) >= 10
    tiny = load_pretrained("tiny")
    memories = VideoMemories(tmp_path / "memories", tiny.encoders)
    work = Work(
        find_benchmark("charades-sta"), reading.items, memories.memory, lambda memory: MemoryAsker(memory, tiny)
    )
    with ResultsWriter(tmp_path / "out", RunIdentity("benchmark", "charades-sta", "", "", ""), command=[]) as results:
        document = run_offline(work, results, reading)
    print(document["scores"])
    assert document["scores"]["evidence mIoU"]["value"] >= 0.6


def test_a_video_that_cannot_be_read_is_named_and_the_others_are_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    reading = find_benchmark("video-mme").read(MADE["video-mme"](tmp_path), Options())

    def fails(video: Path) -> Path:
        raise BenchmarkError("no picture")

    work = Work(find_benchmark("video-mme"), reading.items, fails, lambda memory: Scripted())
    with ResultsWriter(tmp_path / "out", RunIdentity("benchmark", "video-mme", "", "", ""), command=[]) as results:
        document = run_offline(work, results, reading)
    assert (document["complete"], document["answered"]) == (False, 0)
    assert document["problems"][0]["kind"] == "video cannot be read"


def test_a_file_that_is_no_video_is_a_problem_not_the_end(
    tmp_path: Path, story: tuple[Path, list[dict[str, Any]]]
) -> None:
    encoders = small_model().encoders
    memories, data = VideoMemories(tmp_path / "memories", encoders), MADE["video-mme"](tmp_path / "data")
    for content in (b"", b"no video" * 999, story[0].read_bytes()[:700]):
        (data / "data" / "v1.mp4").write_bytes(content)
        reading = find_benchmark("video-mme").read(data, Options())
        work = Work(find_benchmark("video-mme"), reading.items, memories.memory, lambda memory: Scripted())
        out = tmp_path / f"out-{len(content)}"
        with ResultsWriter(out, RunIdentity("benchmark", "video-mme", "", "", ""), command=[]) as results:
            document = run_offline(work, results, reading)
        assert [one["kind"] for one in document["problems"]] == ["video cannot be read"]
    assert not list((tmp_path / "memories").glob("*/done.json"))


def test_several_processes_share_the_videos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    items = tuple(
        Item(f"{video}-{n}", Path(f"{video}.mp4"), "?", "?", {"A": "x", "B": "y"}, "A") for video in "abc" for n in "12"
    )
    reading, identity = Reading(items, Problems(), ()), RunIdentity("benchmark", "own", "", "", "")

    def recorded(video: Path) -> Path:
        if video.name == "b.mp4" and not there:
            raise BenchmarkError("no picture")
        return video

    for process, there in ((1, False), (0, False), (1, True), (0, True)):
        work = Work(BENCHMARKS["own"], items, recorded, lambda memory: Scripted(), share=Share(process, 2))
        with ResultsWriter(tmp_path, identity, command=[], process=process, processes=2) as results:
            document = run_offline(work, results, reading)
        if not there:  # the last to end names what the other could not read
            assert document["complete"] is False
            assert [one["kind"] for one in document["problems"]] == ["video cannot be read"]
    assert (document["complete"], document["problems"]) == (True, [])
    assert [len(path.read_bytes().splitlines()) for path in sorted(tmp_path.glob("items*.jsonl"))] == [2, 4]
    monkeypatch.setenv("RANK", "2")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(BenchmarkError, match="RANK is 2 of WORLD_SIZE 2"):
        Process.of_environment()
    monkeypatch.setenv("RANK", "x")
    with pytest.raises(BenchmarkError, match="RANK is 'x'"):
        Process.of_environment()


def test_of_two_that_end_together_the_later_names_what_both_could_not_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    items = tuple(Item(name, Path(f"{name}.mp4"), "?", "?", {"A": "x", "B": "y"}, "A") for name in "abcd")
    reading, identity = Reading(items, Problems(), ()), RunIdentity("benchmark", "own", "", "", "")

    def recorded(video: Path) -> Path:
        if video.name in ("c.mp4", "d.mp4"):
            raise BenchmarkError("no picture")
        return video

    def share(process: int) -> dict[str, Any]:
        work = Work(BENCHMARKS["own"], items, recorded, lambda memory: Scripted(), share=Share(process, 2))
        with ResultsWriter(tmp_path, identity, command=[], process=process, processes=2) as results:
            return run_offline(work, results, reading)

    plain, earlier = ResultsWriter.finish, [1]

    def finish(self: ResultsWriter, *arguments: Any, **more: Any) -> dict[str, Any]:
        if earlier:  # process 1 ends after process 0 has made these arguments
            share(earlier.pop())
        return plain(self, *arguments, **more)

    monkeypatch.setattr(ResultsWriter, "finish", finish)
    document = share(0)
    assert json.loads((tmp_path / "results.json").read_text())["problems"] == document["problems"]
    assert [one["examples"][0][:5] for one in document["problems"]] == ["c.mp4", "d.mp4"]
    assert (document["answered"], document["seconds_median"]) == (2, 0.5)


def test_a_limit_is_spread_and_keeps_units_together() -> None:
    items = [Item(str(n), Path("v"), "?", "?", unit=f"unit {n // 4}") for n in range(40)]
    assert [item.unit for item in chosen_items(items, 8)] == ["unit 0"] * 4 + ["unit 5"] * 4
    assert len(chosen_items(items, None)) == len(chosen_items(items, 100)) == 40
    assert len(chosen_items([Item(str(n), Path("v"), "?", "?") for n in range(10)], 3)) == 3


def test_subtitles_reach_the_model(tmp_path: Path) -> None:
    reading = find_benchmark("video-mme").read(MADE["video-mme"](tmp_path), Options(subtitles=True))
    asker = Scripted()
    run(tmp_path / "out", "video-mme", reading, asker)
    assert asker.asked[0].question().subtitles[0].text == "a red ring"
    assert asker.asked[0].subtitles == (Subtitle(1.0, 2.0, "a red ring"),)
    assert not asker.asked[0].question().subtitles_by_time


def test_subtitles_of_longvideobench_stand_at_their_times_and_the_result_says_where(tmp_path: Path) -> None:
    class Between(Scripted):
        def ask(self, asked: Asked) -> Reply:
            return replace(super().ask(asked), subtitles_form="between the clips")

    reading = find_benchmark("longvideobench").read(MADE["longvideobench"](tmp_path), Options(subtitles=True))
    asker = Between()
    document = run(tmp_path / "out", "longvideobench", reading, asker)
    assert asker.asked[0].question().subtitles_by_time
    assert document["subtitles_stand"] == {"between the clips": 2}
    assert read_rows(tmp_path / "out")[0].details["subtitles stand"] == "between the clips"


def test_the_commands_say_what_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = MADE["video-mme"](tmp_path)
    check = ["evaluate", "run", "video-mme", "--data", str(data), "--check", "--json"]
    assert main(check) == 0
    assert json.loads(capsys.readouterr().out)["items"] == 2
    (data / "data" / "v1.mp4").unlink()
    assert main(check) == 1
    assert json.loads(capsys.readouterr().out)["missing"] == ["data/v1.*"]
    for arguments, message in (
        (["run", "video-mme", "--data", str(data)], "give --model and --out"),
        (
            ["run", "video-mme", "--data", str(data), "--model", "tiny", "--out", str(tmp_path / "o"), "--limit", "0"],
            "at least 1",
        ),
        (
            ["run", "video-mme", "--data", str(data), "--model", "tiny", "--out", str(data)],
            "is the directory of the data",
        ),
        (["run", "video-mme", "--data", str(data), "--split", "long", "--check"], "has no such set"),
        (["run", "lvbench", "--data", str(data), "--subtitles", "--check"], "LVBench has none"),
        (["run", "vidio-mme", "--data", str(data), "--check"], "did you mean 'video-mme'"),
        (["run", "momentseeker", "--data", str(data), "--check"], "MomentSeeker cannot be run"),
        (["compare", str(tmp_path), str(tmp_path)], "holds no results"),
    ):
        assert main(["evaluate", *arguments]) == 2
        assert message in capsys.readouterr().err
    assert main(["evaluate", "list", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert set(MADE) <= {one["name"] for one in listed["benchmarks"]}
    assert all(one["why"] for one in listed["absent"])


def test_the_scope_of_a_preset_is_set_aside(story: tuple[Path, list[dict[str, Any]]], tmp_path: Path) -> None:
    tiny: AfterviewModel = load_pretrained("tiny")
    assert tiny.preset.scope is not None
    memory = VideoMemories(tmp_path, tiny.encoders).memory(story[0])
    reply = MemoryAsker(memory, tiny).ask(Asked("Is the parliament in session?", "parliament", max_new_tokens=2))
    assert "This model knows only" not in reply.text
    assert reply.frames == SECONDS
    assert MemoryAsker(memory, tiny).ask(Asked("Which scene?", "scene", end_s=9.99, max_new_tokens=1)).newest_s == 9.0


def test_another_run_is_refused(tmp_path: Path) -> None:
    reading = find_benchmark("video-mme").read(MADE["video-mme"](tmp_path), Options())
    run(tmp_path / "out", "video-mme", reading, Scripted())
    with pytest.raises(ResultsError, match="score"):
        run(tmp_path / "out", "video-mme", reading, Scripted(), scoring="likelihood")
