"""The configuration of a run: `afterview marathon run CONFIG`. Unknown keys are fatal."""

from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import Field, field_validator, model_validator

from afterview.configs import Schema

SHARE = Annotated[float, Field(ge=0, le=1)]
MINUTE_S: Final = 60.0
MOST_EVENTS: Final = 500


class VideosConfig(Schema):
    """Which videos are taken, and how they are divided."""

    least_s: float = Field(default=3 * MINUTE_S, ge=0)  # the paper's shortest
    most_s: float = Field(default=60 * MINUTE_S, gt=0)  # the paper's longest
    least_events: int = Field(default=3, ge=1)  # the paper's fewest
    most_events: int = Field(default=MOST_EVENTS, ge=1, le=MOST_EVENTS)  # where a model does not find an end
    validation: SHARE = 0.0  # share of the videos, drawn by their names
    test: SHARE = 0.0

    @model_validator(mode="after")
    def _fits(self) -> "VideosConfig":
        if self.validation + self.test > 1:
            raise ValueError("validation and test are more than all videos")
        if self.least_events > self.most_events:
            raise ValueError(f"least_events is {self.least_events}, more than most_events, {self.most_events}")
        if self.least_s > self.most_s:
            raise ValueError(f"least_s is {self.least_s:g}, more than most_s, {self.most_s:g}")
        return self


class ClipsConfig(Schema):
    """Into which clips a video is cut, and what a captioner sees of each."""

    seconds: float = Field(default=30.0, ge=2, le=600)
    frames: int = Field(default=8, ge=1, le=64)  # pictures of a clip, at equal distances
    image_size: int = Field(default=384, ge=64, le=2048)  # short side, pixels


class WorldModelConfig(Schema):
    """Answers from the truth beside synthetic video, or from it with mistakes at known rates."""

    kind: Literal["world"]
    drop: SHARE = 0.0  # share of things that a captioner leaves out
    swap: SHARE = 0.0  # share of things of which it takes one attribute from elsewhere
    hallucinate: SHARE = 0.0  # chance per clip of a thing that is not there
    spoil: SHARE = 0.0  # share of questions to which a writer gives a fault
    seed: int = Field(default=0, ge=0)  # of the mistakes; each captioner needs its own


class Prices(Schema):
    """What a million tokens cost, in any currency."""

    prompt: float = Field(default=0.0, ge=0)
    answer: float = Field(default=0.0, ge=0)


class EndpointConfig(Schema):
    """A server that speaks OpenAI's protocol: vLLM, llama.cpp, Ollama, a hosted service."""

    kind: Literal["openai"]
    url: str = Field(min_length=1)
    model: str = Field(min_length=1)  # as the server calls it; answers are kept by it
    key_variable: str | None = None  # the environment variable that holds the key
    timeout_s: float = Field(default=180.0, gt=0, le=86_400)  # of one request, waits for a busy server included
    answers: Literal["schema", "object", "text"] = (
        "schema"  # how JSON is asked for: by JSON schema, as an object, in words
    )
    max_tokens: int = Field(default=4096, ge=16, le=131_072)  # of one answer
    temperature: float | None = Field(default=None, ge=0, le=2)  # None: the server's
    frequency_penalty: float | None = Field(default=None, ge=-2, le=2)  # against endless repeats; None: the server's
    at_once: int = Field(default=8, ge=1, le=1024)  # requests that wait for an answer at the same time
    tries: int = Field(default=5, ge=1, le=100)  # of a request that the server fails to answer
    label_requests: bool = False  # send the item's name (with the video's file name) in `user`
    prices: Prices = Prices()


class VllmConfig(Schema):
    """A model that vLLM runs on the GPUs of this machine or cluster, batch by batch, through ray.data.llm."""

    kind: Literal["vllm"]
    model: str = Field(min_length=1)  # a name on Hugging Face's hub, or a directory that every machine sees
    engine: dict[str, Any] = Field(default_factory=dict)  # vLLM's engine arguments, such as max_model_len
    engines: int = Field(default=1, ge=1, le=10_000)  # at most so many copies of the model, each on GPUs of its own
    batch: int = Field(default=32, ge=1, le=4096)  # requests that an engine is given together
    accelerator: str | None = Field(default=None, min_length=1)  # the kind of GPU, as Ray calls it: H100
    gpu: bool = True  # false: a vLLM that was built for CPUs
    answers: Literal["schema", "text"] = "schema"  # whether decoding is held to the JSON schema of the answer
    max_tokens: int = Field(default=4096, ge=16, le=131_072)  # of one answer
    temperature: float | None = Field(default=None, ge=0, le=2)  # None: vLLM's default, 1
    frequency_penalty: float | None = Field(default=None, ge=-2, le=2)  # against endless repeats; None: none
    pictures: Literal["openai", "string"] = (
        "openai"  # how the model's chat template takes them: in their place, or before the text
    )

    @field_validator("engine")
    @classmethod
    def _names_no_model(cls, engine: dict[str, Any]) -> dict[str, Any]:
        if named := {"model", "task_type"} & engine.keys():
            raise ValueError(
                f"has the key {min(named)}; leave it out: the model is that of `model`, and it writes answers"
            )
        return engine

    @property
    def gpus(self) -> int:
        """Of one engine."""
        sizes = [self.engine.get(name, 1) for name in ("tensor_parallel_size", "pipeline_parallel_size")]
        return sizes[0] * sizes[1] if self.gpu and all(type(size) is int for size in sizes) else 0


def sampling_of(config: EndpointConfig | VllmConfig) -> dict[str, float]:
    """How answers are drawn, as far as it is set: under the names that OpenAI's protocol and vLLM share."""
    given = {"temperature": config.temperature, "frequency_penalty": config.frequency_penalty}
    return {name: value for name, value in given.items() if value is not None}


ModelConfig = Annotated[WorldModelConfig | EndpointConfig | VllmConfig, Field(discriminator="kind")]


class ModelsConfig(Schema):
    """Who captions, writes and checks."""

    captioner: ModelConfig
    writer: ModelConfig
    looks: tuple[ModelConfig, ...] = Field(default=(), max_length=4)  # further captioners, which see shifted clips
    checker: ModelConfig | None = None  # None: the writer
    blind: ModelConfig | None = None  # answers without the video; None: nobody does


class QuestionsConfig(Schema):
    """How many questions are asked for, per video and topic."""

    open: int = Field(default=4, ge=0, le=20)
    choice: int = Field(default=4, ge=0, le=20)
    options: int = Field(default=4, ge=2, le=8)  # of a multiple-choice question
    samples: int = Field(default=5, ge=1, le=5)  # questions of one sample; the paper's most

    @model_validator(mode="after")
    def _some(self) -> "QuestionsConfig":
        if not self.open + self.choice:
            raise ValueError("open and choice are both 0; ask for at least one")
        return self


class ChecksConfig(Schema):
    """What is rejected."""

    duplicates: float = Field(
        default=0.97, gt=0, le=1
    )  # cosine of two questions of a video from which the later one is dropped
    option_length: float = Field(default=3.0, ge=1)  # longest option to shortest, in characters
    time_tolerance_s: float = Field(default=2.0, ge=0)
    blind: Literal["flag", "reject"] = "flag"  # what happens to questions that need no video
    captioners: int = Field(
        default=2, ge=1, le=5
    )  # how many of all captioners must tell of a thing; used only with `models.looks`


class MarathonConfig(Schema):
    """A run of the pipeline."""

    name: str = Field(default="afterview marathon", min_length=1, max_length=100)  # data_source of the annotations
    seed: int = Field(default=0, ge=0)
    videos: VideosConfig = VideosConfig()
    clips: ClipsConfig = ClipsConfig()
    models: ModelsConfig
    questions: QuestionsConfig = QuestionsConfig()
    checks: ChecksConfig = ChecksConfig()
    features: str | None = None  # the model whose features are extracted for training; None: none
    videos_per_file: int = Field(default=16, ge=1, le=10_000)  # what a crash may cost, besides answers, which are kept
    repairs: int = Field(default=2, ge=0, le=10)  # further tries of an answer that is not as asked for

    @model_validator(mode="after")
    def _enough_captioners(self) -> "MarathonConfig":
        there = 1 + len(self.models.looks)
        if there > 1 and self.checks.captioners > there:
            raise ValueError(
                f"checks.captioners is {self.checks.captioners}, but there are only {there} captioners: models.captioner and models.looks"
            )
        return self

    @field_validator("name")
    @classmethod
    def _no_path(cls, name: str) -> str:
        if "/" in name or not name.isprintable():
            raise ValueError("is also the name of a folder for `train`: write it without '/' and control characters")
        return name


def prompts_directory() -> Path:
    """Where the shipped prompts lie."""
    import afterview.configs as configs

    return Path(configs.__file__).parent / "marathon" / "prompts"
