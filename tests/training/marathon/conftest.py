"""A folder with three synthetic videos, of which one is too short, and a file that is no video."""

from pathlib import Path
from typing import Any

import pytest

from afterview.training.world import World, WorldConfig
from afterview.training.world.video import VideoFormat, write_video

EXACT: dict[str, Any] = {"kind": "world"}


@pytest.fixture(scope="session")
def worlds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("worlds")
    (root / "more").mkdir()
    config = WorldConfig(hidden=0.4, moving=0.4, scene_length_s=(20.0, 60.0), repeats=(1, 2))
    for name, seed, seconds in (("a.mp4", 5, 180.0), ("more/b.mp4", 6, 200.0), ("short.mp4", 7, 20.0)):
        world = World(seed, seconds, config=config, width=64, height=36)
        write_video(world, root / name, video=VideoFormat(rate=1))
    (root / "no video.mp4").write_bytes(b"not a video at all" * 100)
    (root / "notes.txt").write_text("ignored")
    return root


def settings(**others: Any) -> dict[str, Any]:
    """A configuration with exact models."""
    models = {"captioner": EXACT, "writer": EXACT, "looks": [EXACT], "blind": EXACT}
    return {
        "clips": {"seconds": 45},
        "models": models,
        "questions": {"open": 3, "choice": 3},
        "videos_per_file": 2,
        **others,
    }
