"""Adapters other than LoRA, merged by the library peft (the extra `peft`) into a decoder that is loaded."""

import hashlib
import logging

from transformers import PreTrainedModel

from afterview.configs import missing_extra
from afterview.model.base.errors import CheckpointError
from afterview.model.checkpoint.adapters import Adapter

_LOGGER = logging.getLogger(__name__)

_NOT_WEIGHTS = ("PREFIX_TUNING", "PROMPT_TUNING", "P_TUNING", "MULTITASK_PROMPT_TUNING", "ADAPTION_PROMPT", "CPT")  # fmt: skip


def merge_with_peft(decoder: PreTrainedModel, adapter: Adapter) -> str:
    """Merge an adapter into the decoder's weights. Returns the fingerprint of the adapter's file.

    Raises UsageError if peft is not installed, CheckpointError for an adapter that cannot be merged.
    """
    kind = adapter.config.peft_type
    if kind in _NOT_WEIGHTS:
        raise CheckpointError(
            f"{adapter.name}: an adapter of type {kind} changes no weights, so it cannot be merged; train a LoRA"
        )
    try:
        from peft import PeftModel  # late: an extra
    except ModuleNotFoundError:
        raise missing_extra("peft", f"an adapter of type {kind}") from None
    try:
        wrapped = PeftModel.from_pretrained(decoder, str(adapter.file.parent))
        wrapped.merge_and_unload(safe_merge=True)
    except Exception as error:  # peft and torch raise many types for adapters that do not fit
        _LOGGER.debug("%s: cannot be merged", adapter.name, exc_info=True)
        raise CheckpointError(
            f"{adapter.name}: peft cannot merge this adapter of type {kind} into the decoder ({str(error).splitlines()[0]}); give its base"
        ) from error
    return hashlib.sha256(adapter.file.read_bytes()).hexdigest()
