"""`afterview evaluate retrieval`: what the index finds, in synthetic worlds or in MomentSeeker's videos."""

import argparse
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from afterview.cli.arguments import names_in, positive_duration, require_count, require_directory, require_model
from afterview.cli.commands.evaluate_world import parse_seeds
from afterview.cli.models import load_model_encoders, require_weights
from afterview.cli.output.documents import dump, printable
from afterview.cli.progress import announced, progress
from afterview.configs import ExitStatus, UsageError
from afterview.training.evaluation.plan import WorldTest
from afterview.training.evaluation.results import ResultsWriter, RunIdentity

LONGEST_CLIP_S = 3600


def run(arguments: argparse.Namespace) -> int:
    """Record what is not recorded yet, rank, and print the table."""
    require_model(arguments.model)
    for option in ("--data", "--work", "--out"):
        if (given := getattr(arguments, option[2:])) is not None:
            require_directory(option, given)
    if arguments.data and arguments.out and _reads(Path(arguments.data), Path(arguments.out)):
        raise UsageError(f"--out {arguments.out}: is a directory of the data, whose *.json are read; give another one")
    with tempfile.TemporaryDirectory(prefix="afterview-retrieval-") as temporary:
        work = Path(arguments.work or Path(temporary) / "work")
        out = Path(arguments.out or Path(temporary) / "out")
        found = _moments(arguments, work, out) if arguments.data else _worlds(arguments, work, out)
    if arguments.json:
        dump(found)
    else:
        _show(found)
    if not found["answered"]:
        return ExitStatus.FAILURE
    return ExitStatus.OK


def _show(found: Mapping[str, Any]) -> None:
    """For people."""
    from afterview.training.evaluation.retrieval.table import BAR, markdown

    answered = f"{found['answered']}{'' if found['complete'] else ' of ' + str(found['items'])}"
    print(
        f"{found['model']}: {answered} rankings, with 95 % intervals\n\n{markdown(found['groups'].get('queries', {}))}\n"
    )
    if (timing := found.get("timing")) and timing["search_ms"] is not None:
        print(
            f"A query takes {timing['embed_ms']} ms for its text and {timing['search_ms']} ms for the search (medians)."
        )
    if found.get("index_bytes_per_hour"):
        print(f"The index takes {found['index_bytes_per_hour'] / 1e6:.2f} MB an hour at 1 frame per second.")
    for problem in found["problems"]:
        print(printable(f"{problem['count']} times: {problem['kind']}, for example {problem['examples'][0]}"))
    print(BAR)


def _reads(data: Path, out: Path) -> bool:
    """Whether the files of `out` would be read as data."""
    return out.resolve() in (data.resolve(), (data / "json").resolve())


def _worlds(arguments: argparse.Namespace, work: Path, out: Path) -> dict[str, Any]:
    require_count("--questions", arguments.questions, 1)
    clip_s = int(positive_duration("--clip", arguments.clip))
    if not 1 <= clip_s <= LONGEST_CLIP_S:
        raise UsageError(f"--clip {arguments.clip}: give 1s to 1h, in whole seconds")
    ways = names_in("--queries", arguments.queries)
    test = WorldTest(seeds=parse_seeds(arguments.seeds), frames=arguments.frames, questions=arguments.questions)
    require_weights(arguments.model)
    with announced("starting"):
        from afterview.training.evaluation.retrieval.queries import QUERIES  # late: loads torch
        from afterview.training.evaluation.retrieval.worlds import retrieve, row_ids, timing
        from afterview.training.evaluation.worlds import ingest_worlds
    for way in ways:
        if way not in QUERIES:
            raise UsageError(f"--queries {way}: choose from {', '.join(QUERIES)}")
    encoders = load_model_encoders(arguments.model)
    ingest_worlds(test, encoders, work, progress=progress)
    config = {
        "seeds": [test.seeds[0], test.seeds[-1]],
        "frames": test.frames,
        "questions": test.questions,
        "clip_s": clip_s,
    }
    spec = encoders.index.spec
    with ResultsWriter(
        out, _identity(arguments, "worlds", spec.weights, "", {**config, "queries": list(ways)}), command=sys.argv
    ) as results:
        with progress("rank", "queries") as report:
            rows = retrieve(
                test, encoders, work, clip_s=clip_s, queries={way: QUERIES[way] for way in ways},
                done=results.done, report=report,
            )  # fmt: skip
            for row in rows:
                if row.id not in results.done:
                    results.add(row)
        per_hour = 3600 * spec.width * 4  # float32, as the index holds them
        return results.finish(row_ids(test, ways), timing=timing(results.done.values()), index_bytes_per_hour=per_hour)


def _moments(arguments: argparse.Namespace, work: Path, out: Path) -> dict[str, Any]:
    require_weights(arguments.model)
    with announced("starting"):
        from afterview.training.evaluation.fingerprint import files_fingerprint
        from afterview.training.evaluation.retrieval.momentseeker import read_momentseeker
        from afterview.training.evaluation.retrieval.ranking import late_moments, rank, row_ids
    directory = Path(arguments.data)
    data = read_momentseeker(directory)
    encoders = load_model_encoders(arguments.model)
    videos = [
        *(clip.file for clip in data.clips.values()),
        *(query.video for query in data.queries if query.video is not None),
    ]
    shown = [query.shown for query in data.queries if query.shown is not None]
    with progress("reading the files' fingerprints"):
        files = files_fingerprint([*data.files, *videos, *shown], directory)
    identity = _identity(arguments, "momentseeker", encoders.index.spec.weights, files, {})
    with ResultsWriter(out, identity, command=sys.argv) as results:
        with progress("rank", "queries") as report:
            for row in rank(data, encoders, work, done=results.done, report=report):
                if row.id not in results.done:
                    results.add(row)
        official = [float(row.details["official mAP@5"]) for row in results.done.values() if row.id.endswith("/top-4")]
        mean = round(sum(official) / len(official), 4) if official else None
        problems = data.problems.to_dicts() + late_moments(results.done.values()).to_dicts()
        return results.finish(row_ids(data), problems=problems, official_map5_top4=mean)


def _identity(arguments: argparse.Namespace, task: str, weights: str, data: str, config: dict[str, Any]) -> RunIdentity:
    return RunIdentity("retrieval", task, arguments.model, weights, data, config)
