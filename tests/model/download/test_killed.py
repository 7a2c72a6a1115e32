"""A pull that is killed again and again."""

import multiprocessing
import os
import random
from pathlib import Path

from afterview.model.checkpoint.preset import find_preset
from afterview.model.download.check import check
from afterview.model.download.needed import require_pulled
from tests.support.hub_model import INDEX, OWN
from tests.support.hub_server import HubServer

KILLS = 20


def pull_there(endpoint: str, cache: str) -> None:
    """In a process of its own."""
    os.environ["HF_HUB_CACHE"] = cache
    import huggingface_hub

    from afterview.model.download.pull import plan, pull

    huggingface_hub.constants.ENDPOINT = endpoint
    huggingface_hub.constants.HF_HUB_OFFLINE = False
    pull(plan(find_preset("own/model")))


def test_killed_twenty_times_it_ends_with_whole_files_and_no_second_copy(hub: HubServer, cache: Path) -> None:
    wanted = {name: len(data) for name, data in OWN.items() if name not in ("pytorch_model.bin", "README.md")}
    total = sum(wanted.values()) + sum(map(len, INDEX.values()))
    hub.faults.pause_s = 0.012
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["afterview.model.download.pull", "tests.model.download.test_killed"])
    chance, killed, runs = random.Random(7), 0, 0
    while True:
        process = context.Process(target=pull_there, args=(hub.url, str(cache)))
        process.start()
        process.join(chance.uniform(0.05, 0.3) if killed < KILLS else 60)
        runs += 1
        if process.exitcode is None:
            process.kill()
            process.join()
            killed += 1
            here = sum(path.stat().st_size for path in cache.rglob("blobs/*"))
            assert here <= total, "a second copy of something"
        elif killed >= KILLS:
            break
        else:  # it was done before all kills: begin anew
            for path in cache.rglob("blobs/*"):
                path.unlink()
    assert process.exitcode == 0
    assert {one.state for one in check(find_preset("own/model"))} == {"ok"}
    assert sum(path.stat().st_size for path in cache.rglob("blobs/*")) == total
    assert not list(cache.rglob("*.incomplete"))
    require_pulled("own/model")
