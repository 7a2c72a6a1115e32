"""The flow on Ray Data: the files of a stage are rows of a data set, and workers make them. A file is written by the worker that made it.

On this machine, or on a cluster (`RAY_ADDRESS`, as everywhere in Ray) whose machines see the directories of videos and of output under the
same paths. Only numbers of files travel through Ray, so its object store stays small. One actor beside the driver keeps the answers of
models. A worker that dies is replaced by Ray, and its file made anew; what was answered is kept.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from afterview.training.base.errors import MarathonError
from afterview.training.base.ray_session import blocks, ray, session
from afterview.training.marathon.config import EndpointConfig, MarathonConfig
from afterview.training.marathon.models.answers import KeptAnswers
from afterview.training.marathon.models.request import Said
from afterview.training.marathon.stages.files import DataSet
from afterview.training.marathon.stages.tools import opened_tools
from afterview.training.marathon.stages.work import make_files


class RemoteAnswers:
    """Kept answers, as a worker sees them."""

    def __init__(self, actor: Any) -> None:
        self._actor = actor

    def get(self, key: str) -> Said | None:
        """The answer of a key, if there is one."""
        found: Said | None = ray.get(self._actor.get.remote(key))
        return found

    def put(self, key: str, purpose: str, item: str, model: str, said: Said) -> Said:
        """Keep an answer durably."""
        kept: Said = ray.get(self._actor.put.remote(key, purpose, item, model, said))
        return kept


class _Worker:
    """Makes files, one after another, with models of its own."""

    def __init__(self, names: list[str], config: dict[str, Any], videos: str, out: str, answers: Any) -> None:
        self._names, self._data = names, DataSet(Path(out))
        self._tools = opened_tools(MarathonConfig.model_validate(config), Path(videos), RemoteAnswers(answers))
        self._opened = self._tools.__enter__()
        self._before: dict[str, dict[str, int]] = {}

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """Make the files of one number. Returns what was asked for it; an error as text, because Ray would hide its kind."""
        number = int(row["number"])
        try:
            make_files(self._data, self._names, number, self._opened)
        except Exception as error:
            return {"number": number, "error": f"{type(error).__name__}: {error}", "counts": "{}"}
        counts, before = self._opened.counts, self._before
        self._before = counts
        new = {
            f"{roles}\t{what}": count - before.get(roles, {}).get(what, 0)
            for roles, of in counts.items()
            for what, count in of.items()
        }
        return {"number": number, "error": "", "counts": json.dumps(new)}


class RayFlow:
    """Makes the files of stages with the workers of a session."""

    def __init__(self, config: MarathonConfig, videos: Path, out: Path, actor: Any, workers: int) -> None:
        self._config, self._videos, self._out, self._actor, self._workers = config, videos, out, actor, workers
        self._counts: Counter[str] = Counter()

    @property
    def counts(self) -> dict[str, dict[str, int]]:
        """What was asked, by role."""
        found: dict[str, dict[str, int]] = {}
        for name, count in self._counts.items():
            roles, _, what = name.partition("\t")
            found.setdefault(roles, {})[what] = count
        return found

    def make(self, names: Sequence[str], numbers: Sequence[int], done: Callable[[int], None]) -> None:
        """Make the files of these numbers. Raises MarathonError if one cannot be made; the others are kept."""
        arguments = (list(names), self._config.model_dump(mode="json"), str(self._videos), str(self._out), self._actor)
        files = ray.data.from_items(
            [{"number": number} for number in numbers], override_num_blocks=blocks(len(numbers), self._workers)
        )
        workers = ray.data.ActorPoolStrategy(size=min(self._workers, len(numbers)))
        made = files.map(_Worker, fn_constructor_args=arguments, compute=workers, num_cpus=0.5)
        for count, row in enumerate(made.iter_rows(), 1):
            if row["error"]:
                raise MarathonError(
                    f"file {row['number']:05d}: {row['error']}; what was made is kept: run the same command again"
                )
            self._counts.update({name: number for name, number in json.loads(row["counts"]).items() if number})
            done(count)


@contextmanager
def opened_ray(config: MarathonConfig, videos: Path, out: Path, kept: KeptAnswers, workers: int) -> Iterator[RayFlow]:
    """A session of Ray, and the flow on it."""
    with session(workers):
        kept.close()  # the actor is the one process that writes
        actor = (
            ray.remote(KeptAnswers)
            .options(max_concurrency=_requests(config, workers), num_cpus=0)
            .remote(out.absolute())
        )
        try:
            yield RayFlow(config, videos.absolute(), out.absolute(), actor, workers)
            ray.get(actor.close.remote())
        finally:
            ray.kill(actor)


def _requests(config: MarathonConfig, workers: int) -> int:
    """How many answers may wait to be kept at the same time."""
    models = [config.models.captioner, config.models.writer, *config.models.looks]
    return workers * max(one.at_once if isinstance(one, EndpointConfig) else 1 for one in models) + 1
