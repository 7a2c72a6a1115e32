"""Harnesses that cheat: each is broken here in its own way, and each is caught."""

import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from afterview.model.checkpoint.models import AfterviewModel
from afterview.stream.media import VideoWriter
from afterview.training.base.errors import BenchmarkError
from afterview.training.evaluation.benchmarks import online
from afterview.training.evaluation.benchmarks.asking import Asked, MemoryAsker, Reply
from afterview.training.evaluation.benchmarks.base import Item, Options, Problems, Reading
from afterview.training.evaluation.benchmarks.features import VideoMemories
from afterview.training.evaluation.benchmarks.online import run_online
from afterview.training.evaluation.benchmarks.registry import BENCHMARKS
from afterview.training.evaluation.benchmarks.running import Work, run_offline
from afterview.training.evaluation.benchmarks.tasks import Task
from afterview.training.evaluation.results import ResultsWriter, RunIdentity, read_rows
from tests.support.benchmark_data import MADE, MADE_ONLINE
from tests.support.clips import picture
from tests.support.presets import small_model

EVERY = MADE | MADE_ONLINE
QUESTION = "Where was the yellow square?"


@pytest.fixture(scope="module")
def model() -> AfterviewModel:
    return small_model()


def footage(path: Path, *, differs_from: int = 99) -> Path:
    """Eight seconds at one frame a second, without loss; from a second on the pictures of another video."""
    with VideoWriter(path, 160, 120, 1, codec="ffv1") as writer:
        for number in range(8):
            writer.write(picture(number if number < differs_from else 50 + number))
    return path


@pytest.fixture(scope="module")
def memory(tmp_path_factory: pytest.TempPathFactory, model: AfterviewModel) -> Path:
    place = tmp_path_factory.mktemp("memory")
    return VideoMemories(place, model.encoders, dense=False).memory(footage(place / "a.mkv"))


@dataclass
class Saying:
    """Says one thing about all it is asked."""

    text: str = "A"
    asked: list[Asked] = field(default_factory=list)

    def ask(self, asked: Asked) -> Reply:
        self.asked.append(asked)
        return Reply(self.text, 0.1, 0.05, newest_s=float(int(asked.end_s or 0)))

    def weigh(self, asked: Asked, choices: Sequence[str]) -> Reply:
        return Reply("", likelihoods={choice: -float(number) for number, choice in enumerate(choices)})


def run(out: Path, name: str, items: Sequence[Item], asker: Any, memory: Path) -> dict[str, Any]:
    work = Work(BENCHMARKS[name], items, lambda video: memory, lambda place: asker)
    with ResultsWriter(out, RunIdentity("benchmark", name, "", "", ""), command=[]) as results:
        ask_all = run_online if name in MADE_ONLINE else run_offline
        return ask_all(work, results, Reading(tuple(items), Problems(), ()))


def lettered(tmp_path: Path) -> Iterator[tuple[str, Item]]:
    """Every item of every benchmark whose options are letters."""
    for name, make in EVERY.items():
        for item in BENCHMARKS[name].read(make(tmp_path / name), Options()).items:
            if (
                item.options
                and all(len(letter) == 1 for letter in item.options)
                and item.groups.get("form") != "captioning"
            ):
                yield name, item


# --- it sees t + 1 s ---


def test_no_answer_depends_on_what_came_later(memory: Path, model: AfterviewModel, tmp_path: Path) -> None:
    """Whatever a harness says of itself: two videos that part at 5 s give the same answers up to 4.999 s, and others after."""
    other = VideoMemories(tmp_path, model.encoders, dense=False).memory(footage(tmp_path / "b.mkv", differs_from=5))
    one, two = (MemoryAsker(place, model) for place in (memory, other))

    def weighed(asker: MemoryAsker, end_s: float) -> dict[str, float]:
        return dict(asker.weigh(Asked(QUESTION, QUESTION, end_s=end_s), "ABCD").likelihoods)

    for end_s in (0.0, 3.5, 4.0, 4.999):
        assert weighed(one, end_s) == weighed(two, end_s)
    assert weighed(one, 5.0) != weighed(two, 5.0)


@pytest.mark.parametrize("name", MADE_ONLINE)
def test_seeing_the_next_second_ends_every_online_run(name: str, memory: Path, tmp_path: Path) -> None:
    class Ahead(Saying):
        def ask(self, asked: Asked) -> Reply:
            reply = super().ask(asked)
            return replace(reply, newest_s=reply.newest_s + 1)

    reading = BENCHMARKS[name].read(MADE_ONLINE[name](tmp_path), Options())
    with pytest.raises(BenchmarkError, match="nothing later than the question may be seen"):
        run(tmp_path / "out", name, reading.items, Ahead(), memory)
    assert read_rows(tmp_path / "out") == []


# --- it answers a letter in every option ---


@pytest.mark.parametrize("cheat", ["A B C D E F G H", "A, B, C or D", "(A)(B)(C)(D)", "A. Or B. Or C. Or D.", "ABCD"])
def test_a_letter_in_every_option_is_right_nowhere(cheat: str, tmp_path: Path) -> None:
    found = list(lettered(tmp_path))
    assert {name for name, _ in found} >= set(EVERY) - {"charades-sta", "rvs", "svbench"}
    assert [name for name, item in found if BENCHMARKS[name].score(item, cheat)["strict"]] == []


def test_yes_and_no_or_every_number_is_right_nowhere(tmp_path: Path) -> None:
    ovo = BENCHMARKS["ovo-bench"]
    asked = [
        item
        for item in ovo.read(MADE_ONLINE["ovo-bench"](tmp_path), Options(split="forward")).items
        if not item.standing
    ]
    assert {item.groups["task"] for item in asked} == {"REC", "SSR", "CRR"}
    for cheat in ("Yes No", "yes or no", "0 1 2 3", "0, 1 or 2"):
        assert [item.id for item in asked if ovo.score(item, cheat)["strict"]] == []


# --- it reorders the questions ---


@pytest.mark.parametrize("name", MADE_ONLINE)
def test_the_order_of_the_file_changes_no_row(name: str, memory: Path, tmp_path: Path) -> None:
    reading = BENCHMARKS[name].read(MADE_ONLINE[name](tmp_path), Options())
    rows = []
    for place, items in (("one", reading.items), ("two", reading.items[::-1])):
        asker = Saying()
        assert run(tmp_path / place, name, items, asker, memory)["complete"]
        assert [asked.end_s for asked in asker.asked] == sorted(asked.end_s or 0.0 for asked in asker.asked)
        rows.append({row.id: row.to_dict() for row in read_rows(tmp_path / place)})
    assert rows[0] == rows[1]


def test_a_pass_that_goes_back_ends_the_run(memory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unsorted(tasks: Sequence[Task], frames: Sequence[float]) -> Iterator[tuple[float, Task]]:
        yield from ((time, task) for task in tasks for time in task.times(frames))

    monkeypatch.setattr(online, "moments", unsorted)
    for name in ("ovo-bench", "streamingbench"):
        reading = BENCHMARKS[name].read(MADE_ONLINE[name](tmp_path / name), Options())
        with pytest.raises(BenchmarkError, match="questions of a video are asked in order"):
            run(tmp_path / f"{name}-out", name, reading.items, Saying(), memory)


# --- its answer changes the memory ---


@pytest.mark.parametrize("name", ["video-mme", "charades-sta", *MADE_ONLINE])
def test_an_answer_that_changes_the_memory_ends_the_run(name: str, memory: Path, tmp_path: Path) -> None:
    own = shutil.copytree(memory, tmp_path / "memory")
    changed = next(path for path in sorted((own / "video").rglob("*")) if path.is_file() and "index" not in path.parts)

    class Writing(Saying):
        def ask(self, asked: Asked) -> Reply:
            index = own / "video" / "index"
            index.mkdir(exist_ok=True)
            (index / "cache").write_text(asked.prompt)  # may change: it is rebuilt from the frames
            if len(self.asked) == 1:
                changed.write_bytes(changed.read_bytes() + b" ")
            return super().ask(asked)

    reading, asker = BENCHMARKS[name].read(EVERY[name](tmp_path / "data"), Options()), Writing()
    with pytest.raises(
        BenchmarkError, match=rf"a question changed the memory \({re.escape(str(changed.relative_to(own)))}\)"
    ):
        run(tmp_path / "out", name, reading.items, asker, own)
    assert len(asker.asked) == 2


# --- its judge takes the first capital ---


def test_no_judge_takes_the_first_capital(tmp_path: Path) -> None:
    found = [(name, item) for name, item in lettered(tmp_path) if {"A", "B"} <= set(item.options)]
    assert {name for name, _ in found} >= set(EVERY) - {"charades-sta", "rvs", "svbench"}
    for name, item in found:
        right, wrong = replace(item, truth="B"), replace(item, truth="A")
        answer = "After all of it was seen, the answer is B."
        assert BENCHMARKS[name].score(right, answer)["strict"] == 1.0, (name, item.id)
        assert BENCHMARKS[name].score(wrong, answer)["strict"] == 0.0, (name, item.id)
        assert BENCHMARKS[name].score(wrong, "A thing of some kind")["strict"] == 0.0, (name, item.id)
