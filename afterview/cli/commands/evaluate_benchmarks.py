"""`afterview evaluate list`, `run` and `compare`: public benchmarks."""

import argparse
import sys
from pathlib import Path

from afterview.cli.arguments import require_count, require_directory, require_model
from afterview.cli.models import require_weights
from afterview.cli.output.documents import dump, printable
from afterview.cli.progress import announced, progress
from afterview.configs import ExitStatus, UsageError
from afterview.memory.base.counts import counted
from afterview.training.evaluation.benchmarks.base import Benchmark, Options
from afterview.training.evaluation.benchmarks.card import results_markdown
from afterview.training.evaluation.benchmarks.checking import read_checked, read_whatever
from afterview.training.evaluation.benchmarks.registry import ABSENT, BENCHMARKS, find_benchmark
from afterview.training.evaluation.compare import compare, comparison_markdown
from afterview.training.evaluation.results import read_results

_SHOWN = 50  # missing files that a check prints; --json has all


def run(arguments: argparse.Namespace) -> int:
    """Run the action."""
    if arguments.benchmark == "list":
        return _list(arguments)
    return _compare(arguments) if arguments.benchmark == "compare" else _run(arguments)


def _list(arguments: argparse.Namespace) -> int:
    if arguments.json:
        dump({
            "benchmarks": [one.to_dict() for one in BENCHMARKS.values()],
            "absent": [one.to_dict() for one in ABSENT],
        })  # fmt: skip
        return ExitStatus.OK
    for one in BENCHMARKS.values():
        print(f"{one.name}  {one.title} ({one.kind})")
        print(f"  needs     {'; '.join(one.needs)}")
        print(f"  from      {one.download}")
        print(f"  format    {one.source}")
        if one.splits:
            print(f"  --split   {', '.join(one.splits)}")
        if one.judge:
            print(f"  judge     {one.judge}")
    print("\nCannot be run:")
    for absent in ABSENT:
        print(f"  {absent.name}  {absent.title}: {absent.why}")
    return ExitStatus.OK


def _run(arguments: argparse.Namespace) -> int:
    benchmark = find_benchmark(arguments.name)
    options = Options(subtitles=arguments.subtitles, split=arguments.split)
    data = Path(arguments.data)
    if arguments.check:
        return _check(benchmark, data, options, arguments)
    if not arguments.model or not arguments.out:
        raise UsageError("give --model and --out, or --check to look at the files alone")
    if arguments.json and arguments.markdown:
        raise UsageError("--json and --markdown are two forms of the same; give one of them")
    for option, value in (("--limit", arguments.limit), ("--max-tokens", arguments.max_tokens)):
        if value is not None:
            require_count(option, value, 1)
    require_directory("--out", arguments.out)
    if Path(arguments.out).resolve() == data.resolve():
        raise UsageError(
            f"--out {arguments.out}: is the directory of the data, whose tables are read; give another one"
        )
    if arguments.work:
        require_directory("--work", arguments.work)
    require_model(arguments.model)
    require_weights(arguments.model, whole_for="an evaluation of answers")
    reading = read_checked(benchmark, data, options, partial=arguments.partial)
    with announced("starting"):
        from afterview.training.evaluation.benchmarks.evaluation import Run, run_benchmark  # late: loads torch
    document, answered = run_benchmark(
        Run(
            benchmark, data, arguments.model, Path(arguments.out), options, arguments.score, arguments.limit,
            arguments.max_tokens, Path(arguments.work) if arguments.work else None, arguments.discard, arguments.partial,
        ),
        reading,
        command=["afterview", *sys.argv[1:]], progress=progress,
    )  # fmt: skip
    if answered and not document["complete"]:  # of several processes, the last to end prints the results
        return ExitStatus.OK
    if arguments.json:
        dump(document)
    else:
        print(printable(results_markdown(document)))
        if not arguments.markdown:
            print(f"\n{arguments.out}/results.json  and items.jsonl beside it")
            if benchmark.answers is not None:
                print(f"{arguments.out}/answers  for the judge of its authors")
    return ExitStatus.OK if answered else ExitStatus.FAILURE


def _check(benchmark: Benchmark, data: Path, options: Options, arguments: argparse.Namespace) -> int:
    reading = read_whatever(benchmark, data, options)
    if arguments.json:
        dump({
            "benchmark": benchmark.name, "data": str(data), "items": len(reading.items),
            "videos": len({item.video for item in reading.items}), "missing": list(reading.missing),
            "problems": reading.problems.to_dicts(),
        })  # fmt: skip
    else:
        videos = counted(len({item.video for item in reading.items}), "video")
        print(f"{benchmark.title}: {counted(len(reading.items), 'item')} about {videos} can be asked")
        for one in reading.problems.to_dicts():
            print(printable(f"  {one['count']} x {one['kind']}, for example {one['examples'][0]}"))
        for name in reading.missing[:_SHOWN]:
            print(printable(f"  missing: {name}"))
        if len(reading.missing) > _SHOWN:
            print(f"  and {len(reading.missing) - _SHOWN} more; --json lists all")
    return ExitStatus.FAILURE if reading.missing or not reading.items else ExitStatus.OK


def _compare(arguments: argparse.Namespace) -> int:
    found = compare(read_results(Path(arguments.first)), read_results(Path(arguments.second)))
    if arguments.json:
        dump(found.to_dict())
        return ExitStatus.OK
    for warning in found.warnings:
        print(printable(f"note: {warning}"))
    print(f"{found.pairs} items that both answered\n\n{printable(comparison_markdown(found))}")
    return ExitStatus.OK
