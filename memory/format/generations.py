"""Which arrays a camera has, of all its generations."""

from collections.abc import Iterator
from pathlib import Path

from afterview.memory.base.errors import RepositoryError
from afterview.memory.base.spec import FeatureSpec
from afterview.memory.format.layout import (
    ArrayLayout,
    downsampled_layouts,
    feature_layouts,
    generations,
    scalar_layouts,
)
from afterview.memory.format.spec_file import read_spec


def camera_layouts(camera: Path, generation: int | None = None) -> Iterator[ArrayLayout]:
    """Every per-frame array of a camera: of one generation, or of all, those still being built included."""
    yield from scalar_layouts()
    for number in generations(camera) if generation is None else [generation]:
        spec = _spec_or_none(camera, number)
        if spec:
            yield from feature_layouts(number, spec)
            yield from (layout for layout in downsampled_layouts(number, spec) if (camera / layout.name).is_dir())


def _spec_or_none(camera: Path, generation: int) -> FeatureSpec | None:
    try:
        return read_spec(camera, generation)
    except RepositoryError:
        return None
