"""The memory on disk: the cost of writing a frame, and of opening, searching and asking a month.

Subprocesses are new, so "cold" includes imports only where the table says so. The machine's page cache is not cleared.
"""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from afterview.memory.base.durable import observed
from afterview.memory.base.feature_spec import FeatureSpec, IndexSpec, TokenSpec
from afterview.memory.format.usage import bytes_under
from afterview.memory.writing.open import open_camera
from tests.bench.long_memory import make_long_memory
from tests.bench.table import Table
from tests.support.memory_world import START, make_frame

DAY = 86400
SPANS = {"10 min": 600, "1 h": 3600, "24 h": DAY, "7 d": 7 * DAY, "30 d": 30 * DAY}
IMAGE_BYTES = 11_000  # a 240-line JPEG of a camera picture
APPENDED = 640  # frames; ten seals


def tiny_spec() -> FeatureSpec:
    """The spec of the built-in model, without loading it."""
    from afterview.model.checkpoint.loading import load_encoders

    return load_encoders("tiny").feature_spec


def published_spec() -> FeatureSpec:
    """Hour-LLaVA's tokens (64 x 1152, float16) beside a small index."""
    tokens = TokenSpec(encoder="siglip", weights="sha256:00", resolution=384, tokens_per_frame=64, width=1152)
    return FeatureSpec(
        model="published",
        tokens=tokens,
        index=IndexSpec(encoder="pair", weights="sha256:01", resolution=224, width=768),
    )


def run() -> list[Table]:
    """All tables."""
    table = Table(
        "Writing", ["spec", "ms per frame, synced one by one", "payload kB", "written / payload", "GB per hour on disk"],
        "Write amplification counts every byte handed to the disk (journal, chunks, metadata) over the bytes of image, tokens "
        "as they are kept, embedding and times. Target: at most 2.2.",
    )  # fmt: skip
    for name, spec in (("tiny", tiny_spec()), ("Hour-LLaVA 64x1152", published_spec())):
        table.add(name, *writing(spec))
    return [table, *_month()]


def writing(spec: FeatureSpec) -> tuple[float, float, float, float]:
    """Ten seals: (ms per frame, payload kB per frame, bytes written over payload, GB per hour on disk)."""
    written = 0

    def count(kind: str, path: Path, detail: object) -> None:
        nonlocal written
        if kind == "write" and isinstance(detail, bytes):
            written += len(detail)

    image, payload, steps = bytes(np.random.default_rng(0).integers(0, 256, IMAGE_BYTES, dtype=np.uint8)), 0, []
    with tempfile.TemporaryDirectory() as directory, open_camera(Path(directory), "a", spec) as repository:
        with observed(count):
            for number in range(APPENDED):
                made = make_frame(number, spec)
                frame = type(made)(**{**vars(made), "image": image})
                kept = frame.stored_as(spec.tokens.storage).stored.values()
                payload += len(image) + sum(rows.nbytes for rows in kept) + frame.embedding.nbytes + 25
                began = time.perf_counter()
                repository.append(frame)
                repository.sync()
                steps.append(time.perf_counter() - began)
        hours = APPENDED / 3600
        return (
            statistics.fmean(steps) * 1e3,
            payload / APPENDED / 1e3,
            written / payload,
            bytes_under(Path(directory)) / hours / 1e9,
        )


_COLD_OPEN = """
import json, sys, time
from pathlib import Path
import numpy, zarr
from afterview.memory.reading.reader import CameraReader
began = time.perf_counter()
snapshot = CameraReader(Path(sys.argv[1])).snapshot()
print(json.dumps({"open_s": time.perf_counter() - began, "frames": snapshot.frames}))
"""

_SEARCH = """
import json, statistics, sys, time
from pathlib import Path
import numpy as np
from afterview.memory.directory import Memory
from afterview.memory.index.frame_index.frame_index import FrameIndex
memory = Memory(Path(sys.argv[1]))
snapshot = memory.camera("a").snapshot()
began = time.perf_counter()
index = memory.index("a")
index.catch_up(snapshot)
ready = time.perf_counter() - began
random = np.random.default_rng(1)
queries = random.standard_normal((30, snapshot.spec.index.width)).astype(np.float32)
queries /= np.linalg.norm(queries, axis=1, keepdims=True)
def timed(first):
    times = []
    for query in queries:
        began = time.perf_counter()
        found = index.search(query, 256, snapshot, first=first)
        times.append(time.perf_counter() - began)
    return times, found.exact
out = {"ready_s": ready, "rebuilt": index.rebuilt}
for name, seconds in json.loads(sys.argv[2]).items():
    times, exact = timed(max(0, snapshot.end - seconds))
    out[name] = {"first_ms": times[0] * 1e3, "median_ms": statistics.median(times) * 1e3, "exact": exact}
print(json.dumps(out))
"""


_FIRST_TOKEN = """
import json, sys, time
from pathlib import Path
from afterview.memory.directory import Memory
from afterview.model.checkpoint.loading.loading import load_pretrained
from afterview.stream.ask.answerer import Answerer
from afterview.stream.ask.question import Question
answerer = Answerer(Memory(Path(sys.argv[1])), load_pretrained("tiny"))
asked = time.time()
answerer.ask(Question("What was seen now?", ("a",), at=float(sys.argv[2]), max_new_tokens=1))
print(json.dumps({"asked": asked, "answered": time.time()}))
"""


def _in_process(code: str, *arguments: str) -> dict[str, Any]:
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def _month() -> list[Table]:
    with tempfile.TemporaryDirectory() as directory:
        memory = Path(directory) / "m"
        frames = make_long_memory(memory, tiny_spec(), 30 * DAY)
        opening = Table("A memory of 30 days, one camera, tiny model", ["what", "measured", "target"])
        cold = _in_process(_COLD_OPEN, str(memory / "a"))
        opening.add(f"open in a fresh process ({frames} frames)", f"{cold['open_s']:.2f} s", "<= 2 s")
        built = _in_process(_SEARCH, str(memory), json.dumps({"30 d": 30 * DAY}))
        opening.add("build the index from the embeddings", f"{built['ready_s']:.0f} s", "once")
        found = _in_process(_SEARCH, str(memory), json.dumps(SPANS))
        opening.add("load the saved index in a fresh process", f"{found['ready_s']:.2f} s", "")
        for name in SPANS:
            figures = found[name]
            how = "exact" if figures["exact"] else "approximate"
            target = "<= 20 ms" if name == "30 d" else ""
            opening.add(
                f"search {name} ({how}), top 256",
                f"{figures['median_ms']:.1f} ms (first {figures['first_ms']:.1f})",
                target,
            )
        return [opening, _first_tokens(memory)]


def _first_tokens(memory: Path) -> Table:
    from afterview.memory.directory import Memory
    from afterview.model.checkpoint.loading import load_pretrained
    from afterview.stream.ask.answerer import Answerer
    from afterview.stream.ask.question import Question

    table = Table(
        "First token against the length of the memory",
        ["span", "first token, warm (s)", "ratio to 1 h", "recall", "frames attended", "cold (s)", "of a process that starts (s)"],
        "Warm: one process, the 30-day memory above, questions as of the end of each span; median of 5. Target: 30 d at most 1.3 times "
        "1 h. Cold: the first question of a process that has loaded the model; then the same from the start of the process.",
    )  # fmt: skip
    answerer, medians = Answerer(Memory(memory), load_pretrained("tiny")), {}
    rows = []
    for name, seconds in SPANS.items():
        question = Question("What was seen now?", ("a",), at=START + seconds - 1, max_new_tokens=1)
        answerer.ask(question)
        answers = [answerer.ask(question).parts[0] for _ in range(5)]
        medians[name] = statistics.median(part.timing["first_token_s"] for part in answers)
        started = time.time()
        first = _in_process(_FIRST_TOKEN, str(memory), repr(question.at))
        cold = first["answered"] - first["asked"], first["answered"] - started
        rows.append((name, answers[0].coverage, cold))
    for name, coverage, cold in rows:
        table.add(name, medians[name], medians[name] / medians["1 h"], coverage.recall, coverage.recalled, *cold)
    return table
