"""Needles of the synthetic world, drawn from a seed of the test split. Pure, except for drawing."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from afterview.stream.ask.options import LETTERS
from afterview.training.base.seeds import seeded
from afterview.training.evaluation.needle.plan import HOPS, Asked, NeedleItem
from afterview.training.world.needles import (
    FINAL_KINDS,
    SINGLE_KINDS,
    Choice,
    NeedleCanvas,
    NeedlePicture,
    caption_question,
    draw_chain,
    draw_picture,
    draw_thing,
    final_question,
    single_question,
)
from afterview.training.world.render import Renderer
from afterview.training.world.script import WorldConfig, make_script
from afterview.training.world.vocabulary import SCENES

Pixels = NDArray[np.uint8]
_EMPTY: Final = WorldConfig(objects=(0, 0), repeats=(0, 0), digits=(0, 0), words=(0, 0))
_CARDS: Final = ("digit", "word")


@dataclass
class ItemSet:
    """All items, their pictures, and the frames of the haystack. pictures: key -> what draws or reads it, uint8 RGB [H, W, 3]."""

    name: str
    single: list[NeedleItem] = field(default_factory=list)
    multi: list[NeedleItem] = field(default_factory=list)
    pictures: dict[str, Callable[[], Pixels]] = field(default_factory=dict)
    haystack: Callable[[int], Iterator[Pixels]] = lambda count: iter(())
    fingerprint: str = ""
    haystack_fingerprint: str = ""
    problems: list[dict[str, str]] = field(default_factory=list)


def world_items(seed: int, single: int, multi: int | None, hops: Sequence[int] = tuple(HOPS)) -> ItemSet:
    """`single` needles of every kind in turn, and `multi` chains of each number of hops (None: as published)."""
    found = ItemSet(f"world {seed}")
    for number in range(single):
        _add_single(found, seed, number)
    for count in hops:
        for number in range(HOPS[count] if multi is None else multi):
            _add_chain(found, seed, count, number)
    found.haystack = lambda count: _empty_frames(seed, count)
    found.fingerprint = found.haystack_fingerprint = f"world needles 1, seed {seed}"
    return found


def _add_single(found: ItemSet, seed: int, number: int) -> None:
    rng = seeded(f"needle items 1, seed {seed}, single {number}")
    kind = SINGLE_KINDS[number % len(SINGLE_KINDS)]
    thing = draw_thing(rng, kind if kind in _CARDS else "object")
    picture = draw_picture(rng, thing, rng.choice(SCENES))
    key = f"single-{number}"
    found.pictures[key] = _drawn(seed, picture, rng.uniform(0, 86_000))
    choice = single_question(rng, picture, kind)
    found.single.append(NeedleItem(key, kind, 0, (key,), (_asked("needle", choice, choice.text),)))


def _add_chain(found: ItemSet, seed: int, hops: int, number: int) -> None:
    rng = seeded(f"needle items 1, seed {seed}, {hops} hops, {number}")
    chain, decoys = draw_chain(rng, hops)
    every = [*chain, *decoys]
    item = f"multi-{hops}-{number}"
    keys = {}
    for place, picture in enumerate(every):
        keys[place] = f"{item}-{place}"
        found.pictures[keys[place]] = _drawn(seed, picture, rng.uniform(0, 86_000))
    order = rng.sample(range(len(every)), len(every))
    caption = caption_question(rng, chain[0], chain[-1], every)
    kind = rng.choice(FINAL_KINDS)
    final = final_question(rng, chain[0], chain[-1], kind)
    opening = caption.text.partition(".")[0] + "."
    asked = (_asked("caption", caption, opening, decoys[-1].caption), _asked("final", final, opening))
    found.multi.append(NeedleItem(item, kind, hops, tuple(keys[place] for place in order), asked))


def _asked(name: Literal["needle", "caption", "final"], choice: Choice, recall: str, decoy: str = "") -> Asked:
    options = dict(zip(LETTERS, choice.options, strict=False))
    wrong = next((letter for letter, option in options.items() if option == decoy), "")
    return Asked(name, choice.asked, choice.text, recall, options, choice.letter, wrong)


def _drawn(seed: int, picture: NeedlePicture, at_s: float) -> Callable[[], Pixels]:
    return lambda: NeedleCanvas(seed, picture.thing.scene).draw(picture, at_s)


def _empty_frames(seed: int, count: int) -> Iterator[Pixels]:
    """Frames of a world in which nothing is shown, one a second."""
    renderer = Renderer(make_script(seed, float(max(count, 10)), _EMPTY))
    return (renderer.frame(float(second)) for second in range(count))
