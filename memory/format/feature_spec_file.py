"""`spec.json`: the spec of one generation of a camera."""

from pathlib import Path

from afterview.configs import ConfigError, load_mapping
from afterview.memory.base.documents import read_json, write_json
from afterview.memory.base.errors import FormatMismatch
from afterview.memory.base.feature_spec import FeatureSpec
from afterview.memory.format.layout import generation_name

REMEDY = (
    "`afterview fsck --repair` fetches it from the memory's store; without a store, copy it from another camera that was "
    "recorded with the same model and --tokens"
)


def spec_path(camera: Path, generation: int) -> Path:
    """The file of a generation's spec."""
    return camera / generation_name(generation) / "spec.json"


def read_spec(camera: Path, generation: int) -> FeatureSpec:
    """The spec of one generation of a camera. Raises MemoryNotFound, DamagedMemory or FormatMismatch."""
    path = spec_path(camera, generation)
    values = read_json(path, missing=f"{path}: is missing; {REMEDY}", remedy=REMEDY)
    try:
        return load_mapping(values, FeatureSpec, source=str(path))
    except ConfigError as error:
        raise FormatMismatch(f"{error}; the memory was written by another version of afterview") from None


def write_spec(camera: Path, generation: int, spec: FeatureSpec) -> None:
    """Write the spec, durably."""
    write_json(spec_path(camera, generation), spec.document())
