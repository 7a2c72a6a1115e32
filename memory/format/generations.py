"""The arrays of a camera, of all its generations."""

from collections.abc import Iterator
from pathlib import Path

from afterview.memory.base.errors import RepositoryError, Unreadable
from afterview.memory.base.feature_spec import FeatureSpec
from afterview.memory.format.feature_spec_file import read_spec
from afterview.memory.format.layout import (
    StoredArray,
    downsampled_arrays,
    feature_arrays,
    generations,
    scalar_arrays,
)


def camera_arrays(camera: Path, generation: int | None = None) -> Iterator[StoredArray]:
    """Every per-frame array of a camera: of one generation, or of all, including one that is being built."""
    yield from scalar_arrays()
    for number in generations(camera) if generation is None else [generation]:
        spec = _spec_or_none(camera, number)
        if spec:
            yield from feature_arrays(number, spec)
            yield from (array for array in downsampled_arrays(number, spec) if (camera / array.name).is_dir())


def _spec_or_none(camera: Path, generation: int) -> FeatureSpec | None:
    try:
        return read_spec(camera, generation)
    except Unreadable:  # it may well have arrays, and erasing must not overlook them
        raise
    except RepositoryError:
        return None
