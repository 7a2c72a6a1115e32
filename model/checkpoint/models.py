"""A loaded model: the results of `load_pretrained` and `load_encoders`."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from afterview.memory.base.feature_spec import FeatureSpec
from afterview.model.base.generation import Generated, GenerationSettings
from afterview.model.batch import Sample, several_inputs
from afterview.model.checkpoint.preset import ModelPreset
from afterview.model.language.conversation import build, build_text
from afterview.model.language.copied_names import CopiedNames
from afterview.model.language.decoder import TextStream
from afterview.model.language.looks import LookText, look_ids
from afterview.model.language.moments import OptionText, option_id, pointer_ids
from afterview.model.language.prompt import (
    HOUR_LLAVA_TIME,
    VIDEOCHAT_FLASH_TIME,
    Prompt,
    TimeSentence,
    require_tokenizer,
)
from afterview.model.language.sampling import GREEDY
from afterview.model.language.stopping import StopTexts
from afterview.model.video_language import Features, FrameLayout, VideoInputs, VideoLanguageModel
from afterview.model.vision.clip_encoder import ClipEncoder
from afterview.model.vision.index_encoder import IndexEncoder
from afterview.model.vision.merged_pictures import see_merged
from afterview.model.vision.pictures import see_pictures
from afterview.model.vision.tiles import Tiling
from afterview.model.vision.tower import VisionEncoder

_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class Encoders:
    """The encoders that turn frames into a memory: vision tower and index encoder. Enough to record; answering needs the whole model."""

    vision: VisionEncoder
    index: IndexEncoder
    preset: ModelPreset

    @property
    def name(self) -> str:
        """The name that loads this model again, as stored in a memory's spec."""
        return self.preset.reference

    @property
    def notice(self) -> str | None:
        """A warning that the model is not trained, if so."""
        return self.preset.caution

    @property
    def feature_spec(self) -> FeatureSpec:
        """The spec of a memory made by these encoders."""
        spec = FeatureSpec(model=self.name, tokens=self.vision.spec, index=self.index.spec)
        return spec.stored_as(self.preset.token_storage)


@dataclass(frozen=True)
class AfterviewModel:
    """The whole model. The index encoder is loaded on first use, because answering from given features does not need it."""

    preset: ModelPreset
    video_language: VideoLanguageModel
    vision: VisionEncoder
    tokenizer: PreTrainedTokenizerBase | None  # None: the checkpoint has none, and questions must be token ids
    weights_hash: str  # fingerprint of the stored weights, for provenance
    config: Mapping[str, Any]  # config.json of the checkpoint, unchanged
    tower_config: Mapping[str, Any]
    load_index: Callable[[], IndexEncoder]
    time_instruction: bool = True  # whether prompts of videos say how long these are (add_time_instruction)
    generation: GenerationSettings = GREEDY  # how answers are generated unless a question says otherwise

    @cached_property
    def encoders(self) -> Encoders:
        """Vision tower and index encoder. Raises HubUnreachable or CheckpointError if the latter cannot be loaded."""
        return Encoders(self.vision, self.load_index(), self.preset)

    @property
    def notice(self) -> str | None:
        """A warning that the model is not trained, if so."""
        return self.preset.caution

    @property
    def trained(self) -> bool:
        """Whether the model is trained. The answers of an untrained model mean nothing."""
        return self.preset.trained and not self.preset.new_parts

    def prompt(
        self, question: str, *, frames: int, seconds: float, between: Sequence[str] = (), asked: str = ""
    ) -> Prompt:
        """The published prompt for a question about a video of this many frames and seconds. Raises TokenizerMissing, InputMismatch.

        It has the sentence about frames and seconds only if the model was trained with it (`time_instruction`). between: texts around and
        between the parts of a video that stands at several places. asked: the part of the question that says what to find, without
        options and instructions; where the preset says so (`memory_queries`), the rest of the question does not join MemAug's queries.
        """
        asked = asked if self.preset.memory_queries == "question" else ""
        if not self.time_instruction:
            return build(self.tokenizer, question, between=between, asked=asked)
        return build(
            self.tokenizer, question, frames=frames, seconds=seconds, family=self.time_sentence, between=between, asked=asked
        )  # fmt: skip

    @property
    def time_sentence(self) -> TimeSentence:
        """How its family states the length of a video."""
        of_flash = self.preset.sees_clips or isinstance(self.vision, ClipEncoder)
        return VIDEOCHAT_FLASH_TIME if of_flash else HOUR_LLAVA_TIME

    def video_inputs(self, videos: Sequence[tuple[Features, FrameLayout, Prompt]]) -> list[VideoInputs]:
        """Inputs of `answer_several` for videos: features [R, P, Dv], layout and prompt of each. Raises InputMismatch.

        The layout is a VideoLayout with MemAug, and a ClipLayout without (VideoChat-Flash).
        """
        return several_inputs(self.video_language, [Sample(*video) for video in videos])

    def picture_inputs(
        self, question: str, pictures: Sequence[NDArray[np.uint8]] = (), *, seed: int = 0
    ) -> VideoInputs:
        """Input of `answer` for a question about pictures: one (in tiles), several, or none.

        question: each tag <image> in it is the place of one picture; without tags, all stand before it. pictures: uint8
        RGB [H, W, 3] of any size. seed: of random spatial forgetting. Raises TokenizerMissing, InputMismatch, and
        CheckpointError if the checkpoint cuts pictures in a way that is not known.
        """
        network, forgetting = self.video_language, self.preset.forgetting
        if not pictures:
            return network.text_inputs(build_text(self.tokenizer, question))
        about = build(self.tokenizer, question, pictures=len(pictures))
        tiling = Tiling.of(self.config)
        with torch.inference_mode():
            if isinstance(self.vision, ClipEncoder):
                return network.image_inputs(*see_merged(pictures, self.vision, network.projector, tiling), about)
            tokens, layout = see_pictures(pictures, self.vision, network.projector, forgetting, tiling, seed=seed)
        return network.image_inputs(tokens, layout, about)

    def answer(
        self,
        inputs: VideoInputs,
        *,
        seed: int = 0,
        settings: GenerationSettings | None = None,
        max_new_tokens: int | None = None,
    ) -> Iterator[str]:
        """Stream the answer's text. See `answer_several`. Raises TokenizerMissing."""
        for _, piece in self.answer_several([inputs], seed=seed, settings=settings, max_new_tokens=max_new_tokens):
            if piece is not None:
                yield piece

    def whole_answer(
        self, inputs: VideoInputs, options: Mapping[str, str], *, max_new_tokens: int | None = None
    ) -> str:
        """The answer to a question with these options (letter -> text), at once. See `answer_several`. Raises TokenizerMissing."""
        pieces = self.answer_several([inputs], options=[options], max_new_tokens=max_new_tokens)
        return "".join(piece for _, piece in pieces if piece is not None)

    def answer_several(
        self,
        inputs: Sequence[VideoInputs],
        *,
        pointed: Sequence[Mapping[str, str]] = (),
        options: Sequence[Mapping[str, str]] = (),
        looks: Sequence[Callable[[str, str], str]] = (),
        questions: Sequence[str] = (),
        seed: int = 0,
        settings: GenerationSettings | None = None,
        max_new_tokens: int | None = None,
        notes: Sequence[Generated] = (),
    ) -> Iterator[tuple[int, str | None]]:
        """Stream several answers in parallel: (index, piece of text), and (index, None) when an answer ends.

        Each equals that of `answer`. pointed: text of each answer for each pointer (model.language.moments); without
        it a pointer gives no text. options: of each question, letter -> text; without them the words of an option stay words.
        looks: of each answer, what a token of model.language.looks and the words after it stand for; called at its end.
        questions: of each answer, which the names after such a token are copied from; without them they are the model's own.
        settings: default the model's own, `generation`. max_new_tokens: instead of theirs. notes: of each
        answer, filled in meanwhile. Raises TokenizerMissing.
        """
        tokenizer = require_tokenizer(self.tokenizer)
        ids = pointer_ids(tokenizer)
        spoken = [{ids[name]: text for name, text in own.items() if name in ids} for own in pointed] or [
            {} for _ in inputs
        ]
        streams = [TextStream(tokenizer, own) for own in spoken]
        choosing, letters = option_id(tokenizer), [OptionText(own) for own in options or [{} for _ in inputs]]
        looking, held = look_ids(tokenizer), [LookText(own) for own in looks] or [LookText() for _ in inputs]
        chosen = (settings or self.generation).changed({"max_new_tokens": max_new_tokens})
        self._say_surplus(inputs)
        stops, ended = [StopTexts(chosen.stop) for _ in inputs], set[int]()
        noted = list(notes) or [Generated() for _ in inputs]
        copied = (
            [CopiedNames(tokenizer, own, self.video_language.language.stop_ids) for own in questions] if looking else []
        )
        for row, token in self.video_language.generate_several(
            inputs, max_new_tokens=chosen.max_new_tokens, seed=seed, sampling=chosen, ended=ended, narrowings=copied
        ):
            stop = stops[row]
            noted[row].tokens += token is not None
            if copied:
                noted[row].names_corrected, noted[row].names_unmatched = copied[row].corrected, copied[row].unmatched
            text = streams[row].rest() if token is None else streams[row].push(token)
            piece = letters[row].push(held[row].push(stop.push(text)))
            if token is None:
                piece += letters[row].push(held[row].push(stop.rest()))
                piece += letters[row].push(held[row].rest()) + letters[row].rest()
            elif token == choosing:
                letters[row].begin()
            elif token in looking:
                held[row].begin(looking[token])
            if piece:
                yield row, piece
            if stop.reached:
                ended.add(row)
            if token is None:
                noted[row].cut = noted[row].tokens >= chosen.max_new_tokens and not stop.reached
                yield row, None

    def _say_surplus(self, inputs: Sequence[VideoInputs]) -> None:
        """Log inputs that are longer than the longest that the checkpoint was trained with. (The published code cuts them there.)"""
        most = self.config.get("tokenizer_model_max_length")
        longest = max((len(one.inputs_embeds) for one in inputs), default=0)
        if isinstance(most, int) and longest > most:
            _LOGGER.warning(
                "note: an input has %d tokens; the model was trained with %d at most (tokenizer_model_max_length)",
                longest,
                most,
            )
