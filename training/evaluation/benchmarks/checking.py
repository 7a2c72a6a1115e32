"""Looks at the files of a benchmark before anything is run."""

from pathlib import Path

from afterview.memory.base.counts import counted
from afterview.training.base.errors import BenchmarkError
from afterview.training.evaluation.benchmarks.base import Benchmark, Options, Reading

_NAMED = 20  # missing files that an error names


def read_checked(benchmark: Benchmark, data: Path, options: Options, *, partial: bool = False) -> Reading:
    """The items of a data directory. Raises BenchmarkError for missing files unless `partial`, and if there is nothing to ask."""
    reading = read_whatever(benchmark, data, options)
    if reading.missing and not partial:
        named = ", ".join(reading.missing[:_NAMED])
        more = f" and {len(reading.missing) - _NAMED} more" if len(reading.missing) > _NAMED else ""
        raise BenchmarkError(
            f"{data}: {counted(len(reading.missing), 'file')} missing: {named}{more}; download what is missing, see all "
            "with --check, or ask about the rest with --partial"
        )
    if not reading.items:
        why = (
            "; ".join(f"{one['count']} x {one['kind']}" for one in reading.problems.to_dicts())
            or "its tables are empty"
        )
        raise BenchmarkError(f"{data}: nothing to ask: {why}")
    return reading


def read_whatever(benchmark: Benchmark, data: Path, options: Options) -> Reading:
    """The same with whatever is there. Raises BenchmarkError for a set or subtitles that it does not have, and without any table."""
    if options.split and options.split not in benchmark.splits:
        known = f"; there are: {', '.join(benchmark.splits)}" if benchmark.splits else ", for it has no sets"
        raise BenchmarkError(f"--split {options.split}: {benchmark.title} has no such set{known}")
    if options.subtitles and not benchmark.subtitles:
        raise BenchmarkError(f"--subtitles: {benchmark.title} has none")
    return benchmark.read(data, options)
