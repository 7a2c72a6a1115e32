"""All benchmarks that can be run, and those that cannot, with the reason."""

from typing import Final

from afterview.configs.suggestions import did_you_mean
from afterview.training.base.errors import BenchmarkError
from afterview.training.evaluation.benchmarks.base import Absent, Benchmark
from afterview.training.evaluation.benchmarks.charades import CHARADES_STA
from afterview.training.evaluation.benchmarks.egoschema import EGO_SCHEMA
from afterview.training.evaluation.benchmarks.hourvideo import HOUR_VIDEO
from afterview.training.evaluation.benchmarks.longvideobench import LONG_VIDEO_BENCH
from afterview.training.evaluation.benchmarks.lvbench import LV_BENCH
from afterview.training.evaluation.benchmarks.mlvu import MLVU
from afterview.training.evaluation.benchmarks.mvbench import MV_BENCH
from afterview.training.evaluation.benchmarks.ovobench import OVO_BENCH
from afterview.training.evaluation.benchmarks.own import OWN
from afterview.training.evaluation.benchmarks.rvs import RVS
from afterview.training.evaluation.benchmarks.streamingbench import STREAMING_BENCH
from afterview.training.evaluation.benchmarks.svbench import SV_BENCH
from afterview.training.evaluation.benchmarks.tempcompass import TEMP_COMPASS
from afterview.training.evaluation.benchmarks.videomme import VIDEO_MME
from afterview.training.evaluation.benchmarks.vnbench import VN_BENCH

BENCHMARKS: Final[dict[str, Benchmark]] = {
    one.name: one
    for one in (
        VIDEO_MME, LONG_VIDEO_BENCH, LV_BENCH, MLVU, TEMP_COMPASS, EGO_SCHEMA, CHARADES_STA, VN_BENCH, MV_BENCH, HOUR_VIDEO,
        STREAMING_BENCH, OVO_BENCH, RVS, SV_BENCH, OWN,
    )
}  # fmt: skip

ABSENT: Final = (
    Absent("momentseeker", "MomentSeeker", "it ranks moments and asks no question; `evaluate retrieval --data` reads its files"),
    Absent("image sets", "MMStar, ScienceQA, RealWorldQA", "questions about single pictures, which no memory holds"),
)  # fmt: skip


def find_benchmark(name: str) -> Benchmark:
    """The benchmark of a name. Raises BenchmarkError, which names the nearest one, or says why one is absent."""
    if name in BENCHMARKS:
        return BENCHMARKS[name]
    for absent in ABSENT:
        if absent.name == name:
            raise BenchmarkError(f"{absent.title} cannot be run: {absent.why}")
    raise BenchmarkError(
        f"there is no benchmark '{name}'{did_you_mean(name, list(BENCHMARKS))}; `afterview evaluate list` shows all"
    )
