"""Pulls from a hub that lies, stalls, breaks off, or refuses; and what lies in the cache afterwards."""

import dataclasses
import json
import socket
from pathlib import Path

import huggingface_hub
import pytest

from afterview.model.base.errors import HubUnreachable, NotPulled, PullFailed
from afterview.model.checkpoint.hub import HubModel, find_optional
from afterview.model.checkpoint.preset import find_preset
from afterview.model.download import listing, transfer
from afterview.model.download.cache import CachedModel
from afterview.model.download.check import check, plan_removal, remove
from afterview.model.download.needed import require_pulled
from afterview.model.download.pull import PulledModel, plan, pull
from afterview.model.download.transfer import Patience
from tests.support.full_disk import no_larger_files
from tests.support.hub_model import INDEX, OWN, SHARDS
from tests.support.hub_server import COMMIT, HubServer

QUICK = Patience(silence_s=0.3, tries=2, pause_s=0.01)
MODEL = "own/model"
WANTED = {name: data for name, data in OWN.items() if name not in ("pytorch_model.bin", "README.md")}


def fetched(name: str = MODEL, **values: object) -> list[PulledModel]:
    return pull(plan(find_preset(name)), patience=QUICK, **values)  # type: ignore[arg-type]


def blobs(cache: Path) -> dict[str, int]:
    """Every byte that is kept, by path."""
    return {str(path.relative_to(cache)): path.stat().st_size for path in cache.rglob("blobs/*")}


def test_a_pull_fetches_what_is_read_and_nothing_twice(hub: HubServer, cache: Path) -> None:
    seen: list[tuple[int, int]] = []
    result = fetched(report=lambda done, total: seen.append((done, total)))
    total = sum(map(len, WANTED.values())) + sum(map(len, INDEX.values()))
    assert [(one.repo, one.commit) for one in result] == [(MODEL, COMMIT), ("google/siglip-base-patch16-224", COMMIT)]
    assert sum(one.bytes for one in result) == total == sum(blobs(cache).values())
    assert seen[-1] == (total, total)
    assert hub.sent["pytorch_model.bin"] == hub.sent["README.md"] == 0
    assert {name: (HubModel(MODEL).find(name) or Path()).read_bytes() for name in WANTED} == WANTED
    assert {one.state for one in check(find_preset(MODEL))} == {"ok"}
    assert not list(cache.rglob("*.incomplete"))
    sent = hub.sent.total()
    fetched()
    assert hub.sent.total() == sent
    assert set(hub.told) == {""}, "the host of the bytes must not learn the token"
    require_pulled(MODEL)


def test_offline_nothing_is_asked_and_nothing_warned(hub: HubServer, caplog: pytest.LogCaptureFixture) -> None:
    fetched()
    assert not [path for path in hub.asked if "own/model" not in path and "siglip" not in path], (
        "only what is fetched is asked for"
    )
    asked = len(hub.asked)
    assert find_optional(HubModel(MODEL), "tokenizer.json", "special_tokens_map.json").keys() == {"tokenizer.json"}
    assert HubModel(MODEL).find("model.safetensors") is None
    assert len(hub.asked) == asked
    assert not caplog.records


def test_an_interrupted_file_goes_on_where_it_stopped(hub: HubServer, cache: Path) -> None:
    hub.faults.break_after[SHARDS[0]] = 90_000
    with pytest.raises(
        PullFailed, match=r"own/model: model-00001.*2 times; 0\.\d of 0\.2 MB are here: the same command goes on"
    ):
        pull(plan(find_preset(MODEL)), patience=dataclasses.replace(QUICK, tries=2))
    assert list(cache.rglob("blobs/*.incomplete"))
    with pytest.raises(NotPulled, match="afterview models pull own/model"):
        require_pulled(MODEL)
    hub.faults.break_after.clear()
    fetched()
    assert hub.sent[SHARDS[0]] == len(OWN[SHARDS[0]])
    assert {one.state for one in check(find_preset(MODEL))} == {"ok"}


def test_a_server_without_ranges_gives_the_whole_file_again(hub: HubServer) -> None:
    hub.faults.break_after[SHARDS[0]] = 90_000
    with pytest.raises(PullFailed):
        fetched()
    hub.faults.break_after.clear()
    hub.faults.no_ranges = True
    fetched()
    assert {one.state for one in check(find_preset(MODEL))} == {"ok"}


def test_what_was_damaged_here_is_fetched_anew(hub: HubServer, cache: Path, caplog: pytest.LogCaptureFixture) -> None:
    hub.faults.break_after[SHARDS[0]] = 90_000
    with pytest.raises(PullFailed):
        fetched()
    hub.faults.break_after.clear()
    partial = next(cache.rglob("blobs/*.incomplete"))
    partial.write_bytes(b"x" * partial.stat().st_size)
    fetched()
    assert "was damaged; fetching it anew" in caplog.text
    whole = CachedModel(MODEL, cache).find(SHARDS[1])
    assert whole is not None
    whole.resolve().write_bytes(b"y" * len(OWN[SHARDS[1]]))
    assert {one.name: one.state for one in check(find_preset(MODEL))}[SHARDS[1]] == "damaged"
    fetched()
    assert {one.state for one in check(find_preset(MODEL))} == {"ok"}


def test_leftovers_of_the_hubs_own_client_go(hub: HubServer, cache: Path) -> None:
    place = CachedModel(MODEL, cache).storage / "blobs"
    place.mkdir(parents=True)
    (place / f"{hub.checksum(MODEL, SHARDS[0])}.0badf00d.incomplete").write_bytes(b"half")
    fetched()
    assert not list(cache.rglob("*.incomplete"))


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ({"stall_after": {SHARDS[0]: 9000}, "stall_s": 1.0}, "nothing came for 0.3 s, 2 times"),
        ({"wrong_bytes": {SHARDS[0]}}, "do not have the checksum that the hub lists; they were deleted"),
        ({"wrong_size_listed": {SHARDS[0]: 150_000}}, "has 200000 bytes where it lies, but 150000"),
        ({"web_page": {SHARDS[0]}}, "a web page came instead; is a sign-in page or a proxy in the way"),
        ({"web_page": {"api"}}, "answered with text/html instead of a list of files"),
        ({"junk": b"[1, 2]"}, "answered with application/json instead of a list of files"),
        ({"junk": b'{"siblings": [], "sha": 5}'}, "names no commit"),
        ({"junk": json.dumps({"sha": COMMIT, "siblings": [{"rfilename": "../../x"}]}).encode()}, "leaves the model's directory"),
        ({"junk": json.dumps({"sha": COMMIT, "siblings": [{"rfilename": "config.json"}]}).encode()}, "the hub has no weights of it"),
        ({"status": {SHARDS[0]: 503}}, "the hub answered 503, 2 times"),
    ],
)  # fmt: skip
def test_a_hub_that_lies_or_stalls_costs_a_clear_line(
    hub: HubServer, cache: Path, fault: dict[str, object], message: str
) -> None:
    hub.faults = dataclasses.replace(hub.faults, **fault)
    with pytest.raises(PullFailed, match=message) as raised:
        fetched()
    assert "\n" not in str(raised.value)
    assert CachedModel(MODEL, cache).commit is None, "nothing is visible by halves"


def test_more_bytes_than_listed_are_not_taken(hub: HubServer) -> None:
    hub.faults.sends_more.add(SHARDS[0])
    fetched()
    assert {one.state for one in check(find_preset(MODEL))} == {"ok"}


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ({"gated": True}, r"access is restricted; accept its terms at http://127\S+/own/model, then set HF_TOKEN"),
        ({"token": "another", "gated": True}, "access is restricted.*HF_TOKEN"),
        ({"token": "another"}, "the hub has no such model|HF_TOKEN"),
        ({"redirect_loop": True}, "redirects in a circle"),
        ({"status": {"api": 429}}, "too many requests; try again later"),
        ({"status": {"api": 500}}, "the hub answered 500; try again later"),
        ({"status": {SHARDS[0]: 403}}, "access is restricted"),
        ({"status": {SHARDS[0]: 404}}, "the hub has no"),
    ],
)
def test_refusals_name_the_remedy(hub: HubServer, fault: dict[str, object], message: str) -> None:
    hub.faults = dataclasses.replace(hub.faults, **fault)
    with pytest.raises(HubUnreachable, match=message):
        fetched()


def test_a_hub_that_does_not_answer(hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "ANSWER_S", 0.3)
    hub.faults.stall_after["api"], hub.faults.stall_s = 0, 1.0
    with pytest.raises(HubUnreachable, match="does not answer; check the network"):
        fetched()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", f"http://127.0.0.1:{free.getsockname()[1]}")
        with pytest.raises(HubUnreachable, match=r"cannot be reached \(.*refused.*\); check the network"):
            fetched()
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(HubUnreachable, match="HF_HUB_OFFLINE is set"):
        fetched()


def test_an_answer_without_an_end(hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "_MOST_BYTES", 100_000)
    hub.faults.junk = b"[" * 500_000
    with pytest.raises(PullFailed, match="has no end; if HF_ENDPOINT is set, check it"):
        fetched()


def test_redirects_whose_bodies_have_no_end(hub: HubServer) -> None:
    hub.faults.endless_redirects = True
    fetched()
    assert {one.state for one in check(find_preset(MODEL))} == {"ok"}
    assert set(hub.told) == {""}


def test_names_and_revisions(hub: HubServer, cache: Path) -> None:
    with pytest.raises(HubUnreachable, match="own/modle: the hub has no such model; check the spelling"):
        fetched("own/modle")
    with pytest.raises(HubUnreachable, match="has no revision 'v9'"):
        fetched("own/model@v9")
    fetched("own/model@v2")
    assert HubModel("own/model@v2").find("config.json") is not None
    require_pulled("own/model@v2")
    with pytest.raises(NotPulled):
        require_pulled(MODEL)


def test_a_full_disk(hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        no_larger_files(150_000),
        pytest.raises(PullFailed, match=r"cannot be written: .*; what came is kept, and HF_HUB_CACHE"),
    ):
        fetched()
    monkeypatch.setattr("afterview.model.download.pull.SPARE_BYTES", 1 << 60)
    with pytest.raises(
        PullFailed, match=r"GB are to be fetched, and its disk has .* GB free; make room, or set HF_HUB_CACHE"
    ):
        fetched()
    monkeypatch.undo()


def test_a_tiny_trickle_counts_as_silence(hub: HubServer) -> None:
    hub.faults.pause_s = 0.05
    slow = dataclasses.replace(QUICK, slowest=1e9, window_s=0.1)
    with pytest.raises(PullFailed, match=r"only \d+ bytes came in"):
        pull(plan(find_preset(MODEL)), patience=slow)


def test_two_pulls_at_once(hub: HubServer, cache: Path) -> None:
    from afterview.memory.base.lock import file_lock

    model = CachedModel(MODEL, cache)
    model.locks.mkdir(parents=True)
    with file_lock(model.locks / "afterview-pull.lock"), pytest.raises(PullFailed, match="another pull fetches it now"):
        fetched()


def test_removing_frees_what_it_says(hub: HubServer, cache: Path) -> None:
    fetched()
    (model,) = [one for one in plan_removal(find_preset(MODEL)).models if one[0] == MODEL]
    assert model[1] >= sum(map(len, WANTED.values()))
    remove(plan_removal(find_preset(MODEL)))
    assert not blobs(cache)
    with pytest.raises(NotPulled):
        require_pulled(MODEL)
    assert transfer.PIECE_BYTES
