"""Extraction divided among the workers of Ray Data: the same files as `extract` makes one after another (training.data.extraction).

Each worker takes some sources at a time and writes their features itself, so nothing large goes through Ray. All machines must see the
sources and the bank under the same paths.
"""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from afterview.training.base.errors import TrainingError
from afterview.training.base.progress import ShowProgress, unseen
from afterview.training.base.ray_session import ray, session
from afterview.training.data.extraction import Damaged, Extraction, bank_names, extract

_SHARES: Final = 4  # of the sources, for each worker: a share loads the encoders once


def extract_with_ray(
    sources: Sequence[Path],
    model: str,
    directory: Path,
    *,
    workers: int,
    root: Path | None = None,
    frames: bool = False,
    damaged: Damaged = "keep",
    progress: ShowProgress = unseen,
) -> Extraction:
    """As `extract`, with so many workers. Raises UsageError for two sources of one name, TrainingError where a worker ends the rest."""
    bank_names(sources, root)  # a worker would not see that two of them have one name
    began, done = time.monotonic(), Extraction(directory, [], 0.0)
    shares = _divided([str(source.absolute()) for source in sources], workers * _SHARES)
    places = {str(source.absolute()): str(source) for source in sources}
    options = (model, str(directory.absolute()), None if root is None else str(root.absolute()), frames, damaged)
    with session(workers), progress("sources", "sources") as report:
        rows = ray.data.from_items([{"sources": share} for share in shares], override_num_blocks=len(shares))
        pool = ray.data.ActorPoolStrategy(size=min(workers, len(shares)))
        finished = 0
        for row in rows.map(_Worker, fn_constructor_args=options, compute=pool, num_cpus=0.5).iter_rows():
            if row["error"]:
                raise TrainingError(f"{row['error']}; what was extracted is kept: run the same command again")
            done.made.extend(row["made"])
            for name in ("skipped", "failed", "damaged"):
                getattr(done, name).update({places.get(key, key): why for key, why in row[name]})
            finished += len(row["sources"])
            report(finished, len(sources))
    made = sorted(done.made)
    return Extraction(directory, made, time.monotonic() - began, done.skipped, done.failed, done.damaged)


def _divided(names: list[str], most: int) -> list[list[str]]:
    """The names in up to `most` shares of about the same size."""
    count = min(most, len(names))
    return [names[number::count] for number in range(count)]


class _Worker:
    """Extracts shares of the sources."""

    def __init__(self, model: str, directory: str, root: str | None, frames: bool, damaged: Damaged) -> None:
        self._model, self._directory, self._root = model, Path(directory), None if root is None else Path(root)
        self._frames, self._damaged = frames, damaged

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """Extract one share; an error that ends it as text, because Ray would hide its kind."""
        sources = [str(source) for source in row["sources"]]
        try:
            done = extract(
                [Path(source) for source in sources], self._model, self._directory, root=self._root, frames=self._frames,
                damaged=self._damaged,
            )  # fmt: skip
        except Exception as error:
            return {"sources": sources, "error": str(error), "made": [], "skipped": [], "failed": [], "damaged": []}
        named = {
            name: [list(pair) for pair in getattr(done, name).items()] for name in ("skipped", "failed", "damaged")
        }
        return {"sources": sources, "error": "", "made": done.made, **named}
