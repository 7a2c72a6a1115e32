"""The files of one generation, as its writer has them open."""

from dataclasses import dataclass
from pathlib import Path

from afterview.memory.base.spec import FeatureSpec
from afterview.memory.format.journal import Journal
from afterview.memory.format.layout import journal_name
from afterview.memory.format.manifest import Commit
from afterview.memory.format.sealed import SealedFrames
from afterview.memory.format.unsealed import Pending, restore


@dataclass(frozen=True)
class GenerationFiles:
    """Sealed frames, journal, and what the journal holds beyond the sealed ones."""

    spec: FeatureSpec
    sealed: SealedFrames
    journal: Journal
    pending: Pending

    @classmethod
    def open(cls, camera: Path, commit: Commit, spec: FeatureSpec) -> "GenerationFiles":
        """Those of the generation that the commit names. Raises DamagedMemory."""
        sealed = SealedFrames(camera, commit.generation, writable=True)
        gaps = sealed.gaps(commit.gaps)
        journal = Journal(camera / journal_name(commit.generation))
        recovered, journal.recovered = journal.recovered, []
        newest = gaps[-1].before_frame if gaps else -1
        pending = restore(recovered, spec, sealed=commit.frames, sealed_gaps_before=newest)
        return cls(spec, sealed, journal, pending)
