"""The synthetic world: a seed always gives the same one, and its truth is what its pixels show."""

import hashlib
import json
import os
import re
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from random import Random

import av
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from afterview.model.language.moments import clock, length
from afterview.stream.media import VideoWriter
from afterview.training.base.errors import TruthError, WorldError
from afterview.training.world import (
    Event,
    QuestionPlan,
    Renderer,
    Script,
    StorySegment,
    World,
    WorldConfig,
    WorldQuestion,
    make_script,
    multiple_choice,
    questions_at,
    read_truth,
    settled_time,
    split_of,
    truth_of,
)
from afterview.training.world.camera_questions import CAMERA_KINDS
from afterview.training.world.facts import KINDS
from afterview.training.world.phrasing import HELD_OUT, PHRASINGS, wordings
from afterview.training.world.rewording import TAILS, reworded
from afterview.training.world.script import MIN_GAP_S
from afterview.training.world.truth import whole_caption
from afterview.training.world.twist_facts import TWIST_KINDS, kinds_of
from afterview.training.world.video import write_video
from afterview.training.world.vocabulary import (
    COLOURS,
    DIGITS,
    HELD_OUT_PAIRS,
    PLACES,
    ROWS,
    SCENES,
    SHAPES,
    SIZES,
    WORDS,
)

PALETTE = np.array(list(COLOURS.values()), dtype=np.float32)
FINGERPRINT = """
import hashlib
from afterview.training.world import QuestionPlan, World, settled_time
world = World(11, 300)
print(hashlib.sha256(world.script.model_dump_json().encode()).hexdigest())
asked = world.questions(settled_time(world.script, 290.0), QuestionPlan(count=60))
print(hashlib.sha256("".join(question.model_dump_json() for question in asked).encode()).hexdigest())
print(hashlib.sha256(world.frame(123.4).tobytes()).hexdigest())
"""


# ---- the same for a seed


def test_another_process_with_other_hashing_makes_the_same_world() -> None:
    root = Path(__file__).parents[3]
    prints = [
        subprocess.run(
            [sys.executable, "-c", FINGERPRINT],
            env={**os.environ, "PYTHONHASHSEED": hashing, "PYTHONPATH": str(root)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for hashing in ("1", "2")
    ]
    assert prints[0] == prints[1]
    assert len(set(prints[0].split())) == 3


def test_a_frame_depends_on_nothing_drawn_before_it() -> None:
    script = make_script(3, 120)
    forward, backward = Renderer(script, width=128, height=72), Renderer(script, width=128, height=72)
    times = [float(t) for t in range(0, 120, 7)]
    first = [forward.frame(t) for t in times]
    again = [backward.frame(t) for t in reversed(times)][::-1]
    assert all(np.array_equal(one, two) for one, two in zip(first, again, strict=True))
    assert len({hashlib.sha256(frame.tobytes()).digest() for frame in first}) == len(times)


def test_seeds_differ_and_belong_to_one_split() -> None:
    assert make_script(1, 120).events != make_script(2, 120).events
    assert [split_of(seed) for seed in (0, 2**31 - 1, 2**31, 2**32)] == ["test", "test", "validation", "train"]


# ---- the rules of a story


@pytest.mark.parametrize("duration_s", [10, 45, 600, 86_400])
def test_stories_keep_their_rules(duration_s: float) -> None:
    for seed in range(25):
        script = make_script(seed, duration_s)
        assert script.segments[0].start_s == 0
        assert script.segments[-1].end_s == duration_s
        for before, after in zip(script.segments, script.segments[1:], strict=False):
            assert before.end_s == after.start_s
            assert before.scene != after.scene
        for before, after in zip(script.events, script.events[1:], strict=False):
            assert after.number == before.number + 1
            assert after.start_s - before.end_s >= MIN_GAP_S - 1e-9
        for event in script.events:
            assert script.segment_at(event.start_s) == script.segment_at(event.end_s)
            assert script.segment_at(event.start_s).scene == event.scene
            samples = [k for k in range(int(event.start_s) - 1, int(event.end_s) + 2) if event in script.visible_at(k)]
            assert len(samples) == round(event.end_s - event.start_s)
            for t in (event.start_s, event.end_s):
                left, top, right, bottom = event.box_at(t)
                assert left >= 0
                assert top >= 0
                assert right <= 1
                assert bottom <= 1
        assert max(Counter(event.name for event in script.events if event.kind == "object").values(), default=0) <= 4


def test_stories_return_to_scenes_and_span_seconds_to_hours() -> None:
    scripts = [make_script(seed, 86_400) for seed in range(40)]
    assert all(len({s.scene for s in script.segments}) < len(script.segments) for script in scripts)
    gaps = [b.start_s - a.end_s for script in scripts for a, b in zip(script.events, script.events[1:], strict=False)]
    assert min(gaps) < 10
    assert max(gaps) > 4 * 3600


def test_held_out_pairs_are_kept_out_unless_asked_for() -> None:
    def pairs(which: str) -> set[tuple[str | None, str | None]]:
        config = WorldConfig.model_validate({"pairs": which})
        scripts = [make_script(seed, 600, config) for seed in range(40)]
        return {(e.colour, e.shape) for script in scripts for e in script.events if e.kind == "object"}

    assert len(HELD_OUT_PAIRS) == len({c for c, _ in HELD_OUT_PAIRS}) == len({s for _, s in HELD_OUT_PAIRS}) == 6
    assert len(pairs("seen")) == 30
    assert not pairs("seen") & HELD_OUT_PAIRS
    assert pairs("held-out") <= HELD_OUT_PAIRS
    assert len(pairs("all")) == 36


@pytest.mark.parametrize(("seed", "duration_s"), [(-1, 60), (1, 9), (1, 86_401)])
def test_an_impossible_world_is_refused(seed: int, duration_s: float) -> None:
    with pytest.raises(WorldError, match=r"seed is -1|cannot be made"):
        World(seed, duration_s)


# ---- truth and pixels


def share_of_colours(frame: NDArray[np.uint8], event: Event, t: float) -> NDArray[np.float64]:
    """Share of the pixels in the event's box that is close to each colour of the palette, [6]."""
    height, width = frame.shape[:2]
    left, top, right, bottom = event.box_at(t)
    box = frame[round(top * height) : round(bottom * height), round(left * width) : round(right * width)]
    distance = np.linalg.norm(box[:, :, None].astype(np.float32) - PALETTE, axis=-1)
    return (distance < 45).mean(axis=(0, 1))


def assert_shows(frame: NDArray[np.uint8], event: Event, t: float) -> None:
    shares = share_of_colours(frame, event, t)
    if event.kind == "object":
        assert list(COLOURS)[int(shares.argmax())] == event.colour, (event.name, shares)
        assert shares.max() > 0.15
        assert np.delete(shares, shares.argmax()).max() < 0.05
    else:
        assert shares.max() < 0.05


def test_an_object_is_in_its_place_exactly_while_the_truth_says_so() -> None:
    for seed in range(6):
        world = World(seed, 300, width=320, height=180)
        for event in world.script.events:
            for t in np.arange(event.start_s, event.end_s, 0.7):
                assert_shows(world.frame(float(t)), event, float(t))
            for t in (event.start_s - 0.01, event.end_s):
                assert share_of_colours(world.frame(t), event, t).max() < 0.05
            if event.place in PLACES:
                nearest = min(PLACES, key=lambda place: np.hypot(*np.subtract(PLACES[place], event.centre_at(0))))
                assert nearest == event.place


def decode(path: Path) -> list[tuple[float, NDArray[np.uint8]]]:
    with av.open(str(path)) as container:
        return [(frame.time, frame.to_ndarray(format="rgb24")) for frame in container.decode(video=0)]


def test_a_video_shows_the_truth_beside_it(tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    world = World(5, 60, width=320, height=180)
    truth = write_video(
        world, tmp_path / "story.mp4", start_s=20, end_s=60, progress=lambda done, of: calls.append((done, of))
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["story.mp4", "story.truth.json"]
    assert calls == [(10 * second, 400) for second in range(1, 41)]
    script, video = read_truth(truth)
    assert script == world.script
    assert video is not None
    frames = decode(tmp_path / "story.mp4")
    assert len(frames) == 400
    seen = set()
    for time, frame in frames:
        for event in script.visible_at(round(video.start_s + time, 3)):
            seen.add(event.number)
            assert_shows(frame, event, video.start_s + time)
    assert len(seen) >= 2


def test_a_video_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    def stop(done: int, frames: int) -> None:
        raise KeyboardInterrupt

    world = World(5, 20, width=128, height=72)
    with pytest.raises(KeyboardInterrupt):
        write_video(world, tmp_path / "story.mp4", progress=stop)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(WorldError, match="no video from 5 to 5 s"):
        write_video(world, tmp_path / "story.mp4", start_s=5, end_s=5)


def gallery(rows: int) -> Script:
    """One second for every small shape, digit and word, each with a scene and a place that change with `rows`."""
    shown: list[dict[str, str]] = [
        {"kind": "object", "shape": shape, "colour": list(COLOURS)[(number + rows) % 6], "size": "small"}
        for number, shape in enumerate(SHAPES)
    ]
    shown += [{"kind": "digit", "text": digit} for digit in DIGITS] + [{"kind": "word", "text": w} for w in WORDS]
    segments, events = [], []
    for number, thing in enumerate(shown):
        centre = (0.5, list(ROWS.values())[(number + rows) % 3])
        if thing["kind"] != "word":
            centre = list(PLACES.values())[(number + rows) % 5]
        span = {"scene": SCENES[(number + rows) % 6], "start_s": float(number), "end_s": number + 1.0}
        way = {"offset": 0.1, "drift": 0.02, "passer_speed": 0.1, "passer_height": 0.5}
        segments.append(StorySegment.model_validate({**span, **way}))
        events.append(Event.model_validate({**span, **thing, "number": number, "enters": centre, "leaves": centre}))
    return Script(
        seed=rows,
        duration_s=len(shown),
        start_hour=12.0 - 10 * (rows > 0),  # by day or at night
        config=WorldConfig(),
        segments=tuple(segments),
        events=tuple(events),
    )


def as_the_model_sees(frame: NDArray[np.uint8], event: Event) -> NDArray[np.float32]:
    """The event's box from the frame at 64x64 pixels, as a normalised vector: nearness to the colour of its ink."""
    small = np.asarray(Image.fromarray(frame).resize((64, 64), Image.Resampling.BICUBIC), dtype=np.float32)
    ink = Image.fromarray(-np.linalg.norm(small - COLOURS.get(event.colour or "", (24, 26, 32)), axis=-1))
    box = tuple(64 * edge for edge in event.box_at(event.start_s))
    crop = np.asarray(ink.resize((24, 24), Image.Resampling.BILINEAR, box=box)).ravel()
    return (crop - crop.mean()) / np.linalg.norm(crop - crop.mean())


def test_shapes_digits_and_words_are_legible_at_64_pixels_after_h264(tmp_path: Path) -> None:
    clean, filmed = gallery(0), gallery(1)
    drawn, shown = Renderer(clean), Renderer(filmed)
    templates = {e.name.split()[-1]: as_the_model_sees(drawn.frame(e.start_s + 0.5), e) for e in clean.events}
    with VideoWriter(tmp_path / "gallery.mp4", 640, 360, 4) as video:
        for number in range(4 * len(filmed.events)):
            video.write(shown.frame(number / 4))
    frames = decode(tmp_path / "gallery.mp4")
    for event in filmed.events:
        seen = as_the_model_sees(frames[4 * event.number + 2][1], event)
        alike = {"object": SHAPES, "digit": DIGITS, "word": WORDS}[event.kind]
        assert max(alike, key=lambda name: float(seen @ templates[name])) == event.name.split()[-1]


# ---- questions, checked by somebody who only sees one frame per second


@dataclass
class Showing:
    """A viewer's notes on one showing: the event, when first and last seen (whole seconds), and its looks."""

    event: Event
    first: int
    last: int
    scene: str
    seen: list[Event]  # as it looked in every second

    @property
    def name(self) -> str:
        return self.event.name

    @property
    def place(self) -> str | None:
        (x0, y0), (x1, y1) = (self.event.centre_at(t) for t in (self.first, self.last + 0.9))
        moved = np.hypot(x1 - x0, y1 - y0) > 0.1
        return None if moved else min(PLACES, key=lambda p: np.hypot(PLACES[p][0] - x0, PLACES[p][1] - y0))

    @property
    def motion(self) -> str:
        (x0, y0), (x1, y1) = (self.event.centre_at(t) for t in (self.event.start_s, self.event.end_s))
        if self.place is not None:
            return "still"
        return ("left" if x1 < x0 else "right") if abs(x1 - x0) > abs(y1 - y0) else ("up" if y1 < y0 else "down")

    def looks_answer(self, question: WorldQuestion) -> str:
        """The answer about its looks, and about its cover."""
        first, last, cover = self.seen[0], self.seen[-1], self.event.cover
        if question.kind in ("hidden", "behind"):
            return ("yes" if cover else "no") if question.kind == "hidden" else (cover.thing if cover else "nothing")
        changed = "colour" if first.colour != last.colour else "size" if first.size != last.size else "nothing"
        if question.kind == "change":
            return changed
        assert changed in question.text
        return str(getattr(first if question.kind == "at first" else last, changed))

    def fits(self, noun: str) -> bool:
        head, *qualifiers = re.split(r" in the ", noun)
        words = {word for look in self.seen for word in (look.size, look.colour, look.shape, "object")}
        if self.event.kind != "object":
            words = {self.event.kind, self.event.text}
        if not set(head.split()) <= words:
            return False
        scenes = [q.removesuffix(" scene") for q in qualifiers if q.endswith(" scene")]
        places = [q for q in qualifiers if not q.endswith(" scene")]
        return scenes in ([], [self.scene]) and (self.place is None or places in ([], [self.place]))


@dataclass
class Viewer:
    """Notes on all showings, and the scene of every second, until a given time."""

    showings: list[Showing]
    scenes: list[str]
    now: str

    @classmethod
    def watch(cls, script: Script, until_s: float) -> "Viewer":
        showings: list[Showing] = []
        scenes, now = [], "nothing"
        for second in range(int(until_s) + 1):
            scenes.append(script.segment_at(second).scene)
            visible = script.visible_at(second)
            assert len(visible) <= 1
            look = visible[0].as_of(second) if visible else None
            now = look.name if look else "nothing"
            if look and showings and showings[-1].event == visible[0] and showings[-1].last == second - 1:
                showings[-1].last = second
                showings[-1].seen.append(look)
            elif look:
                showings.append(Showing(visible[0], second, second, scenes[-1], [look]))
        return cls(showings, scenes, now)

    def answers(self, question: WorldQuestion) -> set[str]:
        """Every answer that the notes allow. A good question has exactly one."""
        kind, fitting = question.kind, [[s for s in self.showings if s.fits(noun)] for noun in question.about]
        looks = {"colour": "colour", "shape": "shape", "size": "size", "digit": "text", "word": "text"}
        if kind in looks:
            return {getattr(look, looks[kind]) for s in fitting[0] for look in s.seen} or {"not seen"}
        if kind in ("change", "at first", "afterwards", "hidden", "behind"):
            return {s.looks_answer(question) for s in fitting[0]} or {"not seen"}
        if kind in ("scene", "motion"):
            return {getattr(s, kind) for s in fitting[0]} or {"not seen"}
        if kind == "where":
            return {s.place or "moving" for s in fitting[0]} or {"not seen"}
        if kind in ("before", "after"):
            at = {self.showings.index(s) + (1 if kind == "after" else -1) for s in fitting[0]}
            return {self.showings[n].name if 0 <= n < len(self.showings) else "nothing" for n in at}
        if kind in ("first", "order"):
            assert all(len(one) == 1 for one in fitting)
            names = [s.name for s in sorted((one[0] for one in fitting), key=lambda s: s.first)]
            return {names[0] if kind == "first" else ", ".join(names)}
        if kind == "duration":
            return {length(s.last - s.first + 1) for s in fitting[0]}
        if kind in ("when", "last"):
            return self._times(question, fitting[0])
        if kind == "gap":
            assert len(fitting[0]) == len(fitting[1]) == 1
            assert question.value is not None
            exact = abs(fitting[1][0].first - fitting[0][0].first - question.value) <= 1
            return {length(question.value)} if exact else set()
        return {self._closed(question, fitting)}

    def _times(self, question: WorldQuestion, fitting: list[Showing]) -> set[str]:
        if not fitting:
            return {"not seen"}
        assert question.kind == "last" or len(fitting) == 1
        assert question.value is not None
        return {clock(question.value)} if 0 <= fitting[-1].first - question.value < 1 else set()

    def _closed(self, question: WorldQuestion, fitting: list[list[Showing]]) -> str:
        if question.kind == "exists":
            return "yes" if fitting[0] else "no"
        if question.kind == "count":
            return str(len(fitting[0]))
        if question.kind == "now":
            return self.now
        if question.kind == "scene now":
            return self.scenes[-1]
        if question.kind == "scene before":
            return next(scene for scene in reversed(self.scenes) if scene != self.scenes[-1])
        assert question.kind == "scene seen"
        asked = next(scene for scene in SCENES if scene in question.text)
        return "yes" if asked in self.scenes else "no"


def test_a_viewer_of_one_frame_per_second_gives_the_same_single_answer() -> None:
    kinds: Counter[str] = Counter()
    unseen: Counter[str] = Counter()
    for seed in range(30):
        script = make_script(seed, 600)
        for moment in (90.0, 333.3, 600.0):
            at = settled_time(script, moment)
            viewer = Viewer.watch(script, at)
            for question in questions_at(script, at, QuestionPlan(count=100)):
                assert viewer.answers(question) == {question.answer}, question
                assert question.answer not in question.wrong
                assert all(start < end <= at for start, end in question.spans)
                kinds[question.kind] += 1
                unseen[question.kind] += not question.seen
    assert set(kinds) == set(KINDS)
    assert min(kinds.values()) >= 15
    assert all(unseen[kind] for kind in ("colour", "shape", "where", "when", "exists", "digit", "word", "scene seen"))


def test_a_viewer_agrees_where_things_change_in_view_or_are_hidden() -> None:
    kinds: Counter[str] = Counter()
    for seed in range(30):
        script = make_script(seed, 600, WorldConfig(changing=0.7, hidden=0.5))
        for moment in (200.0, 600.0, *(event.end_s - 0.3 for event in script.events if event.change)):
            at = settled_time(script, moment)
            viewer = Viewer.watch(script, at)
            plan = QuestionPlan(count=120, kinds=kinds_of(script.config))
            for question in questions_at(script, at, plan):
                assert viewer.answers(question) == {question.answer}, question
                kinds[question.kind] += 1
    assert set(kinds) == {*KINDS, "change", "at first", "afterwards", "hidden", "behind"}
    assert min(kinds.values()) >= 15


def test_yes_is_as_frequent_as_no_and_something_on_show_is_asked_about() -> None:
    answers: Counter[str] = Counter()
    for seed in range(300):
        script = make_script(seed, 300)
        at = settled_time(script, 290.0)
        answers.update(q.answer for q in questions_at(script, at, QuestionPlan(count=1, kinds=["exists"])))
    assert 0.4 < answers["yes"] / answers.total() < 0.6
    script = make_script(0, 300)
    event = max(script.events, key=lambda e: e.end_s - e.start_s)
    (question,) = questions_at(script, event.end_s - 0.1, QuestionPlan(count=1, kinds=["now"]))
    assert question.answer == event.name


def test_nothing_is_asked_while_the_answer_is_in_doubt() -> None:
    script = make_script(4, 300)
    event = script.events[1]
    with pytest.raises(WorldError, match="ask as of"):
        questions_at(script, event.start_s + 0.5)
    settled = settled_time(script, event.start_s + 0.5)
    assert settled < event.start_s
    assert questions_at(script, settled, QuestionPlan(count=5))
    assert settled_time(script, settled) == settled
    with pytest.raises(WorldError, match="runs from 0 to 300"):
        questions_at(script, 301.0)
    with pytest.raises(WorldError, match="no question is of kind 'smell'"):
        QuestionPlan(kinds=["smell"])


@pytest.mark.parametrize(
    ("held_out", "known"), [(False, "57f451bec5b30ca6"), (True, "2b1fb1e02e17e806")], ids=["trained on", "held out"]
)
def test_wordings_and_their_numbers_are_those_that_the_recipe_teaches(held_out: bool, known: str) -> None:
    """For every kind, so that no held-out wording is ever trained on, and a question's number keeps its words."""
    found = {kind: [[n, PHRASINGS[kind][n]] for n in wordings(kind, held_out=held_out)] for kind in sorted(PHRASINGS)}
    assert hashlib.sha256(json.dumps(found).encode()).hexdigest()[:16] == known


def test_a_reworded_question_says_color_and_never_what_was_held_out() -> None:
    said = {reworded("What colour was the red circle in the forest scene?", Random(seed)) for seed in range(200)}
    assert len(said) > 30
    assert {
        "What color was the red circle in the forest scene?",
        "Which hue was the red circle in the forest scene?",
    } < said
    assert all({"red", "circle", "forest"} <= set(re.findall(r"\w+", text)) for text in said)
    held_out = {text for texts in PHRASINGS.values() for text in texts[-HELD_OUT:]}
    asked = [text for texts in PHRASINGS.values() for text in texts[:-HELD_OUT]]
    results = {reworded(text, Random(f"{seed} {text}"), 0.8) for seed in range(20) for text in asked}
    assert len(results) > 5 * len(asked)
    tails = ("", *TAILS)
    assert not results & {f"{text[:-1]}{tail}{text[-1]}" for text in held_out for tail in tails}
    assert reworded("What colour was it?", Random(1), 0.0) == "What colour was it?"


def test_every_kind_has_many_wordings_and_some_are_held_out() -> None:
    assert set(PHRASINGS) == {*KINDS, *TWIST_KINDS, *CAMERA_KINDS}
    for texts in PHRASINGS.values():
        assert len(set(texts)) == len(texts) >= 12
    assert HELD_OUT >= 3
    script = make_script(2, 600)
    at = settled_time(script, 590.0)
    usual = questions_at(script, at, QuestionPlan(count=80))
    held_out = questions_at(script, at, QuestionPlan(count=80, held_out_wordings=True))
    assert all(q.wording < len(PHRASINGS[q.kind]) - HELD_OUT and not q.held_out_wording for q in usual)
    assert all(q.wording >= len(PHRASINGS[q.kind]) - HELD_OUT and q.held_out_wording for q in held_out)
    assert not any("{" in q.text or "None" in q.text for q in (*usual, *held_out))
    assert questions_at(script, at, QuestionPlan(count=80)) == usual
    assert questions_at(script, at, QuestionPlan(count=80, seed=1)) != usual


def test_multiple_choice_offers_the_truth_once() -> None:
    script = make_script(6, 600)
    letters: Counter[str] = Counter()
    for question in questions_at(script, settled_time(script, 599.0), QuestionPlan(count=80)):
        choice = multiple_choice(question)
        offered = dict(line.split(". ", 1) for line in choice.text.splitlines()[1:])
        assert 2 <= len(offered) <= 4
        assert len(set(offered.values())) == len(offered)
        assert offered[choice.answer] == question.answer
        assert set(choice.wrong) == set(offered) - {choice.answer}
        letters[choice.answer] += 1
    assert len(letters) == 4
    with pytest.raises(WorldError, match="has 1 answers to offer"):
        multiple_choice(question.model_copy(update={"wrong": ()}))


# ---- truth as a document


def test_truth_survives_json_and_tells_the_story(tmp_path: Path) -> None:
    script = make_script(9, 600)
    document = json.loads(json.dumps(truth_of(script)))
    path = tmp_path / "story.truth.json"
    path.write_text(json.dumps(document))
    assert read_truth(path) == (script, None)
    captions = document["captions"]
    assert len(captions["events"]) == len(script.events)
    assert len(captions["clips"]) == len(script.segments)
    for event, caption in zip(script.events, captions["events"], strict=True):
        assert event.name in caption["text"].replace("the digit", "digit")
        assert clock(event.start_s) in caption["text"]
        assert event.name in captions["whole"]
    assert "Nothing appears" in whole_caption(script, until_s=script.events[0].start_s - 1)


@pytest.mark.parametrize(
    ("content", "said"), [("", "cannot be read"), ('{"format": 0}', "format is 0"), ('{"format": 1}', "damaged")]
)
def test_a_bad_truth_file_is_named(tmp_path: Path, content: str, said: str) -> None:
    path = tmp_path / "story.truth.json"
    path.write_text(content)
    with pytest.raises(TruthError, match=rf"story\.truth\.json.*{said}"):
        read_truth(path)


def test_sizes_of_things_are_as_stated() -> None:
    assert [event.extent[1] for event in gallery(0).events[:6]] == [SIZES["small"]] * 6
    with pytest.raises(WorldError, match="at least 64x36"):
        Renderer(make_script(1, 60), width=32, height=18)
