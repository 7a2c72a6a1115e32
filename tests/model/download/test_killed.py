"""A pull that is killed again and again."""

import multiprocessing
import os
import random
from pathlib import Path

from afterview.model.checkpoint.preset import find_preset
from afterview.model.download.check import check
from afterview.model.download.needed import require_pulled
from tests.support.hub_model import INDEX, OWN
from tests.support.hub_server import COMMIT, HubServer

KILLS = 20


def pull_there(endpoint: str, cache: str) -> None:
    """In a process of its own."""
    os.environ["HF_HUB_CACHE"] = cache
    import huggingface_hub

    from afterview.model.download.pull import plan, pull

    huggingface_hub.constants.ENDPOINT = endpoint
    huggingface_hub.constants.HF_HUB_OFFLINE = False
    pull(plan(find_preset("own/model")))


def on_disk(cache: Path) -> list[Path]:
    """Every file of the cache, each once however many names lead to it."""
    return list(
        {path.stat().st_ino: path for path in cache.rglob("*") if path.is_file() and not path.is_symlink()}.values()
    )


def contents(cache: Path) -> list[Path]:
    """What takes room: all files but refs, locks and marks of files that a model does not have."""
    aside = {"refs", ".locks", ".no_exist"}
    return [path for path in on_disk(cache) if not aside & set(path.relative_to(cache).parts)]


def test_killed_twenty_times_it_ends_with_whole_files_and_no_second_copy(hub: HubServer, cache: Path) -> None:
    wanted = {name: len(data) for name, data in OWN.items() if name not in ("pytorch_model.bin", "README.md")}
    total = sum(wanted.values()) + sum(map(len, INDEX.values()))
    hub.faults.pause_s = 0.012
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["afterview.model.download.pull", "tests.model.download.test_killed"])
    chance, killed, partial = random.Random(7), 0, 0
    while True:
        here = sum(path.stat().st_size for path in contents(cache))
        until = sum(hub.sent.values()) + chance.uniform(0.0, 0.3 * (total - here))
        process = context.Process(target=pull_there, args=(hub.url, str(cache)))
        process.start()
        while killed < KILLS and process.exitcode is None and sum(hub.sent.values()) <= until:
            process.join(0.002)
        if killed >= KILLS:
            process.join(60)
            break
        if process.exitcode is None:
            process.kill()
            process.join()
            killed += 1
            partial += any(path.suffix == ".incomplete" for path in contents(cache))
            assert sum(path.stat().st_size for path in contents(cache)) <= total, "a second copy of something"
        else:  # it was done before all kills: begin anew
            assert process.exitcode == 0
            for path in cache.rglob("blobs/*"):
                path.unlink()
    assert process.exitcode == 0
    assert partial >= KILLS // 4, "most kills came before or after the files"
    assert {one.state for one in check(find_preset("own/model"))} == {"ok"}
    require_pulled("own/model")
    require_only_what_was_wanted(hub, cache)


def require_only_what_was_wanted(hub: HubServer, cache: Path) -> None:
    """The cache as the hub's client lays it out: each file once, under its checksum; a name that leads to it; nothing left over."""
    names = {"own/model": {*OWN} - {"pytorch_model.bin", "README.md"}, "google/siglip-base-patch16-224": {*INDEX}}
    for repo, files in names.items():
        place = cache / f"models--{repo.replace('/', '--')}"
        blobs = {path.name: path for path in (place / "blobs").iterdir()}
        assert set(blobs) == {hub.checksum(repo, file) for file in files}
        assert (place / "refs" / "main").read_text() == COMMIT
        snapshot = place / "snapshots" / COMMIT
        assert [path.name for path in (place / "snapshots").iterdir()] == [COMMIT]
        assert {str(path.relative_to(snapshot)) for path in snapshot.rglob("*") if not path.is_dir()} == files
        for file in files:
            assert (snapshot / file).is_symlink()
            assert (snapshot / file).resolve() == blobs[hub.checksum(repo, file)].resolve()
            assert (snapshot / file).read_bytes() == hub.models[repo][file]
    assert len(contents(cache)) == sum(map(len, names.values())), "files that nobody needs"
    assert not list(cache.rglob("*.incomplete"))
    left = [path for path in on_disk(cache) if path not in contents(cache)]
    assert sum(path.stat().st_size for path in left) < 10_000
