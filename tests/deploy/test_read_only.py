"""The service where nothing can be written but its memory and a temporary directory, as a user without rights, home or variables."""

import json
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
from pathlib import Path

import httpx2
import pytest

from afterview.stream.service.http.bodies import LARGEST_BODY
from tests.support.processes import ROOT
from tests.support.servers import wait_until
from tests.support.service import API

USER = "10001"  # that of the image
INTERPRETER = Path("/opt", Path(sys.executable).resolve().relative_to(sys.base_prefix))
PACKAGES = Path(sysconfig.get_path("purelib")).relative_to(sys.prefix)
PATTERN = "lavfi:testsrc2=size=160x120:rate=5"
# A mount namespace of its own: memory at /mnt and temporary files at /var/tmp are writable, everything else is not. This checkout is at
# /srv, the packages at /media, and Python at /opt: their own places may be closed to others.
CONTAINED = """
set -e
mount --bind "$1" /mnt
mount --bind "$2" /var/tmp
mount --bind "$3" /srv
mount --bind "$4" /media
mount --bind "$5" /opt
mount -o remount,bind,ro /srv
mount -o remount,bind,ro /media
mount -o remount,bind,ro /opt
mount -o remount,bind,ro /
shift 5
cd /
exec setpriv --reuid=$0 --regid=$0 --clear-groups --no-new-privs --bounding-set=-all -- "$@"
"""


def contained(tmp_path: Path, *command: str | Path) -> list[str]:
    """A command that runs there."""
    for name in ("memory", "temporary"):
        (tmp_path / name).mkdir(exist_ok=True)
        os.chown(tmp_path / name, int(USER), int(USER))
    given = [
        "env", "-i", f"PATH={os.defpath}", "HOME=/nonexistent", "LD_LIBRARY_PATH=/opt/lib", "TMPDIR=/var/tmp",
        f"PYTHONPATH=/srv:/media/{PACKAGES}", "OMP_NUM_THREADS=1", "PYTHONDONTWRITEBYTECODE=1", "HF_HUB_OFFLINE=1",
    ]  # fmt: skip
    return [
        "unshare", "--mount", "--propagation", "private", "sh", "-c", CONTAINED, USER,
        str(tmp_path / "memory"), str(tmp_path / "temporary"), str(ROOT), sys.prefix, sys.base_prefix, *given, *map(str, command),
    ]  # fmt: skip


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A directory for it; skips where such a process cannot be made."""
    if os.geteuid() != 0 or shutil.which("unshare") is None or shutil.which("setpriv") is None:
        pytest.skip("needs root, unshare and setpriv")
    tried = "import afterview, pathlib; pathlib.Path('/mnt/x').touch(); pathlib.Path('/mnt/x').unlink()"
    done = subprocess.run(contained(tmp_path, INTERPRETER, "-c", tried), capture_output=True, text=True)
    if done.returncode != 0:
        pytest.skip(f"no such process can be made here: {done.stderr.strip()[-200:]}")
    for where in ("/", "/etc", "/tmp", "/var", "/root"):
        done = subprocess.run(contained(tmp_path, "touch", f"{where}/afterview-was-here"), capture_output=True)
        assert done.returncode != 0, where
    return tmp_path


@pytest.mark.slow
@pytest.mark.timeout(150)
def test_it_records_answers_and_ends_cleanly(place: Path) -> None:
    command = contained(place, INTERPRETER, "-m", "afterview", "serve", "--json", "--memory", "/mnt", "--port", "0")
    process = subprocess.Popen(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        assert process.stdout is not None
        said = process.stdout.readline()
        assert "url" in json.loads(said or "{}"), said or process.communicate()
        url = json.loads(said)["url"]
        with httpx2.Client(base_url=url, timeout=60, trust_env=False) as client:
            assert wait_until(lambda: client.get("/health/ready").json()["status"] == "ready", 90, every_s=0.3)
            assert client.put(f"{API}/cameras/yard", json={"source": PATTERN}).status_code == 201
            assert wait_until(lambda: client.get(f"{API}/cameras/yard").json()["recorded"] >= 3, 30, every_s=0.2)
            answer = client.post(f"{API}/ask", json={"question": "Did you see a red ring?"}).json()
            assert answer["coverage"]["frames"] >= 3
            assert client.get(f"{API}/answers/{answer['id']}").status_code == 200
            assert client.get(f"{API}/cameras/yard/image").headers["content-type"] == "image/jpeg"
            exported = client.post(f"{API}/cameras/yard/export", params={"wait": 30}, json={}).json()
            assert client.get(exported["result"]["file"]).status_code == 200
            assert client.post(f"{API}/ask", content=b"x" * (LARGEST_BODY + 1)).status_code == 413
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=30)
    finally:
        process.kill()
    assert (process.returncode, "Traceback" in errors) == (0, False), errors
    assert "ead-only" not in errors
    assert "ermission" not in errors
    left = [path for path in (place / "temporary").rglob("*") if not path.name.startswith("torchinductor_")]
    assert left == []
    written = {path.stat().st_uid for path in (place / "memory").rglob("*")}
    assert written == {int(USER)}
