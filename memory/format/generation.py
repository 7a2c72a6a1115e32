"""The files of one generation, as its writer has them open."""

from dataclasses import dataclass
from pathlib import Path

from afterview.memory.base.spec import FeatureSpec
from afterview.memory.format.journal import Journal
from afterview.memory.format.layout import journal_name
from afterview.memory.format.manifest import Manifest
from afterview.memory.format.sealed_writer import SealedWriter
from afterview.memory.format.unsealed import Unsealed, restore


@dataclass(frozen=True)
class GenerationFiles:
    """Sealed frames, journal, and what the journal holds beyond the sealed ones."""

    spec: FeatureSpec
    sealed: SealedWriter
    journal: Journal
    unsealed: Unsealed

    @classmethod
    def open(cls, camera: Path, manifest: Manifest, spec: FeatureSpec) -> "GenerationFiles":
        """Those of the generation that the commit names. Raises DamagedMemory."""
        sealed = SealedWriter(camera, manifest.generation)
        gaps = sealed.gaps(manifest.gaps)
        journal = Journal(camera / journal_name(manifest.generation))
        recovered, journal.recovered = journal.recovered, []
        newest = gaps[-1].before_frame if gaps else -1
        unsealed = restore(recovered, spec, sealed=manifest.frames, sealed_gaps_before=newest)
        return cls(spec, sealed, journal, unsealed)
