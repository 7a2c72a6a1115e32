"""The open files of one generation, for its writer."""

from dataclasses import dataclass
from pathlib import Path

from afterview.memory.base.feature_spec import FeatureSpec
from afterview.memory.format.journal import Journal
from afterview.memory.format.layout import journal_name
from afterview.memory.format.manifest import Manifest
from afterview.memory.format.sealed_writer import SealedWriter
from afterview.memory.format.unsealed import Unsealed, restore


@dataclass(frozen=True)
class GenerationFiles:
    """Sealed frames, the journal, and the frames in the journal that are not sealed."""

    spec: FeatureSpec
    sealed: SealedWriter
    journal: Journal
    unsealed: Unsealed

    @classmethod
    def open(cls, camera: Path, manifest: Manifest, spec: FeatureSpec) -> "GenerationFiles":
        """Open the files of the generation that the manifest names. Raises DamagedMemory."""
        sealed = SealedWriter(camera, manifest.generation)
        gaps = sealed.gaps(manifest.gaps)
        journal = Journal(camera / journal_name(manifest.generation))
        recovered, journal.recovered = journal.recovered, []
        newest = gaps[-1].before_frame if gaps else -1
        unsealed = restore(recovered, spec, sealed=manifest.frames, sealed_gaps_before=newest)
        return cls(spec, sealed, journal, unsealed)
