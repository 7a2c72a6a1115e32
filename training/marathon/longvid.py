"""The five kinds of questions of LongVid (VideoChat-Flash, arXiv 2501.00574), from events and moments. Pure; asks no model.

captioning          what happens in a part of the video: the event's caption
temporal grounding  when something can be seen: its start and end
event relation      what happens directly after an event
scene relation      which place comes directly after a place
event counting      how many times something can be seen

Only what its words name uniquely is asked about. They are as good as the captions: the checks of the other questions do not apply.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from random import Random
from typing import Final, Literal

from afterview.model.language.moments import clock
from afterview.training.marathon.rows import ClipCaption, Moment, VideoEvent

Kind = Literal["captioning", "temporal grounding", "event relation", "scene relation", "event counting"]
KINDS: Final[tuple[Kind, ...]] = (
    "captioning",
    "temporal grounding",
    "event relation",
    "scene relation",
    "event counting",
)
_JOINS_S: Final = 0.75  # between two moments of the same words, at the border of two clips
_MOST: Final = 5  # questions of a kind and video


@dataclass(frozen=True)
class LabelQuestion:
    """A question and its answer."""

    kind: Kind
    question: str
    answer: str


def label_questions(
    events: Sequence[VideoEvent], captions: Sequence[ClipCaption], rng: Random, most: int = _MOST
) -> list[LabelQuestion]:
    """Up to `most` questions of each kind about a video, in the order of the kinds."""
    moments = joined(moment for caption in captions for moment in caption.moments)
    made = [
        *_captioning(events),
        *_relations(events),
        *_grounding(moments),
        *_scenes(moments),
        *_counting(moments, rng),
    ]
    found: list[LabelQuestion] = []
    for kind in KINDS:
        of_kind = [one for one in made if one.kind == kind]
        found += rng.sample(of_kind, min(most, len(of_kind)))
    return found


def joined(moments: Iterable[Moment]) -> list[Moment]:
    """The moments in order of time; what goes on over the border of two clips is one."""
    found: list[Moment] = []
    last: dict[tuple[str, str], int] = {}
    for one in sorted(moments, key=lambda one: (one.start_s, one.end_s, one.text)):
        place = last.get((one.aspect, one.text))
        if place is not None and one.start_s - found[place].end_s < _JOINS_S:
            found[place] = found[place].model_copy(update={"end_s": max(found[place].end_s, one.end_s)})
        else:
            last[one.aspect, one.text] = len(found)
            found.append(one)
    return found


def _captioning(events: Sequence[VideoEvent]) -> Iterator[LabelQuestion]:
    for one in events:
        if one.caption:
            asked = f"Describe what happens from {clock(one.start_s)} to {clock(one.end_s)}."
            yield LabelQuestion("captioning", asked, one.caption)


def _relations(events: Sequence[VideoEvent]) -> Iterator[LabelQuestion]:
    titles = Counter(one.title for one in events)
    for one, after in pairwise(events):
        if titles[one.title] == 1 and after.title != one.title:
            yield LabelQuestion("event relation", f'What happens directly after this: "{one.title}"?', after.title)


def _grounding(moments: Sequence[Moment]) -> Iterator[LabelQuestion]:
    texts = Counter(one.text for one in moments)
    for one in moments:
        if one.aspect != "scene" and texts[one.text] == 1:
            answer = f"From {clock(one.start_s)} to {clock(one.end_s)}."
            yield LabelQuestion("temporal grounding", f'When can this be seen: "{one.text}"?', answer)


def _scenes(moments: Sequence[Moment]) -> Iterator[LabelQuestion]:
    places = [text for text, _ in groupby(one.text for one in moments if one.aspect == "scene")]
    times = Counter(places)
    for one, after in pairwise(places):
        if times[one] == 1:
            yield LabelQuestion("scene relation", f'Which place comes directly after this one: "{one}"?', after)


def _counting(moments: Sequence[Moment], rng: Random) -> Iterator[LabelQuestion]:
    """What is seen several times, and as many things that are seen once."""
    texts = Counter(one.text for one in moments if one.aspect != "scene")
    often, once = ([text for text, count in texts.items() if (count > 1) == several] for several in (True, False))
    for text in [*often, *rng.sample(once, min(len(once), max(1, len(often))))]:
        yield LabelQuestion("event counting", f'How many times can this be seen: "{text}"?', str(texts[text]))
