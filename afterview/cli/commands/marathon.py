"""`afterview marathon`: training data from recordings."""

import argparse
import itertools
from pathlib import Path
from typing import TYPE_CHECKING, Any

from afterview.cli.arguments import require_count, require_directory, seed
from afterview.cli.output.documents import dump, printable
from afterview.cli.progress import progress
from afterview.configs import ExitStatus, UsageError
from afterview.memory.base.counts import counted, spell_bytes
from afterview.memory.base.typed_times import parse_duration, spell_duration

if TYPE_CHECKING:
    from afterview.training.marathon.run import Ran

_MOST_ASSUMED = 100_000_000  # videos of a plan


def run(arguments: argparse.Namespace) -> int:
    """One of the actions."""
    return int(_ACTIONS[arguments.action](arguments))


def _run(arguments: argparse.Namespace) -> int:
    from afterview.training.marathon.run import run as run_stages

    require_directory("--out", arguments.out)
    require_count("--ray", arguments.ray, 0)
    ran = run_stages(
        Path(arguments.config), Path(arguments.videos), Path(arguments.out), until=arguments.until, redo=arguments.redo,
        ray=arguments.ray, progress=progress,
    )  # fmt: skip
    if arguments.json:
        dump(ran.to_dict())
    else:
        _print_run(ran)
    features_failed = ran.exported is not None and ran.exported.features_failed
    return ExitStatus.FAILURE if ran.failed or features_failed else ExitStatus.OK


def _print_run(ran: "Ran") -> None:
    _print_stages(
        [
            {"stage": name, "state": "done" if about.get("done") else "begun", **about}
            for name, about in ran.stages.items()
        ]
    )
    for role, counts in ran.asked.items():
        said = ", ".join(f"{count} {what}" for what, count in counts.items() if count)
        print(f"{role}: {said or 'nothing asked'}")
    if ran.exported is None:
        return
    for split, path in ran.exported.annotations.items():
        print(f"{path}  {counted(ran.exported.samples[split], 'sample')}; name it in a training configuration")
    for split, count in ran.exported.longvid.items():
        if count:
            print(f"{ran.out / f'longvid-{split}.json'}  {counted(count, 'sample')} of LongVid's five kinds")
    if not ran.exported.annotations:
        print("no question was kept; `afterview marathon show DIR` says why")
    print(f"{ran.exported.sheet}  samples for your eye")
    if ran.exported.features is not None:
        print(f"{ran.exported.features}  features")
    for name, why in ran.exported.features_failed.items():
        print(f"{printable(name)}: no features: {printable(why)}")
    if ran.failed:
        print(f"{counted(ran.failed, 'item')} failed; `afterview marathon stages {ran.out}` says where and why")


def _stages(arguments: argparse.Namespace) -> int:
    from afterview.training.marathon.run import stages_of

    found = stages_of(Path(arguments.out))
    if arguments.json:
        dump({"out": arguments.out, "stages": found})
    else:
        _print_stages(found)
        for one in found:
            for reason, count in one.get("reasons", {}).items():
                print(f"  {one['stage']}: {count} {printable(reason)}")
    return ExitStatus.OK


def _print_stages(found: list[dict[str, Any]]) -> None:
    for one in found:
        said = [counted(one["rows"], "row")] if "rows" in one else []
        said += [f"{one[key]} {key.replace('_', ' ')}" for key in ("failed", "left_out") if one.get(key)]
        if "of" in one and one["state"] != "done":
            said.append(f"{one['files']} of {one['of']} files")
        said += [spell_duration(one["seconds"])] if "seconds" in one else []
        print(f"{one['stage']:<17} {one['state']:<8} {', '.join(said)}".rstrip())


def _show(arguments: argparse.Namespace) -> int:
    from afterview.training.marathon.show import rows_of, statistics_of

    out = Path(arguments.out)
    require_count("--limit", arguments.limit, 1)
    if arguments.stage is None:
        if arguments.video is not None or arguments.rejected:
            raise UsageError(
                "--video and --rejected choose rows: name the stage with --stage, for example --stage checks"
            )
        found = statistics_of(out)
        dump(found) if arguments.json else _print_statistics(found)
        return ExitStatus.OK
    rows = itertools.islice(
        rows_of(out, arguments.stage, arguments.video, rejected=arguments.rejected), arguments.limit
    )
    if arguments.json:
        dump({"out": arguments.out, "stage": arguments.stage, "rows": list(rows)})
        return ExitStatus.OK
    for row in rows:
        print(
            "; ".join(
                f"{key}: {printable(str(value))}" for key, value in row.items() if value not in (None, "", [], ())
            )
        )
    return ExitStatus.OK


def _print_statistics(found: dict[str, Any]) -> None:
    paper = found["paper"]
    print(f"{'':<24}{'here':>10}  VideoMarathon")
    for key in ("videos", "hours", "shortest_minutes", "longest_minutes", "questions", "open", "choice", "tasks"):
        print(f"{key.replace('_', ' '):<24}{found[key]:>10,}  {paper[key]:,}")
    for key in ("short", "long", "questions_per_video", "question_words", "answer_words", "rejected"):
        print(f"{key.replace('_', ' '):<24}{found[key]:>10,}")
    for key in ("reasons", "flags", "letters", "left_out", "failed"):
        for name, count in found[key].items():
            print(f"  {key.replace('_', ' ')}: {count} {printable(name)}")
    print(f"{'task':<25}{'reach':<7}{'open':>6}{'choice':>8}{'rejected':>10}")
    for name, one in found["by_task"].items():
        print(f"{name:<25}{one['reach']:<7}{one['open']:>6}{one['choice']:>8}{one['rejected']:>10}")


def _plan(arguments: argparse.Namespace) -> int:
    from afterview.training.marathon.plan import plan_assumed, plan_videos

    if (arguments.videos is None) == (arguments.assume is None):
        raise UsageError("give either --videos DIR or --assume NxDURATION, for example --assume 1000x20m")
    config = Path(arguments.config)
    if arguments.videos is not None:
        plan = plan_videos(config, Path(arguments.videos), progress=progress)
    else:
        plan = plan_assumed(config, *_assumed(arguments.assume))
    found = plan.to_dict()
    if arguments.json:
        dump(found)
        return ExitStatus.OK
    print(f"{counted(found['videos'], 'video')}, {found['hours']:,.1f} hours")
    if found["left_out"]:
        print(
            f"{counted(found['left_out'], 'video')} left out: unreadable, or shorter than videos.least_s or longer than most_s of CONFIG"
        )
    print(
        f"{'stage':<17}{'items':>12}{'requests':>12}{'prompt tokens':>18}{'answer tokens':>16}{'on disk':>12}{'cost':>12}"
    )
    for one in found["stages"]:
        cost = f"{one['cost']:,.2f}" if one["cost"] else ""
        print(
            f"{one['stage']:<17}{one['items']:>12,}{one['requests']:>12,}{one['prompt_tokens']:>18,}{one['answer_tokens']:>16,}"
            f"{spell_bytes(one['bytes']):>12}{cost:>12}"
        )
    total = found["total"]
    print(
        f"{'total':<29}{total['requests']:>12,}{total['prompt_tokens']:>18,}{total['answer_tokens']:>16,}{spell_bytes(total['bytes']):>12}"
        f"{total['cost']:>12,.2f}"
    )
    print("by formula: " + found["assumptions"])
    return ExitStatus.OK


def _assumed(text: str) -> tuple[int, float]:
    """`1000x20m` as a number of videos and seconds."""
    number, _, length = text.partition("x")
    if (
        not (number.isascii() and number.isdecimal() and length and len(number) < 12)
        or not 0 < int(number) <= _MOST_ASSUMED
    ):
        raise UsageError(f"--assume {text}: give a number of videos and their length, for example 1000x20m")
    seconds = parse_duration(length)
    if not 0 < seconds <= 86_400:
        raise UsageError(f"--assume {text}: a video lasts up to 24 hours")
    return int(number), seconds


def _measure(arguments: argparse.Namespace) -> int:
    from afterview.training.marathon.measure import measure, table, writer_table

    require_directory("--out", arguments.out)
    if not 0 <= require_count("--looks", arguments.looks, 0) <= 4:
        raise UsageError(f"--looks {arguments.looks}: 0 to 4 further captioners")
    if not Path(arguments.videos).is_dir():
        raise UsageError(f"--videos {arguments.videos}: is not a directory")
    found = measure(
        Path(arguments.videos), Path(arguments.out), rates=_rates(arguments.rates), looks=arguments.looks, seed=seed(arguments.seed),
        progress=progress,
    )  # fmt: skip
    if arguments.json:
        dump({"out": arguments.out, **found})
    else:
        print(f"{table(found['runs'])}\n{writer_table(found['writer'])}", end="")
    return ExitStatus.OK


def _rates(text: str) -> list[float]:
    try:
        rates = [float(one) for one in text.split(",")]
    except ValueError:
        rates = []
    if not rates or not all(0 < rate <= 1 for rate in rates):
        raise UsageError(f"--rates {text}: give shares above 0 and up to 1, for example 0.05,0.1")
    return list(dict.fromkeys(rates))


_ACTIONS = {"measure": _measure, "run": _run, "stages": _stages, "show": _show, "plan": _plan}
