"""Optional features of a world: changes in view, covers, cameras that share a story, H.265, multiple choice."""

import hashlib
import json
from collections import Counter
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from afterview.cli.main import main
from afterview.training.base.errors import WorldError
from afterview.training.evaluation.judge import is_right, named
from afterview.training.world import (
    Event,
    QuestionPlan,
    Script,
    World,
    WorldConfig,
    make_script,
    multiple_choice,
    read_truth,
    settled_time,
    split_of,
)
from afterview.training.world.annotations import TASKS
from afterview.training.world.camera_questions import CAMERA_KINDS, shared_questions_at, shared_settled_time
from afterview.training.world.cameras import SharedStory, make_shared_story
from afterview.training.world.covers import cover_box
from afterview.training.world.history import Reference
from afterview.training.world.truth import truth_of
from afterview.training.world.twist_facts import EVERY_KIND, TWIST_KINDS, kinds_of
from afterview.training.world.vocabulary import COLOURS, SIZES, listing
from tests.support.annotations import read_annotations

PALETTE = np.array(list(COLOURS.values()), dtype=np.float32)
INNER = (max, max, min, min)  # of two boxes, the edges of what both hold
RICH = WorldConfig(changing=1.0, hidden=0.6)


def digest(data: bytes) -> str:
    """A short SHA-256."""
    return hashlib.sha256(data).hexdigest()[:16]


# ---- nothing else changes


@pytest.mark.parametrize(
    ("seed", "duration_s", "known"),
    [
        (0, 600, "1da5585762d77beb"),
        (7, 2000, "35685db40b57f084"),
        (123, 86_400, "605ed7fdaed2d82c"),
        (2**32 + 5, 600, "ea5dae1e2059d240"),
    ],
)
def test_worlds_are_what_they_were_when_the_shipped_model_was_taught(seed: int, duration_s: float, known: str) -> None:
    fields = {"seed", "duration_s", "start_hour", "segments", "events"}
    story = make_script(seed, duration_s).model_dump_json(include=fields, exclude_defaults=True)
    assert digest(story.encode()) == known


def test_their_pictures_are_too() -> None:
    world = World(11, 300)
    assert digest(world.frame(123.4).tobytes()) == "aabdb27292884683"
    assert digest(world.frame(world.script.events[2].start_s + 0.5).tobytes()) == "be14566512501a5b"


# ---- changes and covers, in truth and in pixels


def palette_shares(frame: NDArray[np.uint8], box: tuple[float, float, float, float]) -> dict[str, float]:
    """Share of a box's pixels that is close to each colour."""
    height, width = frame.shape[:2]
    left, top, right, bottom = (min(max(edge, 0.0), 1.0) for edge in box)
    part = frame[round(top * height) : round(bottom * height), round(left * width) : round(right * width)]
    near = np.linalg.norm(part[:, :, None].astype(np.float32) - PALETTE, axis=-1) < 45
    return dict(zip(COLOURS, near.mean(axis=(0, 1)).tolist(), strict=True))


def strongest(shares: dict[str, float]) -> str | None:
    """The colour with the largest share, or None."""
    name = max(shares, key=lambda colour: shares[colour])
    return name if shares[name] > 0.03 else None


def of_rich_worlds(seeds: int) -> list[tuple[World, Event]]:
    worlds = [World(seed, 300, config=RICH, width=320, height=180) for seed in range(seeds)]
    return [(world, event) for world in worlds for event in world.script.events]


def test_what_changes_shows_each_look_for_two_frames_and_keeps_its_name_to_itself() -> None:
    changed: Counter[str] = Counter()
    for world, event in of_rich_worlds(12):
        if event.change is None:
            continue
        changed[event.change.attribute] += 1
        names = Counter(other.name for other in world.script.events)
        assert names[event.name] == 1
        assert event.as_of(event.end_s).name not in {n for n in names if n != event.name}
        seconds = [event.as_of(k) for k in range(int(event.start_s) + 1, int(event.end_s) + 1) if k < event.end_s]
        looks = Counter((look.colour, look.size) for look in seconds)
        assert len(looks) == 2
        assert min(looks.values()) >= 2
        for t in (event.change.at_s - 0.2, event.change.at_s + 0.2):
            shares = palette_shares(world.frame(t), event.box_at(t))
            assert strongest(shares) == event.as_of(t).colour
    assert min(changed["colour"], changed["size"]) >= 3


def test_a_changed_size_is_drawn() -> None:
    world, event = next((w, e) for w, e in of_rich_worlds(12) if e.change and e.change.attribute == "size")
    assert event.change is not None
    heights = []
    for t in (event.change.at_s - 0.1, event.change.at_s + 0.1):
        near = np.linalg.norm(world.frame(t).astype(np.float32) - COLOURS[event.colour or ""], axis=-1) < 45
        heights.append(np.ptp(np.flatnonzero(near.any(axis=1))) / 180)
    first, last = (SIZES[event.as_of(t).size or ""] for t in (event.start_s, event.end_s))
    assert heights[0] / heights[1] == pytest.approx(first / last, rel=0.25)


def test_a_cover_hides_a_part_and_leaves_enough_to_tell_the_colour() -> None:
    sides: Counter[str] = Counter()
    for world, event in of_rich_worlds(24):
        if event.cover is None:
            continue
        sides[event.cover.side] += 1
        t = event.start_s + 0.5
        frame = world.frame(t)
        assert strongest(palette_shares(frame, cover_box(event))) is None
        assert strongest(palette_shares(frame, event.box_at(t))) == event.colour
        hidden = tuple(f(one, two) for f, one, two in zip(INNER, cover_box(event), event.box_at(t), strict=True))
        without = with_events(world.script, event.model_copy(update={"cover": None, "number": 0}))
        plain = World.of(without, width=320, height=180).frame(t)
        assert palette_shares(plain, hidden)[event.colour or ""] > 0.02  # something is hidden
    assert set(sides) == {"left", "right", "top", "bottom"}


def with_events(script: Script, *events: Event) -> Script:
    """The script with these events only."""
    return Script.model_validate({**script.model_dump(), "events": [event.model_dump() for event in events]})


def test_captions_tell_of_changes_and_covers(tmp_path: Path) -> None:
    captions = " ".join(
        one["text"] for seed in range(4) for one in truth_of(make_script(seed, 300, RICH))["captions"]["events"]
    )
    assert "partly hidden behind a " in captions
    assert "it turns small" in captions or "it turns big" in captions


def test_what_a_world_is_asked_follows_its_configuration() -> None:
    assert kinds_of(WorldConfig()) == kinds_of(WorldConfig(moving=1.0))
    assert set(kinds_of(RICH)) - set(kinds_of(WorldConfig())) == {
        "change",
        "at first",
        "afterwards",
        "hidden",
        "behind",
    }
    with pytest.raises(ValueError, match="changing"):
        WorldConfig(changing=1.5)


# ---- summaries and choices


def test_a_summary_is_right_when_it_names_what_was_shown_and_nothing_else() -> None:
    world = World(5, 300, config=RICH)
    at = settled_time(world.script, 290.0)
    for question in world.questions(at, QuestionPlan(count=6, kinds=("summary", "scene summary"))):
        assert is_right(question, question.answer)
        assert is_right(question, "I saw " + ", then ".join(sorted(named(question.answer))) + ".")
        assert not is_right(question, "Nothing happened.")
        assert not any(is_right(question, other) for other in question.wrong if named(other) != named(question.answer))
    assert named("A Red circle, the digit 7 and the word STOP in the forest.") == {
        "red circle", "digit 7", "word stop", "forest",
    }  # fmt: skip


def test_a_choice_is_judged_by_its_letter() -> None:
    world = World(5, 300, config=RICH)
    kinds = (*kinds_of(RICH), *TWIST_KINDS)
    asked = world.questions(
        settled_time(world.script, 290.0), QuestionPlan(count=90, kinds=tuple(dict.fromkeys(kinds)))
    )
    chosen = [multiple_choice(question, options=3) for question in asked if question.wrong]
    assert {one.kind for one in chosen} == set(kinds)
    for question in chosen:
        assert is_right(question, question.answer.lower())
        assert is_right(question, f"({question.answer}) because")
        assert not is_right(question, question.wrong[0])


# ---- cameras


def story(seed: int) -> SharedStory:
    return make_shared_story(seed, 300, 2 + seed % 3)


def test_things_go_from_camera_to_camera_and_nothing_else_looks_like_them() -> None:
    for seed in range(12):
        shared = story(seed)
        assert shared == story(seed)
        assert shared.journeys
        assert SharedStory.model_validate_json(shared.model_dump_json()) == shared
        for journey in shared.journeys:
            events = [shared.script(leg.camera).events[leg.event] for leg in journey.legs]
            assert {event.name for event in events} == {journey.thing}
            assert len({leg.camera for leg in journey.legs}) == len(events) >= 2
            assert all(3 <= two.start_s - one.end_s <= 20 for one, two in pairwise(events))
            shown = [e for script in shared.scripts for e in script.events if e.name == journey.thing]
            assert len(shown) == len(events)
        for script in shared.scripts:
            assert [event.number for event in script.events] == list(range(len(script.events)))
            gaps = [b.start_s - a.end_s for a, b in pairwise(script.events)]
            assert min(gaps, default=2.0) >= 2.0 - 1e-6
    assert split_of(shared.seed) == "test"


def test_a_thing_on_its_way_can_be_seen_on_every_camera_from_its_first_frame_to_its_last() -> None:
    shared = story(3)
    for journey in shared.journeys:
        for leg in journey.legs:
            script = shared.script(leg.camera)
            event = script.events[leg.event]
            world = World.of(script, width=320, height=180)
            for t in (event.start_s, event.end_s - 0.05):
                assert palette_shares(world.frame(t), event.box_at(t))[event.colour or ""] > 0.15


def test_cameras_look_at_different_scenery() -> None:
    one, two = (make_script(4, 60, camera=name) for name in ("gate", "hall"))
    same = Script.model_validate({**one.model_dump(), "camera": two.camera})
    difference = np.abs(World.of(one).frame(1.0).astype(int) - World.of(same).frame(1.0))
    assert difference.mean() > 3


def watched(shared: SharedStory, camera: str, at_s: float) -> list[tuple[float, Event]]:
    """What a viewer of one camera sees once per second: seconds and events."""
    script = shared.script(camera)
    return [(second, e.as_of(second)) for second in range(int(at_s) + 1) for e in script.visible_at(second)]


def test_viewers_of_every_camera_agree_with_the_answers() -> None:
    kinds: Counter[str] = Counter()
    for seed in range(10):
        shared = story(seed)
        at = shared_settled_time(shared, 240.0)
        seen = {camera: watched(shared, camera, at) for camera in shared.cameras}
        for question in shared_questions_at(shared, at, count=60):
            kinds[question.kind] += 1
            assert question.answer not in question.wrong
            assert question.text.count("{") == 0
            if question.kind == "on camera":
                assert set(question.cameras) <= {next(camera for camera in shared.cameras if camera in question.text)}
                continue
            (about,) = question.about
            when = {camera: [t for t, e in notes if fits(e, about)] for camera, notes in seen.items()}
            saw = [camera for camera in shared.cameras if when[camera]]
            if question.kind == "camera":
                assert question.answer == (listing(saw) if saw else "not seen")
            elif question.kind == "first camera":
                assert question.answer == min(saw, key=lambda camera: when[camera][0])
            else:
                before = next(camera for camera in shared.cameras if f"the {camera} camera" in question.text)
                later = [camera for camera in saw if when[camera][0] > when[before][-1]]
                assert question.answer == min(later, key=lambda camera: when[camera][0])
    assert set(kinds) == set(CAMERA_KINDS)
    assert min(kinds.values()) >= 10


def fits(event: Event, noun: str) -> bool:
    colour, shape = noun.split()
    return Reference(colour=colour, shape=shape).denotes(event)


def test_impossible_cameras_are_refused() -> None:
    for cameras in (1, 5):
        with pytest.raises(WorldError, match="cannot share a story"):
            make_shared_story(1, 300, cameras)
    with pytest.raises(WorldError, match="there is no camera 'cellar'"):
        story(1).script("cellar")
    with pytest.raises(WorldError, match="no question about cameras is of kind 'colour'"):
        shared_questions_at(story(1), 0.0, kinds=("colour",))


# ---- files


def test_world_make_writes_one_file_per_camera(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small = ["--size", "128x72", "--rate", "2", "--for", "2m", "--questions", "5", "--choices", "3", "--json"]
    assert main(["world", "make", str(tmp_path / "story.mp4"), "--cameras", "2", "--seed", "3", *small]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [Path(one["video"]).name for one in document["videos"]] == ["story-gate.mp4", "story-hall.mp4"]
    for one, camera in zip(document["videos"], ("gate", "hall"), strict=True):
        script, facts = read_truth(Path(one["truth"]))
        assert script.camera == camera
        assert facts is not None
        assert Path(one["video"]).stat().st_size > 1000
    shared = json.loads((tmp_path / "story.story.json").read_text())
    assert shared["cameras"] == {"gate": "story-gate.mp4", "hall": "story-hall.mp4"}
    assert {leg["camera"] for journey in shared["journeys"] for leg in journey["legs"]} == {"gate", "hall"}
    assert all(one["multiple_choice"] and one["answer"] in "ABC" for one in document["questions"])


def test_world_make_writes_h265_with_changes_and_covers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "story.mp4"
    options = [
        "--codec",
        "libx265",
        "--changing",
        "1",
        "--hidden",
        "0.5",
        "--for",
        "60s",
        "--size",
        "320x180",
        "--rate",
        "4",
    ]
    assert main(["world", "make", str(path), "--seed", "2", *options]) == 0
    script, facts = read_truth(tmp_path / "story.truth.json")
    assert facts is not None
    assert facts.codec == "libx265"
    assert script.config.changing == 1
    with av.open(str(path)) as container:
        assert container.streams.video[0].codec_context.name == "hevc"
        frames = {round(frame.time, 2): frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)}
    assert len(frames) == 240
    twisted = [event for event in script.events if event.change or event.cover]
    assert twisted
    for event in twisted:
        for t in (t for t in frames if event.start_s + 0.2 < t < event.end_s - 0.2):
            assert strongest(palette_shares(frames[t], event.box_at(t))) == event.as_of(t).colour
    assert main(["world", "make", str(path), "--changing", "2"]) == 2
    assert "--changing 2" in capsys.readouterr().err


def test_a_world_can_be_trained_on_as_any_annotated_video(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, out = tmp_path / "story.mp4", tmp_path / "annotations.json"
    small = ["--size", "128x72", "--rate", "2", "--for", "60s", "--seed", "3"]
    assert main(["world", "make", str(path), *small, "--questions", "12", "--annotations", str(out), "--json"]) == 0
    questions = json.loads(capsys.readouterr().out)["questions"]
    samples = read_annotations(out)
    assert [len(sample.conversations) for sample in samples] == [10, 10, 4]
    assert {sample.video for sample in samples} == {"story.mp4"}
    said = [turn.value.removeprefix("<image>\n") for sample in samples for turn in sample.conversations]
    assert said == [text for q in questions for text in (q["text"], q["answer"])]
    tasks = [task for sample in json.loads(out.read_text()) for task in sample["tasks"]]
    assert tasks == [TASKS[question["kind"]] for question in questions]
    assert set(TASKS) == {*EVERY_KIND, *CAMERA_KINDS}
    assert main(["world", "make", str(path), *small, "--annotations", str(out)]) == 2
    assert "needs --questions" in capsys.readouterr().err
