"""The trainer on a CPU: steps and samples per second, and the share of time spent on data. Two runs of the published layout.

"scaled": Hour-LLaVA with a small width, so that a CPU can take steps. Step times of the 3B on a GPU differ, but the
cost of the data path per sample does not. So it is also given in milliseconds, with features, frames and pictures of
the published sizes.
"""

import json
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.nn.functional import scaled_dot_product_attention

from afterview.configs import load
from afterview.model.checkpoint.loading import load_pretrained
from afterview.model.kernels.cpu_attention import attention_by_products, blockwise_attention
from afterview.training.core.parts import parts_of
from afterview.training.core.prefetch import Prefetcher
from afterview.training.core.stage_data import StageData
from afterview.training.core.stages import StageConfig, StageObjective
from afterview.training.core.trainer import LOG, Trainer, precision_of
from afterview.training.data.examples import read_picture
from afterview.training.data.features import FeatureBank, FrameBank, save_features, save_frames
from afterview.training.tiny.bank import BankConfig, make_bank
from afterview.training.tiny.make import initial_model
from afterview.training.tiny.recipe import Recipe
from afterview.training.tiny.sight import SightBatches, SightObjective, make_texts
from afterview.training.tiny.stage import attention_to_train_with
from tests.bench.table import Table
from tests.support.presets import write_preset

GEOMETRY = {
    "vision": {"width": 128, "layers": 4, "heads": 4, "mlp_width": 512, "image_size": 128, "patch_size": 16},
    "language": {"width": 256, "layers": 4, "heads": 4, "key_value_heads": 2, "mlp_width": 1024},
}
FRAMES, VIDEOS, BATCH, STEPS, WARM = 64, 6, 2, 8, 2
SEEN = {"spatial": "random", "temporal": "uniform", "max_frames": 16, "min_frames": 8}
LEARNS = {"projector": 1e-4, "memaug": 1e-4, "language": 2e-5}
WIDTH, SIDE = 1152, 384  # of the published tower
READS = 10
HEADS_AT_ONCE, ROWS, MEMORY, ROUNDS = 16, 12 * 122, 64 * 65, 5
QUESTIONS, ROWS_OF_ONE = 60, 112
RECIPE = Path(__file__).parents[2] / "configs" / "training" / "tiny.yaml"
Attention = Callable[..., torch.Tensor]


def run() -> list[Table]:
    """Takes about three minutes."""
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        return [_steps(root), _precisions(root), _reading(root), _attention_to_memory(), _attention_among_rows()]


def _steps(root: Path) -> Table:
    table = Table(
        "Training steps (CPU, scaled-down Hour-LLaVA)",
        ["what is trained on", "steps/s", "samples/s", "data path's share"],
        f"{STEPS} steps of {BATCH} samples, the first {WARM} left out; videos of {FRAMES} frames from cached features, "
        "pictures of 640x480 through the tower; projector, MemAug and decoder learn. The data path's share is what a step waits: the "
        "next batch is read while the present one is learnt.",
    )
    _write_toy(root)
    for name, annotations in (("videos", "videos.json"), ("pictures", "pictures.json"), ("text", "text.json")):
        rows = _train(root, annotations)
        steps, share = (statistics.median(row[key] for row in rows) for key in ("steps_per_s", "data_share"))
        table.add(name, round(steps, 2), round(steps * BATCH, 2), f"{share:.2%}")
    return table


def _write_toy(root: Path) -> None:
    preset = write_preset(root, name="scaled", geometry=GEOMETRY)
    model, draw = load_pretrained(preset, device="cpu"), np.random.default_rng(0)
    said = [{"from": "human", "value": "<image>\nWhat was seen?"}, {"from": "gpt", "value": "A red car by the gate"}]
    items: dict[str, list[dict[str, object]]] = {"videos": [], "pictures": [], "text": []}
    for number in range(VIDEOS):
        width = model.vision.spec.width
        features = torch.from_numpy(draw.standard_normal((FRAMES, 64, width), dtype=np.float32)).half()
        save_features(root / "features", f"{number}.mp4", features, float(FRAMES), model.encoders.feature_spec)
        Image.fromarray(draw.integers(0, 256, (480, 640, 3), dtype=np.uint8)).save(root / f"{number}.jpg")
        items["videos"].append({"video": f"{number}.mp4", "conversations": said})
        items["pictures"].append({"image": f"{number}.jpg", "conversations": said})
        items["text"].append({"conversations": said})
    for name, found in items.items():
        (root / f"{name}.json").write_text(json.dumps(found))


def _train(root: Path, annotations: str) -> list[dict[str, float]]:
    """The log of a short training without its first steps."""
    config = StageConfig.model_validate({
        "name": "bench", "gradient_checkpointing": False, "model": str(root / "scaled.yaml"), "batch": BATCH, "forgetting": SEEN,
        "trainer": {"steps": STEPS, "learning_rates": LEARNS, "log_every": 1},
        "streams": [{"annotations": root / annotations, "features": root / "features", "pictures": root}],
    })  # fmt: skip
    model = load_pretrained(config.model, device="cpu", dtype="float32")
    out = root / f"run-{annotations}"
    parts = parts_of(model.video_language, model.vision.tower)
    batches = Prefetcher(StageData(config, model))
    Trainer(StageObjective(model, config), parts, config.trainer, out, cpu=True).run(batches)
    batches.close()
    return [json.loads(line) for line in (out / LOG).read_text().splitlines()][WARM:]


def _precisions(root: Path) -> Table:
    """The two choices of `precision: auto`."""
    recipe, device = load(RECIPE, Recipe), torch.device("cpu")
    chosen = precision_of(recipe.sight.trainer.model_copy(update={"precision": "auto"}), cpu=True)
    table = Table(
        "A step of the small model's first stage on a CPU, in both precisions",
        ["precision", "s", "against float32"],
        f"{recipe.sight.frames} frames and {recipe.sight.texts} texts, as configs/training/tiny.yaml has it, one thread. Taken in turn, "
        f"median of {ROUNDS}. `precision: auto` comes to `{chosen}` here.",
    )
    model = initial_model(recipe, root, device)
    bank = make_bank(BankConfig(seeds=1, clips=6, backgrounds=6, encoded=0.0, workers=1), root)
    objective = SightObjective(model.vision, model.encoders.index, naming=recipe.sight.naming).train()
    texts = make_texts(model.encoders.index, 200, 0)
    draw = SightBatches(bank, texts, frames=recipe.sight.frames, asked=recipe.sight.texts, seed=0, device=device)
    times: dict[str, list[float]] = {"float32": [], "bfloat16": []}
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with attention_to_train_with(device, objective.tower, objective.index):
        for number in range(ROUNDS + 1):
            batch = draw(number)
            for name, taken in times.items():
                began = time.perf_counter()
                with torch.autocast("cpu", torch.bfloat16, enabled=name == "bfloat16"):
                    loss = objective(batch).loss
                loss.backward()
                taken.append(time.perf_counter() - began)
                objective.zero_grad()
    torch.set_num_threads(threads)
    medians = {name: statistics.median(taken[1:]) for name, taken in times.items()}
    for name, seconds in medians.items():
        table.add(name, round(seconds, 2), round(seconds / medians["float32"], 2))
    return table


def _reading(root: Path) -> Table:
    """Cost of reading one sample of the published geometry, with a warm cache."""
    table = Table(
        "The data path of one sample, published sizes",
        ["sample", "size, MB", "ms"],
        f"Read into memory, median of {READS}; file cache warm. An hour of video is 3,600 frames at 1 FPS.",
    )
    spec = load_pretrained(root / "scaled.yaml", device="cpu").encoders.feature_spec
    published = spec.model_copy(update={"tokens": spec.tokens.model_copy(update={"width": WIDTH, "resolution": SIDE})})
    for frames in (300, 3600):
        features = torch.zeros(frames, 64, WIDTH, dtype=torch.float16)
        save_features(root / "published", f"{frames}.mp4", features, float(frames), published)
        bank = FeatureBank(root / "published")
        table.add(f"{frames} frames, features", _megabytes(features), _ms(partial(bank.load, f"{frames}.mp4")))
    pixels = torch.zeros(300, SIDE, SIDE, 3, dtype=torch.uint8)
    save_frames(root / "published-frames", "300.mp4", pixels, 300.0)
    seen = FrameBank(root / "published-frames")
    table.add("300 frames, pixels", _megabytes(pixels), _ms(partial(seen.load, "300.mp4")))
    size = (root / "0.jpg").stat().st_size / 1e6
    table.add("a picture of 640x480 (JPEG)", round(size, 2), _ms(partial(read_picture, root / "0.jpg")))
    return table


def _attention_to_memory() -> Table:
    return _against_fused(
        "Reading the memory in a training step on a CPU (bfloat16)",
        f"{HEADS_AT_ONCE} pairs of story and head, {ROWS:,} query rows, {MEMORY:,} memory tokens, 64 dimensions: one of four "
        "blocks in a step about twelve questions of each of eight stories of 64 whole frames",
        {"blockwise (model/kernels/cpu_attention.py)": lambda *qkv: blockwise_attention(*(x[0] for x in qkv))[None]},
        [(1, HEADS_AT_ONCE, count, 64) for count in (ROWS, MEMORY, MEMORY)],
    )


def _attention_among_rows() -> Table:
    return _against_fused(
        "Attention among a question's own rows in a training step on a CPU (bfloat16)",
        f"{QUESTIONS} questions of {ROWS_OF_ONE} rows, 2 heads of 64 dimensions: one of four blocks in a step of "
        "configs/training/tiny.yaml",
        {"products (model/kernels/cpu_attention.py)": lambda *qkv: attention_by_products(*qkv, None)},
        [(QUESTIONS, 2, ROWS_OF_ONE, 64)] * 3,
    )


def _against_fused(title: str, what: str, own: dict[str, Attention], shapes: Sequence[Sequence[int]]) -> Table:
    """Our attention and PyTorch's in turn, over queries, keys and values of these shapes."""
    columns = ["attention", "forward, s", "back, s", "together, against fused"]
    table = Table(title, columns, f"{what}, one thread. Taken in turn, median of {ROUNDS}.")
    ways: dict[str, Attention] = {"fused (scaled_dot_product_attention)": scaled_dot_product_attention, **own}
    parts = [torch.randn(*shape).bfloat16().requires_grad_() for shape in shapes]
    back = torch.randn(*shapes[0]).bfloat16()
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    for name, way in list(ways.items()) * (ROUNDS + 1):
        began = time.perf_counter()
        read = way(*parts)
        between = time.perf_counter()
        read.backward(back)
        times[name].append((between - began, time.perf_counter() - between))
    torch.set_num_threads(threads)
    medians = {
        name: [statistics.median(pair) for pair in zip(*taken[1:], strict=True)] for name, taken in times.items()
    }
    fused = sum(next(iter(medians.values())))
    for name, pair in medians.items():
        table.add(name, *(round(part, 3) for part in pair), round(sum(pair) / fused, 2))
    return table


def _megabytes(tensor: torch.Tensor) -> float:
    return round(tensor.numel() * tensor.element_size() / 1e6, 1)


def _ms(read: Callable[[], object]) -> int:
    times = []
    for _ in range(READS):
        began = time.perf_counter()
        read()
        times.append(time.perf_counter() - began)
    return round(1000 * statistics.median(times))
