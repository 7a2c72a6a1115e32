"""The flow of models on vLLM, through ray.data.llm: stage by stage, all that is asked goes to the engines together, in batches.

The stages run as ever, in this process; a model on vLLM only notes what it is asked (models.batched). What was noted is a data set of Ray,
whose workers read the pictures and whose engines answer; each answer is kept as it comes, under the key by which an endpoint's would be.
Then the stage runs again with these answers, which may ask for more (repairs, comparisons), until nothing is left to ask. An engine starts
once for each of these rounds. A request that vLLM refuses has failed; the others go on.
"""

import json
import logging
import os
import pickle
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from afterview.configs import UsageError
from afterview.memory.base.counts import counted
from afterview.training.base.errors import MarathonError
from afterview.training.base.ray_session import ray, session
from afterview.training.marathon.config import MarathonConfig, VllmConfig, sampling_of
from afterview.training.marathon.models.answers import KeptAnswers
from afterview.training.marathon.models.asking import Asker
from afterview.training.marathon.models.batched import BatchedModel, Noted
from afterview.training.marathon.models.messages import messages_of, show
from afterview.training.marathon.models.request import ItemFailed, Said
from afterview.training.marathon.stages.files import DataSet
from afterview.training.marathon.stages.tools import Tools, opened_tools, roles_of
from afterview.training.marathon.stages.work import make_files

MOST_NOTED: Final = 20_000  # requests of a round: they are held in memory, without pictures
_STORE_BYTES: Final = 2_000_000_000  # of Ray's object store on this machine: pictures go through it
_LEAST_CPUS: Final = 4  # logical ones, for the workers beside the engines
_CPUS: Final = 0.25  # of a worker that reads pictures or renders messages
_ERROR: Final = re.compile(r"^\w+(Error|Exception): ")
_FAILED: Final = "__inference_error__"  # ray.data.llm's column: why a row has no answer

_LOGGER = logging.getLogger(__name__)
Row = dict[str, Any]


@dataclass(frozen=True)
class Answered:
    """What became of a request. failure: why it has no answer."""

    key: str
    said: Said
    failure: str = ""


Answer = Callable[[BatchedModel, dict[str, Noted]], Iterator[Answered]]


class BatchFlow:
    """Makes the files of stages whose models answer many requests together."""

    def __init__(self, data: DataSet, tools: Tools, kept: KeptAnswers, answer: Answer) -> None:
        """answer: what becomes of noted requests, as it becomes known."""
        self._data, self._tools, self._kept, self._answer = data, tools, kept, answer
        self._batched: dict[int, tuple[Asker, BatchedModel]] = {
            id(asker): (asker, asker.model) for asker in tools.askers.values() if isinstance(asker.model, BatchedModel)
        }

    @property
    def counts(self) -> dict[str, dict[str, int]]:
        """What was asked, by role. What an engine answered in this run was read as a kept answer, and is none."""
        for asker, model in self._batched.values():
            read = asker.counts["kept"] + asker.counts["asked"]
            asker.counts["asked"] = min(read, model.answered)
            asker.counts["kept"] = read - asker.counts["asked"]
        return self._tools.counts

    def make(self, names: Sequence[str], numbers: Sequence[int], done: Callable[[int], None]) -> None:
        """Make the files of these numbers, stage by stage. Raises MarathonError if the engines fail; what was answered is kept."""
        for name in names:
            left, count = list(numbers), 0
            while left:
                still = []
                for number in left:
                    if self._noted() >= MOST_NOTED or not self._made(name, number):
                        still.append(number)
                    else:
                        count += 1
                        done(count)
                left = still
                self._answer_all(name)

    def _noted(self) -> int:
        return sum(len(model.noted) for _, model in self._batched.values())

    def _made(self, name: str, number: int) -> bool:
        """Make a file, or note what it lacks. The counts of an attempt that lacks something are those of the next one, too."""
        before = {key: Counter(asker.counts) for key, (asker, _) in self._batched.items()}
        made = make_files(self._data, [name], number, self._tools)
        if not made:
            for key, (asker, _) in self._batched.items():
                asker.counts = before[key]
        return made

    def _answer_all(self, stage: str) -> None:
        """Have everything answered that is noted. A request of which nothing is heard has failed, so that no round repeats another."""
        for _, model in self._batched.values():
            noted = dict(model.noted)
            if not noted:
                continue
            _LOGGER.info("%s: %s: %s for vLLM", stage.replace("-", " "), model.name, counted(len(noted), "request"))
            for one in self._answer(model, noted):
                if not one.failure:
                    request = noted[one.key].request
                    self._kept.put(one.key, request.purpose, request.item, model.identity, one.said)
                model.settled(one.key, one.failure)
            for key in noted:
                if key in model.noted:
                    model.settled(key, "vLLM gave back nothing for it")


@contextmanager
def opened_vllm(
    config: MarathonConfig, videos: Path, data: DataSet, kept: KeptAnswers, cpus: int
) -> Iterator[BatchFlow]:
    """A session of Ray, and the flow on it. cpus: of its workers on this machine. Raises UsageError if an engine finds no GPUs."""
    with (
        session(max(_LEAST_CPUS, cpus), store_bytes=_STORE_BYTES),
        opened_tools(config, videos.absolute(), kept) as tools,
    ):
        _require_gpus(config)
        yield BatchFlow(data, tools, kept, answered)


def _require_gpus(config: MarathonConfig) -> None:
    there = ray.cluster_resources().get("GPU", 0)
    for role, one in roles_of(config).items():
        if not isinstance(one, VllmConfig) or one.gpus <= there:
            continue
        lacks = f"models.{role}: an engine needs {counted(one.gpus, 'GPU')}, and Ray sees {there:g}"
        if not os.environ.get("RAY_ADDRESS"):
            raise UsageError(
                f"{lacks}; run where they are, name their cluster in RAY_ADDRESS, or set gpu: false for a vLLM that was built for CPUs"
            )
        _LOGGER.warning("%s; it waits until the cluster has them", lacks)


def answered(model: BatchedModel, noted: dict[str, Noted]) -> Iterator[Answered]:
    """Have requests answered by vLLM's engines. Raises MarathonError if these fail altogether."""
    config = model.config
    try:
        asked = ray.data.from_items(
            [row_of(model, key, one) for key, one in noted.items()], override_num_blocks=-(-len(noted) // config.batch)
        )
        for row in _processor(model)(asked).iter_rows():
            yield _answered(row, config)
    except Exception as error:  # of Ray, of vLLM, of the loading of a model
        said = [line.strip() for line in str(error).splitlines() if line.strip()]
        raise MarathonError(
            f"{model.name}: vLLM failed with {config.model}: {said[-1] if said else type(error).__name__}; what was answered is kept: "
            "mend it (model, engine, or vLLM on the cluster's machines), and run the same command again"
        ) from None


def row_of(model: BatchedModel, key: str, noted: Noted) -> Row:
    """A request as a row of a data set. JSON stays text: Arrow would add the keys of other rows to it."""
    request = noted.request
    pictures = model.sees and bool(request.picture_times)
    schema = json.dumps(request.schema()) if model.config.answers == "schema" else ""
    return {
        "key": key, "messages_json": json.dumps(messages_of(request, noted.repairs, noted.said), ensure_ascii=False),
        "pictures": pickle.dumps(request.pictures) if pictures else b"", "place": len(request.messages) - 1, "schema": schema,
        "seed": request.seed,
    }  # fmt: skip


def prepared(row: Row, config: VllmConfig) -> Row:
    """What an engine is given for a row. Runs in a worker, which reads the pictures."""
    messages, failure = json.loads(row["messages_json"]), ""
    if row["pictures"]:
        try:
            show(messages, int(row["place"]), pickle.loads(row["pictures"])())
        except ItemFailed as failed:
            failure = str(failed)
    sampling: Row = {"max_tokens": config.max_tokens, "seed": int(row["seed"]), **sampling_of(config)}
    if row["schema"]:
        sampling["structured_outputs"] = {"json": row["schema"]}
    return {"messages": messages, "sampling_params": sampling, _FAILED: failure}


def _finished(row: Row) -> Row:
    return {
        "key": row["key"], "text": row["generated_text"], "prompt_tokens": int(row["num_input_tokens"]),
        "answer_tokens": int(row["num_generated_tokens"]),
    }  # fmt: skip


def _answered(row: Row, config: VllmConfig) -> Answered:
    failure = str(row.get(_FAILED) or "")
    if failure:
        return Answered(row["key"], Said(""), _ERROR.sub("", failure)[:300])
    tokens = int(row["prompt_tokens"]), int(row["answer_tokens"])
    cut = "it had as many tokens as are allowed" if tokens[1] >= config.max_tokens else ""  # Ray hands on no reason
    return Answered(row["key"], Said(row["text"].strip(), tokens, cut))


def _processor(model: BatchedModel) -> Any:
    """ray.data.llm's processor: pictures and messages to a prompt, the prompt to vLLM, which makes tokens of it and text of its own."""
    from ray.data.llm import build_processor, vLLMEngineProcessorConfig  # late: they load torch and transformers

    config = model.config
    seeing = {"enabled": True, "chat_template_content_format": config.pictures, "num_cpus": _CPUS}
    given = vLLMEngineProcessorConfig(
        model_source=config.model, engine_kwargs=dict(config.engine), batch_size=config.batch, concurrency=config.engines,
        accelerator_type=config.accelerator, should_continue_on_error=True, log_engine_metrics=False,
        placement_group_config=None if config.gpu else {"bundles": [{"CPU": 1}]},
        prepare_multimodal_stage=seeing if model.sees else False, chat_template_stage={"enabled": True, "num_cpus": _CPUS},
        tokenize_stage=False, detokenize_stage=False,
    )  # fmt: skip
    return build_processor(
        given, preprocess=partial(prepared, config=config), postprocess=_finished, preprocess_map_kwargs={"num_cpus": _CPUS},
        postprocess_map_kwargs={"num_cpus": _CPUS},
    )  # fmt: skip
