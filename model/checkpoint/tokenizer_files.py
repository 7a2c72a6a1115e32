"""The tokenizer files of a checkpoint, and the tokens that end its answers."""

from collections.abc import Iterable
from pathlib import Path

from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast, Qwen2Tokenizer

from afterview.model.base.checkpoint_files import TOKENIZER_FILES
from afterview.model.base.errors import CheckpointError, DamagedCheckpoint
from afterview.model.checkpoint.hub import Location, find_optional
from afterview.model.language.tokenizer import TURN_END


def find_tokenizer(location: Location) -> PreTrainedTokenizerBase | None:
    """The tokenizer of a checkpoint, or None. Read from its own files, because config.json's model_type is unreliable."""
    found = find_optional(location, *TOKENIZER_FILES)
    if "tokenizer.json" in found:
        return _read(PreTrainedTokenizerFast, found["tokenizer.json"].parent)
    if {"vocab.json", "merges.txt"} <= found.keys():
        return _read(Qwen2Tokenizer, found["vocab.json"].parent)
    return None


def stop_ids(
    tokenizer: PreTrainedTokenizerBase | None, configured: int | list[int] | None, further: Iterable[int] = ()
) -> frozenset[int]:
    """Tokens that end an answer: the configured ones, the tokenizer's end token, and the end of a ChatML turn."""
    ids: set[int | None] = {*(configured if isinstance(configured, list) else [configured]), *further}
    if tokenizer is not None:
        ids.add(tokenizer.eos_token_id)
        ids.add(tokenizer.get_vocab().get(TURN_END))
    return frozenset(i for i in ids if i is not None)


def require_room(tokenizer: PreTrainedTokenizerBase | None, rows: int, *, where: str) -> None:
    """Raise CheckpointError if the tokenizer has tokens for which the embedding has no row. (More rows than tokens are usual.)"""
    if tokenizer is None:
        return
    beyond = sorted((number, token) for token, number in tokenizer.get_vocab().items() if number >= rows)
    if beyond:
        number, token = beyond[0]
        raise CheckpointError(
            f"{where}: its tokenizer has {len(beyond)} tokens beyond the {rows} rows of its embedding, the first '{token}' ({number}); "
            "take the tokenizer files of the model that was trained, or its weights after the embedding was resized"
        )


def _read(kind: type[PreTrainedTokenizerBase], directory: Path) -> PreTrainedTokenizerBase:
    try:
        return kind.from_pretrained(directory, local_files_only=True)
    except Exception as error:  # transformers and tokenizers raise many types of errors for a damaged file
        raise DamagedCheckpoint(f"{directory}: the files of its tokenizer are damaged; copy them again") from error
