"""Extraction by workers of Ray equals that of one process."""

import json
from pathlib import Path

import pytest
from safetensors import safe_open

from afterview.cli.main import main
from tests.support.clips import make_clip

pytest.importorskip("ray", reason="the extra 'marathon' is not installed")


def content(path: Path) -> tuple[dict[str, str], dict[str, bytes]]:
    """Metadata, whose order in the file is random, and tensors."""
    with safe_open(path, "np") as file:
        return dict(file.metadata()), {name: file.get_tensor(name).tobytes() for name in file.keys()}  # noqa: SIM118


@pytest.mark.slow
@pytest.mark.integration
@pytest.mark.timeout(600)
def test_the_files_are_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "videos" / "more").mkdir(parents=True)
    videos = [
        make_clip(tmp_path / "videos" / name, frames=40 + 10 * n, rate=10)
        for n, name in enumerate(("a.mp4", "b.mp4", "more/a.mp4"))
    ]
    (tmp_path / "videos" / "broken.mp4").write_bytes(b"nothing")
    sources = [*map(str, videos), str(tmp_path / "videos" / "broken.mp4")]
    found = {}
    for name, more in (("serial", []), ("ray", ["--ray", "2"])):
        root = str(tmp_path / "videos")
        assert main(["extract", *sources, "--root", root, "--out", str(tmp_path / name), "-q", "--json", *more]) == 1
        document = json.loads(capsys.readouterr().out.splitlines()[-1])
        assert list(document["failed"]) == [sources[-1]]
        assert sorted(document["made"]) == ["a.mp4", "b.mp4", "more/a.mp4"]
        bank = tmp_path / name
        found[name] = {str(path.relative_to(bank)): content(path) for path in bank.rglob("*.safetensors")}
    assert len(found["ray"]) == 3
    assert found["ray"] == found["serial"]
