"""The same run in a real session of Ray, against a real HTTP endpoint."""

from pathlib import Path

import pytest

from afterview.training.marathon.run import run
from tests.support.marathon_server import by_label, marathon_server
from tests.training.marathon.test_endpoint import configured, exact
from tests.training.marathon.test_run import contents

pytest.importorskip("ray", reason="the extra 'marathon' is not installed")


@pytest.mark.thorough
@pytest.mark.integration
@pytest.mark.timeout(600)
def test_ray_makes_the_same_rows(worlds: Path, tmp_path: Path) -> None:
    with marathon_server(worlds, mischief=by_label) as server:
        patient = configured(tmp_path, server, timeout_s=10.0)  # Ray's start slows the first answers
        ran = run(patient, worlds, tmp_path / "out", ray=2)
        assert max(server.answered.values()) == 1
    assert ran.failed == 0
    assert sum(of.get("asked", 0) for of in ran.asked.values()) == sum(server.answered.values())
    assert contents(tmp_path / "out") == exact(tmp_path, worlds)
