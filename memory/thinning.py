"""Keeping old frames coarse: the writer's steps, a few seals at a time, in an order that a crash can interrupt anywhere.

coarse chunks written -> committed as coarse -> the other chunks deleted -> committed as erased. Readers take the chunk that is there,
so they see a frame at every moment (codes go before their scales, and either without the other is as good as gone). The steps before
the commit can be done again; the one after it is, by the next writer.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from memory.building import building_lock
from memory.coarse import Coarse, add_coarse, can_be_coarse, coarse_mask, coarsen
from memory.erase import Erased
from memory.errors import DamagedFrames
from memory.failpoints import reach
from memory.layout import SEAL_FRAMES, feature_layouts
from memory.quantised import quantise
from memory.removal import present
from memory.retention import plan_coarsening
from memory.store_settings import read_store
from memory.uploaded import Uploads

if TYPE_CHECKING:
    from memory.repository import Repository

AT_ONCE = 4  # seals: a fifth of a second of the write thread


def thin(
    repository: "Repository", seconds: float | None, keep: Sequence[tuple[float, float]], *, at_most: int = AT_ONCE
) -> int:
    """Make the oldest seals coarse that are older than `seconds`; returns how many frames that was.

    Nothing happens to what cannot be read, to merged tokens, and where a store has the chunks: what was sent there stays as it is.
    """
    camera, commit, spec = repository.directory, repository.commit, repository.spec
    if seconds is None or not can_be_coarse(spec.tokens) or Uploads.read(camera).trees or read_store(camera.parent):
        return 0
    sealed = commit.frames
    held = np.zeros(sealed, dtype=bool)
    held[present(sealed, commit.removed)] = True
    held &= ~coarse_mask(sealed, commit.coarse)
    chosen = plan_coarsening(repository.times()[:sealed], held, seconds=seconds, keep=keep)
    done: list[Coarse] = []
    for first in chosen:
        if len(done) < at_most and _write(repository, first):
            done.append(Coarse(first, first + SEAL_FRAMES, erased=False))
    reach("thin.before-commit")
    if done:
        repository.put_commit(replace(commit, coarse=add_coarse(commit.coarse, done)))
        reach("thin.after-commit")
        finish_thinning(repository)
    return SEAL_FRAMES * len(done)


def _write(repository: "Repository", first: int) -> bool:
    """The coarse chunks of a seal; False where its tokens cannot be read."""
    sealed, spec = repository.sealed, repository.spec
    ids = np.arange(first, first + SEAL_FRAMES)
    gone = np.setdiff1d(ids, present(first + SEAL_FRAMES, repository.commit.removed)) - first
    try:
        tokens = sealed.tokens(ids)
    except DamagedFrames as error:
        if np.setdiff1d(error.frames - first, gone).size:
            return False
        held = np.setdiff1d(ids, error.frames)
        tokens = np.zeros((SEAL_FRAMES, spec.tokens.tokens_per_frame, spec.tokens.width), dtype=np.float16)
        tokens[held - first] = sealed.tokens(held)
    tokens[gone] = 0
    rows = coarsen(tokens)
    sealed.write_coarse(first, spec, {"tokens": rows} if spec.tokens.storage == "float16" else quantise(rows).arrays)
    return True


def finish_thinning(repository: "Repository") -> None:
    """Delete the chunks that coarse ones stand in for, where that is not noted as done."""
    camera, commit = repository.directory, repository.commit
    unfinished = [part for part in commit.coarse if not part.erased]
    if not unfinished:
        return
    done = Erased()
    with building_lock(camera):
        for layout in feature_layouts(commit.generation, repository.spec):
            if not layout.name.endswith("embeddings"):
                for part in unfinished:
                    for chunk in layout.chunks(part.first, part.end):
                        done.drop(layout.file(camera, chunk))
                reach("thin.half-erased")
    repository.put_commit(
        replace(commit, coarse=add_coarse((replace(part, erased=True) for part in commit.coarse), ()))
    )
    for part in unfinished:
        repository.usage.thinned(part.first, part.end)
    repository.usage.freed(done.freed)
