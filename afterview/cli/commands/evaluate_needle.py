"""`afterview evaluate needle`: pictures and chains of clues in long videos."""

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, get_args

from afterview.cli.arguments import names_in, require_directory, require_model
from afterview.cli.models import require_weights
from afterview.cli.output.documents import dump, printable
from afterview.cli.progress import announced, progress
from afterview.configs import ExitStatus, UsageError
from afterview.memory.base.counts import counted
from afterview.memory.plans.positions import Policy
from afterview.model.base.settings import NO_DROPOUT, VisualDropoutConfig
from afterview.model.checkpoint.preset import find_preset
from afterview.training.evaluation.needle.plan import DEPTHS, LENGTHS, NeedleTest, Task
from afterview.training.evaluation.needle.report import markdown

if TYPE_CHECKING:
    from afterview.training.evaluation.needle.items import ItemSet

_Number = TypeVar("_Number", int, float)
_MOST: int = 100  # numbers in one option
_SHOWN: int = 20  # problems that are printed


def run(arguments: argparse.Namespace) -> int:
    """Encode, ask what is not answered yet, and print the tables."""
    require_model(arguments.model)
    dropout = _dropout(arguments.dropout)
    test = _test(arguments)
    if arguments.haystack and not arguments.data:
        raise UsageError(
            "--haystack needs --data DIR; without it, both pictures and haystack are of the synthetic world"
        )
    require_directory("--out", arguments.out)
    for option, given in (("--data", arguments.data), ("--haystack", arguments.haystack)):
        if given and Path(arguments.out).resolve() == Path(given).resolve():
            raise UsageError(
                f"--out {arguments.out}: is the directory of {option}, whose files are read; give another one"
            )
    require_weights(arguments.model, whole_for="an evaluation of answers")
    document = _search(arguments, test, dropout)
    if arguments.json:
        dump(document)
        return ExitStatus.OK
    print(markdown(document["needle"]))
    for line in _notes(document):
        print(printable(line))
    return ExitStatus.OK


def _notes(document: dict[str, Any]) -> Iterator[str]:
    """What stands below the tables: what was left out and why, and the pictures."""
    for problem in document["problems"][:_SHOWN]:
        yield f"left out: {problem['where']}: {problem['problem']}"
    if len(document["problems"]) > _SHOWN:
        yield f"left out: {len(document['problems']) - _SHOWN} more; results.json names all"
    for task, option in (("single", "--items"), ("multi", "--multi-items")):
        if count := document["items_not_asked"].get(task):
            yield f"not asked: {counted(count, 'item')} of task {task}; {option} (under full recall --full-items) asks more of them"
    haystack = document["haystack"]
    if haystack["frames"] is not None and haystack["frames"] < haystack["bank"]:
        yield f"haystack: it has {counted(haystack['frames'], 'frame')}, which are repeated; --bank asks for {haystack['bank']}"
    for path in document["pictures"]:
        yield f"heat map: {path}"


def _search(arguments: argparse.Namespace, test: NeedleTest, dropout: VisualDropoutConfig | None) -> dict[str, Any]:
    with announced("starting"):
        from afterview.model.checkpoint.loading import load_pretrained  # late: loads torch
        from afterview.training.evaluation.needle.running import search
    items = _items(arguments, test)
    if not any(test.count_of(task, items) for task in test.tasks):
        raise UsageError(
            f"--task {arguments.task}, --hops {','.join(map(str, test.hops))}: the data has no such items; they are for: {_there(items)}"
        )
    with progress(f"loading model {arguments.model}"):
        model = load_pretrained(arguments.model, changes=None if dropout is None else {"visual_dropout": dropout})
    return search(
        test,
        model,
        arguments.model,
        items,
        Path(arguments.out),
        command=["afterview", *sys.argv[1:]],
        progress=progress,
    )


def _items(arguments: argparse.Namespace, test: NeedleTest) -> "ItemSet":
    if arguments.data:
        from afterview.training.evaluation.needle.published import published_items  # late: only for files

        return published_items(Path(arguments.data), Path(arguments.haystack) if arguments.haystack else None)
    from afterview.training.evaluation.needle.items import world_items  # late: draws pictures

    return world_items(test.seed, test.items, test.multi, test.hops)


def _there(items: "ItemSet") -> str:
    hops = sorted({item.hops for item in items.multi})
    multi = [f"multi (hops {', '.join(map(str, hops))})"] if hops else []
    return ", ".join([*(["single"] if items.single else []), *multi]) or "nothing"


def _test(arguments: argparse.Namespace) -> NeedleTest:
    modes = names_in("--recall", arguments.recall)
    preset = find_preset(arguments.model)
    policies: tuple[Any, ...] = _known("--positions", arguments.positions, get_args(Policy)) or (preset.positions,)
    tasks: tuple[Any, ...] = _known("--task", arguments.task, get_args(Task))
    return NeedleTest(
        recall=modes,
        positions=policies,
        lengths=_numbers("--frames", arguments.frames, int) or LENGTHS,
        depths=_numbers("--depths", arguments.depths, float) or DEPTHS,
        tasks=tasks,
        items=arguments.items,
        full_items=arguments.full_items,
        full_lengths=_numbers("--full-frames", arguments.full_frames, int),
        hops=_numbers("--hops", arguments.hops, int),
        multi=arguments.multi_items,
        scoring=arguments.scoring,
        seed=arguments.seed,
        bank=arguments.bank,
    )


def _known(option: str, text: str | None, allowed: Sequence[str]) -> tuple[str, ...]:
    names = names_in(option, text)
    for name in names:
        if name not in allowed:
            raise UsageError(f"{option} {name}: choose from {', '.join(allowed)}")
    return names


def _numbers(option: str, text: str | None, kind: Callable[[str], _Number]) -> tuple[_Number, ...]:
    """`1000,2000` as numbers; none if the option was not given. Raises UsageError."""
    found = []
    for name in names_in(option, text):
        if not name.isascii() or not name.replace(".", "", 1).isdecimal() or len(name) > 12:
            raise UsageError(f"{option} {name}: give numbers, such as {'1000,10000' if kind is int else '0,0.5,1'}")
        try:
            found.append(kind(name))
        except ValueError:
            raise UsageError(f"{option} {name}: give whole numbers") from None
    if len(found) > _MOST:
        raise UsageError(f"{option}: {len(found)} numbers; give at most {_MOST}")
    return tuple(found)


def _dropout(text: str | None) -> VisualDropoutConfig | None:
    """`off`, or `KIND:LAYER=RATIO,...`; None: as the model has it. Raises UsageError."""
    if text is None:
        return None
    if text == "off":
        return NO_DROPOUT
    kind, _, steps = text.partition(":")
    try:
        pairs = [step.split("=") for step in steps.split(",")]
        layers, ratios = [int(layer) for layer, _ in pairs], [float(ratio) for _, ratio in pairs]
        return VisualDropoutConfig.model_validate({"kind": kind, "layers": layers, "ratios": [1.0, *ratios]})
    except ValueError as error:  # pydantic's too
        said = str(error).splitlines()[-1 if "\n" not in str(error) else 2].partition(" [type=")[0].strip()
        said = "is not KIND:LAYER=RATIO,..." if "unpack" in said else said
        raise UsageError(
            f"--dropout {text}: {said}; give off, or for example uniform0_attention:4=0.75,18=0.25"
        ) from None
