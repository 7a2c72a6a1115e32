"""A small model on a hub of our own, and fixtures for it and for an empty cache. A test module imports the fixtures that it uses."""

import random
from collections.abc import Iterator
from pathlib import Path

import huggingface_hub
import pytest
from huggingface_hub.utils import _http

from tests.support.hub_server import HubServer

SHARDS = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")
OWN = {
    "config.json": b'{"model_type": "qwen2"}',
    "tokenizer.json": b'{"version": "1.0"}' + b" " * 3000,
    "model.safetensors.index.json": b'{"weight_map": {"a": "%s", "b": "%s"}}' % tuple(name.encode() for name in SHARDS),
    SHARDS[0]: random.Random(1).randbytes(200_000),
    SHARDS[1]: random.Random(2).randbytes(120_000),
    "pytorch_model.bin": random.Random(3).randbytes(50_000),  # the same weights again: not wanted
    "README.md": b"# A model",
}
INDEX = {"config.json": b"{}", "tokenizer.json": b"{ }", "model.safetensors": random.Random(4).randbytes(40_000)}


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cache, empty; and that of Afterview itself."""
    root = tmp_path / "hub"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user-cache"))
    monkeypatch.setenv("HF_HUB_CACHE", str(root))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(root))
    return root


@pytest.fixture
def hub(cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    """A hub with a model and its index encoder."""
    server = HubServer({"own/model": OWN, "google/siglip-base-patch16-224": INDEX})
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", server.url)
    monkeypatch.setenv("HF_TOKEN", "hf_of_the_test")
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    _http.close_session()
    with server.running():
        yield server
    _http.close_session()
