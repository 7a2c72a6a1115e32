"""In which order a stage draws its items. Pure.

The samples of a training are one sequence, epoch after epoch. Step s takes the samples from s * G to (s + 1) * G, where G is the global
batch. How they are divided among processes and accumulated batches therefore changes nothing but rounding, and a training can be resumed
in another number of processes.
"""

from collections.abc import Sequence
from typing import NamedTuple

from afterview.training.base.errors import DataError
from afterview.training.base.seeds import seeded


class Drawn(NamedTuple):
    """Which item a sample is. number: of the sample in the whole training."""

    number: int
    stream: int
    item: int


class SampleOrder:
    """The items of a training by the number of the sample."""

    def __init__(
        self, sizes: Sequence[int], weights: Sequence[float], *, together: int | None = None, seed: int
    ) -> None:
        """sizes, weights: of the streams. together: see `plan_epoch`. Raises DataError if no item is left for an epoch."""
        self._sizes, self._weights, self._together, self._seed = list(sizes), list(weights), together, seed
        self._epochs: dict[int, list[tuple[int, int]]] = {}
        self.epoch = len(self._order(0))  # samples

    def __call__(self, number: int) -> Drawn:
        """Sample `number`, counted over all epochs."""
        epoch, place = divmod(number, self.epoch)
        return Drawn(number, *self._order(epoch)[place])

    def _order(self, epoch: int) -> list[tuple[int, int]]:
        if epoch not in self._epochs:
            while len(self._epochs) > 1:  # a batch may reach from one epoch into the next
                del self._epochs[min(self._epochs)]
            self._epochs[epoch] = plan_epoch(
                self._sizes, self._weights, together=self._together, seed=self._seed, epoch=epoch
            )
        return self._epochs[epoch]


def plan_epoch(
    sizes: Sequence[int], weights: Sequence[float], *, together: int | None = None, seed: int, epoch: int
) -> list[tuple[int, int]]:
    """The samples of one epoch, each as (stream, item).

    A stream of weight w gives each item floor(w) times, plus a random share of its items once more. together: this many consecutive
    samples (one optimizer step) come from one stream; the last of them are filled with items drawn again.
    """
    rng = seeded(f"epoch 1, seed {seed}, epoch {epoch}")
    per_stream: list[list[tuple[int, int]]] = []
    for stream, (size, weight) in enumerate(zip(sizes, weights, strict=True)):
        whole, rest = divmod(weight, 1)
        items = list(range(size)) * int(whole) + rng.sample(range(size), round(size * rest))
        rng.shuffle(items)
        if together and items:
            items += rng.choices(range(size), k=-len(items) % together)
        per_stream.append([(stream, item) for item in items])
    if not any(per_stream):
        raise DataError("the weights of the streams leave no item for an epoch")
    if not together:
        mixed = [pair for pairs in per_stream for pair in pairs]
        rng.shuffle(mixed)
        return mixed
    steps = [pairs[at : at + together] for pairs in per_stream for at in range(0, len(pairs), together)]
    rng.shuffle(steps)
    return [pair for step in steps for pair in step]
