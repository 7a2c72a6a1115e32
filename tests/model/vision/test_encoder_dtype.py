"""Encoders in bfloat16 and int8: chosen by what was measured on this machine, used only where the weights stay within the tolerance."""

import json
import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from afterview.cli.main import main
from afterview.model.base.machine import this_machine
from afterview.model.catalogue import measure_encoders as measuring
from afterview.model.catalogue import quicken as quickening
from afterview.model.catalogue.catalogue import catalogue
from afterview.model.catalogue.encoding import TOLERANCE, EncoderCosts, EncodingCost, keep_costs, read_costs
from afterview.model.catalogue.measured import Speed, measured_path
from afterview.model.catalogue.quicken import quicken
from afterview.model.checkpoint import init
from afterview.model.checkpoint.loading import load_encoders
from afterview.model.checkpoint.models import Encoders
from afterview.model.checkpoint.preset import find_preset
from afterview.model.checkpoint.weights import slots_of
from afterview.model.vision.encoder_dtype import (
    ENCODER_DTYPES,
    convert,
    encode,
    geometry_of,
    probe_pictures,
    worst_cosine,
)
from afterview.model.vision.index_encoder import IndexEncoder, build_index_model
from afterview.model.vision.tower import VisionEncoder, build_tower
from afterview.stream.doctor.machine import check_processor

SMALL = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "image_size": 32,
    "patch_size": 8,
}


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


def small_index() -> IndexEncoder:
    text = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2, "vocab_size": 64,
            "bos_token_id": None, "eos_token_id": None}  # fmt: skip
    model = build_index_model({"model_type": "siglip", "vision_config": SMALL, "text_config": text})
    for name, slot in slots_of(model).items():
        slot.put(init.seeded(name, slot, 0, tower=True).read())
    return IndexEncoder(model, None, name="small", weights="small")


def small_tower() -> VisionEncoder:
    tower = build_tower({"model_type": "siglip_vision_model", **SMALL, "image_size": 64})
    for name, slot in slots_of(tower).items():
        slot.put(init.seeded(name, slot, 0, tower=True).read())
    return VisionEncoder(tower, name="small", weights="small")


def small_encoders() -> Encoders:
    return Encoders(small_tower(), small_index(), find_preset("tiny"))


def costs_of(geometry: str, **seconds: float) -> EncoderCosts:
    costs = tuple(EncodingCost(dtype, 1, cost, 1.0) for dtype, cost in seconds.items())
    return EncoderCosts(geometry, "part", costs, load=0.0, at=1_700_000_000.0)


@pytest.mark.parametrize("make", [small_index, small_tower])
def test_features_stay_near_those_of_float32(make: Callable[[], IndexEncoder | VisionEncoder]) -> None:
    pictures = probe_pictures(make().spec.resolution)
    plain = encode(make(), pictures)
    for dtype, least in zip(ENCODER_DTYPES, (1.0, 0.999, 0.99), strict=True):
        encoder = make()
        convert(encoder, dtype)
        features = encode(encoder, pictures)
        assert features.dtype == plain.dtype
        assert worst_cosine(features, plain) >= least - 1e-9
        assert np.array_equal(features, plain) == (dtype == "float32")
        if isinstance(encoder, VisionEncoder):  # what single pictures give the projector, which is float32
            assert encoder.patches(pictures).dtype == torch.float32


def test_without_a_measurement_nothing_changes() -> None:
    encoders = small_encoders()
    plain = encode(encoders.index, probe_pictures(32))
    assert {one.dtype for one in quicken(encoders)} == {"float32"}
    assert np.array_equal(encode(encoders.index, probe_pictures(32)), plain)
    assert not measured_path().exists()


def test_the_cheapest_that_was_measured_is_used_and_said(caplog: pytest.LogCaptureFixture) -> None:
    encoders, machine = small_encoders(), this_machine(gpus=False)
    plain, weights = encode(encoders.index, probe_pictures(32)), encoders.feature_spec
    found = [costs_of(geometry_of(encoders.index), float32=0.3, bfloat16=0.1, int8=0.2),
             costs_of(geometry_of(encoders.vision), float32=0.1, bfloat16=0.3)]  # fmt: skip
    keep_costs("made-up", found, machine)
    with caplog.at_level(logging.INFO):
        tower, index = quicken(encoders)
    assert (tower.dtype, index.dtype) == ("float32", "bfloat16")
    assert index.worst_cosine is not None
    assert TOLERANCE <= index.worst_cosine < 1
    assert next(encoders.index.model.vision_model.parameters()).dtype == torch.bfloat16
    assert next(encoders.index.model.text_model.parameters()).dtype == torch.float32
    assert TOLERANCE <= worst_cosine(encode(encoders.index, probe_pictures(32)), plain) < 1
    assert encoders.feature_spec == weights  # one memory may hold both
    assert [record.message for record in caplog.records] == [
        f"index encoder: runs in bfloat16: measured the cheapest here; worst cosine to float32 {index.worst_cosine:.5f}"
    ]


def test_weights_that_stray_too_far_stay_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    encoders = small_encoders()
    plain = encode(encoders.index, probe_pictures(32))
    keep_costs(
        "made-up",
        [costs_of(geometry_of(encoders.index), float32=0.3, bfloat16=0.2, int8=0.1)],
        this_machine(gpus=False),
    )
    monkeypatch.setattr(quickening, "TOLERANCE", 0.9999999)
    _, index = quicken(encoders)
    assert index.dtype == "float32"
    assert "the features of these weights are too far off" in index.why
    assert np.array_equal(encode(encoders.index, probe_pictures(32)), plain)


def test_a_dtype_that_strays_in_the_measurement_is_not_ranked() -> None:
    own = costs_of("g", float32=0.3, bfloat16=0.2)
    far = replace(own, costs=(*own.costs, EncodingCost("int8", 1, 0.1, TOLERANCE - 0.001)))
    assert (far.best, far.ranked) == ("bfloat16", ["bfloat16", "float32"])
    assert replace(own, costs=()).best == "float32"


def test_what_cannot_be_read_counts_as_not_measured() -> None:
    machine = this_machine(gpus=False)
    keep_costs("made-up", [costs_of("g", float32=0.3)], machine)
    keep_costs("made-up", [costs_of("g", float32=0.2)], machine)
    ((preset, own),) = read_costs(machine)
    assert (preset, own.costs[0].cpu_s_per_frame) == ("made-up", 0.2)
    assert read_costs(replace(machine, cores=machine.cores + 1)) == []
    entry = json.loads(measured_path().read_text())[0]
    for key, wrong in (("costs", None), ("costs", {"costs": [{"dtype": "int8"}]}), ("machine", 5), ("encoder", [])):
        measured_path().write_text(json.dumps([{**entry, key: wrong}, 7, None]))
        assert isinstance(quicken(small_encoders(), machine), list)
    for key, wrong in (
        ("cpu_s_per_frame", 0),
        ("cpu_s_per_frame", float("nan")),
        ("worst_cosine", "1"),
        ("dtype", "int4"),
        ("dtype", []),
    ):
        cost = {**entry["costs"]["costs"][0], key: wrong}
        measured_path().write_text(json.dumps([{**entry, "costs": {**entry["costs"], "costs": [cost]}}]))
        assert read_costs(machine) == []
    for key, wrong in (("at", 1e300), ("at", None), ("load", {}), ("geometry", None), ("geometry", [])):
        measured_path().write_text(json.dumps([{**entry, "costs": {**entry["costs"], key: wrong}}]))
        quicken(small_encoders(), machine)


def test_measuring_gives_every_dtype_and_batch_that_is_not_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    threads = torch.get_num_threads()
    monkeypatch.setattr(measuring, "base_index", small_index)
    (own,) = measuring.measure_encoders(catalogue()["search"], batches=(1, 4))
    assert [(cost.dtype, cost.batch) for cost in own.costs] == [
        (dtype, batch) for dtype in ENCODER_DTYPES for batch in (1, 4)
    ]
    assert own.geometry == geometry_of(small_index()) == "SigLIP 32x3 (64), 32 pixels in patches of 8 with head"
    assert own.best in ENCODER_DTYPES
    assert own.describe().startswith("index encoder, SigLIP 32x3 (64), 32 pixels")
    short = measuring.measure_part("index encoder", small_index, batches=(1, 4), longest_s=1e-9)
    assert [cost.batch for cost in short.costs] == [1, 1, 1]
    assert torch.get_num_threads() == threads
    assert measuring.measure_encoders(catalogue()["tiny"]) == []


def test_the_parts_of_a_preset() -> None:
    assert {
        name: list(measuring.makers(catalogue()[name])) for name in ("search", "hour-llava-3b", "videochat-flash-2b")
    } == {
        "search": ["index encoder"],
        "hour-llava-3b": ["index encoder", "vision tower"],
        "videochat-flash-2b": ["index encoder"],
    }


def test_the_built_in_model_is_never_changed() -> None:
    encoders = load_encoders("tiny", device="cpu")
    assert {one.dtype for one in quicken(encoders)} == {"float32"}


def test_measuring_by_command_is_shown_by_models_and_by_doctor(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    speed = Speed(2.0, None, None, 0, 0, "cpu", "float32", 1, 0.1, 1_700_000_000.0)
    monkeypatch.setattr("afterview.model.catalogue.measure.measure", lambda *arguments, **more: speed)
    monkeypatch.setattr(measuring, "base_index", small_index)
    assert main(["models", "measure", "search", "--json"]) == 0
    (own,) = json.loads(capsys.readouterr().out)["encoders"]
    assert own["best"] in ENCODER_DTYPES
    assert {cost["dtype"] for cost in own["costs"]} == set(ENCODER_DTYPES)
    assert main(["models"]) == 0
    assert f"index encoder: recording uses {own['best']} on this machine (measured " in capsys.readouterr().out
    assert main(["models", "--json"]) == 0
    shown = {one["preset"]: one["encoders"] for one in json.loads(capsys.readouterr().out)["presets"]}
    assert (shown["search"], shown["tiny"]) == ([own], [])
    (found,) = [one for one in check_processor(replace(this_machine(), gpus=())) if one.check == "encoders"]
    assert found.text == f"index encoder, {own['geometry']}: {own['best']}"
