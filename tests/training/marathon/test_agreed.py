"""What several captioners agree on, and what becomes of questions that it does not bear out."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from afterview.configs import ConfigError
from afterview.training.marathon.config import ClipsConfig
from afterview.training.marathon.models.prompts import prompt
from afterview.training.marathon.models.shapes import ClipCaptionAnswer
from afterview.training.marathon.rows import Checked, Clip, ClipCaption, Failure, LeftOut, Video
from afterview.training.marathon.run import run
from afterview.training.marathon.stages.captions import within_clip
from afterview.training.marathon.stages.files import DataSet
from afterview.training.marathon.stages.videos import clips_of
from afterview.training.marathon.worlds.agreeing import agreed
from afterview.training.marathon.worlds.captioner import Mistakes, caption_clip, described
from afterview.training.marathon.worlds.story import Story, read_story, sighting_in, story_of
from afterview.training.world import WorldConfig, make_script
from tests.training.marathon.conftest import EXACT, settings

Told = tuple[float, float, str]


def said(*moments: Told) -> list[dict[str, Any]]:
    """The captions of one captioner: a clip a moment."""
    return [
        {"moments": [{"start_s": start, "end_s": end, "aspect": "object", "text": text}]}
        for start, end, text in moments
    ]


def times(captioners: list[list[dict[str, Any]]], least: int = 2) -> list[Told]:
    return [(one["start_s"], one["end_s"], one["text"]) for one in agreed(captioners, least)]


@pytest.mark.parametrize(
    ("captioners", "least", "expected"),
    [
        ([said((1, 4, "a cat")), said((1, 4, "a cat")), said()], 2, [(1, 4, "a cat")]),  # one is silent
        ([said((1, 4, "a cat")), said(), said()], 2, []),  # one makes it up
        ([said((1, 4, "a cat")), said(), said()], 1, [(1, 4, "a cat")]),
        ([said((1, 4, "a cat")), said((1, 4, "a dog")), said((1, 4, "a dog"))], 2, [(1, 4, "a dog")]),  # one mistakes it
        ([said((1, 6, "a cat")), said((1, 3, "a cat"), (3, 6, "a cat")), said()], 2, [(1, 6, "a cat")]),  # at a border of clips
        ([said((1, 6, "a cat")), said((1, 3, "a cat")), said((3, 6, "a cat"))], 2, [(1, 6, "a cat")]),  # each half by another
        ([said((1, 6, "a cat")), said((2, 9, "a cat")), said()], 2, [(2, 6, "a cat")]),
        ([said((1, 3, "a cat"), (7, 9, "a cat")), said((1, 9, "a cat"))], 2, [(1, 3, "a cat"), (7, 9, "a cat")]),
        ([said((1, 4, "a cat"), (1, 4, "a cat")), said()], 2, []),  # twice by one captioner
        ([said((1, 4, "a cat")), said((4.01, 8, "a cat"))], 2, []),
        ([], 2, []),
    ],
)  # fmt: skip
def test_when_captioners_agree(captioners: list[list[dict[str, Any]]], least: int, expected: list[Told]) -> None:
    assert times(captioners, least) == expected


RED = "a big red circle in the middle"
BLUE = "a big blue circle in the middle"
SMALL = "a small red circle in the middle"
LEFT = "a big red circle in the top left"


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ([RED, RED, BLUE], [RED]),
        ([RED, BLUE, SMALL, LEFT], [RED]),  # each mistakes another property
        ([RED, RED, BLUE, BLUE], []),  # as many for as against
        ([RED, RED, SMALL, SMALL], ["a red circle in the middle"]),  # only its size is uncertain
        ([RED, LEFT], ["a big red circle"]),
        ([RED, BLUE], []),
        ([RED, "a small blue square in the top left"], []),  # of two things each captioner tells of one
        ([RED, "the digit 7 in the middle"], []),
        (["the digit 7 in the middle", "the digit 7 in the top left"], ["the digit 7"]),
        (["a big red circle moving left across the picture"] * 2, ["a big red circle moving left across the picture"]),
        (["the city scene", "the city scene", "the forest scene"], ["the city scene"]),
    ],
)
def test_on_what_captioners_agree(told: list[str], expected: list[str]) -> None:
    assert [text for _, _, text in times([said((1, 4, text)) for text in told])] == expected
    assert all(sighting_in(text, 0, 1) or "scene" in text for text in expected)


def test_a_caption_of_nothing_has_its_shape() -> None:
    assert ClipCaptionAnswer.model_validate(described([], [])).moments == ()


def test_two_things_that_one_captioner_tells_of_stay_two() -> None:
    both = said((1, 4, RED), (1, 4, SMALL))
    assert sorted(text for _, _, text in times([both, both, said((1, 4, RED))])) == sorted([RED, SMALL])


@pytest.mark.parametrize("seed", range(4))
def test_exact_captioners_agree_on_the_whole_truth(seed: int) -> None:
    story = story_of(make_script(seed, 300.0, WorldConfig(hidden=0.4, moving=0.4, changing=0.3, repeats=(1, 3))), None)
    told = [captions_of(story, look) for look in range(4)]
    assert read_story(agreed(told, 2), story.seconds) == story


def captions_of(story: Story, look: int) -> list[dict[str, Any]]:
    video = Video(video="v", bytes=1, seconds=story.seconds)
    clips = clips_of(video, ClipsConfig(), look=look, looks=3)
    return [caption_clip(story, "v", clip.start_s, clip.end_s, Mistakes()) for clip in clips]


def test_exemplars_stay_within_their_clip() -> None:
    for one in prompt("agreed_caption").file.exemplars:
        clip = Clip(key="k", video="v", number=0, **one.data["clip"])
        within_clip(ClipCaptionAnswer.model_validate(one.answer), clip)


@pytest.fixture(scope="module")
def faulty(worlds: Path, tmp_path_factory: pytest.TempPathFactory) -> DataSet:
    """Captioners of which each leaves out and invents much."""
    tmp_path = tmp_path_factory.mktemp("faulty")
    made = [{"kind": "world", "drop": 0.15, "hallucinate": 0.4, "seed": seed} for seed in range(4)]
    models = {"captioner": made[0], "writer": EXACT, "looks": made[1:]}
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump(settings(models=models)))
    run(path, worlds, tmp_path / "out")
    return DataSet(tmp_path / "out")


def test_a_thing_that_one_captioner_tells_of_proves_nothing(faulty: DataSet) -> None:
    def texts(stage: str) -> set[tuple[str, str]]:
        rows = [row for row in faulty.rows(stage) if isinstance(row, ClipCaption)]
        return {(row.video, moment.text) for row in rows for moment in row.moments}

    first, agreed_on = texts("clip-captions"), texts("agreed-captions")
    assert first - agreed_on, "nothing was made up"
    assert agreed_on - first, "nothing was left out"
    rows = [row for row in faulty.rows("checks") if isinstance(row, Checked)]
    rejected = [row for row in rows if row.reasons == ("looks",)]
    assert rejected
    assert all(row.supported == row.answer for row in rejected if row.form == "choice"), (
        "the captions alone bear it out"
    )
    assert all(row.agreed != row.answer for row in rejected)
    assert any(row.kept for row in rows)


def test_a_clip_without_a_further_caption_leaves_a_video_unchecked(
    faulty: DataSet, worlds: Path, tmp_path: Path
) -> None:
    name, config = "further-captions", faulty.out.parent / "run.yaml"
    faulty = DataSet(Path(shutil.copytree(faulty.out, tmp_path / "out")))
    rows = faulty.read(name, 0)
    lost = next(row for row in rows if isinstance(row, ClipCaption))
    kept = [row for row in rows if row is not lost]
    faulty.file(name, 0).unlink()
    faulty.write(name, 0, [*kept, Failure(key=f"{lost.key}/{lost.look}", video=lost.video, failed="no answer")])
    for later in ("agreed-captions", "checks"):
        faulty.remove(later)
    run(config, worlds, faulty.out)
    (left_out,) = [row for row in faulty.rows("agreed-captions") if isinstance(row, LeftOut)]
    assert left_out.video == lost.video
    assert left_out.left_out.startswith("1 of ")
    of = [row for row in faulty.rows("checks") if isinstance(row, Checked)]
    assert all("unchecked" in row.reasons for row in of if row.video == lost.video and row.supported)
    assert any(row.kept for row in of if row.video != lost.video)


def test_more_captioners_than_there_are_is_refused(worlds: Path, tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump(settings(checks={"captioners": 3})))
    with pytest.raises(ConfigError, match=r"checks\.captioners is 3, but there are only 2 captioners"):
        run(path, worlds, tmp_path / "out")
    path.write_text(yaml.safe_dump(settings(checks={"captioners": 3}, models={"captioner": EXACT, "writer": EXACT})))
    assert run(path, worlds, tmp_path / "out", until="clips").stages
