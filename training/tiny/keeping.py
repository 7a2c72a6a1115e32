"""Further lessons keep what the model knows: on questions of known kinds it stays near the model that the lessons began with.

Learning without Forgetting (Li and Hoiem, 2016): beside the true answers, the student learns what its teacher answers, with all its
doubts, and where the teacher looks. A true answer alone names one word of many and is noisy; so few lessons of it lose more of a
known kind than they keep. Where the teacher looks counts in every block, not only in those that evidence is read from.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from afterview.training.core.trainer import StepOutput
from afterview.training.tiny.device_batch import DeviceBatch
from afterview.training.tiny.study import Found, Reading, StudyObjective

_LEAST = 1e-6  # keeps the logarithm of evidence finite


class KeepingObjective(nn.Module):
    """A study beside its teacher. A batch with `keep` is of known kinds; the others are new."""

    def __init__(self, study: StudyObjective, teacher: StudyObjective, *, shared: bool = False) -> None:
        """shared: the two differ in nothing but their decoders, so what comes before these is computed once."""
        super().__init__()
        self.study, self._shared = study, shared
        # Not a part of this module: it is neither trained nor saved.
        self._taught: Callable[[DeviceBatch, Found | None], Reading] = teacher.eval().requires_grad_(False).read

    def forward(self, batch: DeviceBatch) -> StepOutput:
        """As StudyObjective, with the figures "kept answers" and "kept evidence": how far each is from the teacher's, in nats."""
        if batch.keep is None or not batch.keep.any:
            return self.study(batch)
        drawn = torch.get_rng_state()
        found = self.study.find(batch) if self._shared else None
        with torch.no_grad():
            known = self._taught(batch, found)
        if found is None:
            torch.set_rng_state(drawn)  # teacher and student read the same tokens of each frame
        reading = self.study.read(batch, found)
        output = self.study.judged(batch, reading)
        new = torch.tensor([self.study.kinds.index(kind) for kind in batch.keep.besides], dtype=torch.long)
        answers, evidence = strayed(known, reading, ~torch.isin(batch.kinds, new.to(batch.kinds.device)))
        loss = output.loss + batch.keep.answers * answers + batch.keep.evidence * evidence
        return StepOutput(loss, dict(output.figures) | {"kept answers": answers, "kept evidence": evidence})


def strayed(known: Reading, reading: Reading, followed_B: Tensor) -> tuple[Tensor, Tensor]:
    """The Kullback-Leibler divergence from the teacher's, a mean over the questions in which it is followed: of the answers' tokens, and
    of where each block looks.
    """
    real = known.real_BY & followed_B[:, None]
    told, taught = reading.logits_BYW.log_softmax(-1), known.logits_BYW.log_softmax(-1)
    answers = ((taught.exp() * (taught - told)).sum(-1) * real).sum() / real.sum().clamp(min=1)
    if reading.asking is None or known.asking is None:
        return answers, torch.zeros_like(answers)  # without MemAug there is no evidence
    seen, looked = reading.asking.looked_KBN.clamp(min=_LEAST), known.asking.looked_KBN.clamp(min=_LEAST)
    strayed_KB = (looked * (looked / seen).log()).sum(-1)
    return answers, (strayed_KB * followed_B).sum() / followed_B.sum().clamp(min=1) / len(strayed_KB)
