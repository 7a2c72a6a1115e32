"""Torch's libraries are loaded beforehand, and its import takes them."""

import subprocess
import sys

from tests.support.processes import ROOT, environment

PROGRAM = """
import sys
from afterview.cli.torch_libraries import load_torch_libraries

def mapped():
    return {line.split()[-1] for line in open("/proc/self/maps") if line.rstrip().endswith("libtorch_cpu.so")}

done = load_torch_libraries()
before = mapped()
assert "torch" not in sys.modules
import torch
assert len(mapped()) == 1
assert before == (mapped() if done else set())
assert not load_torch_libraries()  # it is imported
print(done, float((torch.ones(3, 4) @ torch.ones(4, 5)).sum()))
"""


def test_the_import_of_torch_takes_what_is_loaded() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[1] == "60.0"


def test_a_torch_of_another_kind_is_left_alone() -> None:
    program = (
        "import importlib.machinery, sys, tempfile\n"
        "from pathlib import Path\n"
        "folder = Path(tempfile.mkdtemp())\n"
        "(folder / 'torch' / 'lib').mkdir(parents=True)\n"
        "(folder / 'torch' / '__init__.py').touch()\n"
        "sys.path.insert(0, str(folder))\n"
        "from afterview.cli.torch_libraries import load_torch_libraries\n"
        "assert not load_torch_libraries()\n"
        "for name in ('global_deps', 'cpu'):\n"
        "    (folder / 'torch' / 'lib' / f'libtorch_{name}.so').write_text('no library')\n"
        "assert not load_torch_libraries()\n"
        "(folder / 'torch' / 'lib' / 'libtorch_cuda.so').touch()\n"
        "assert not load_torch_libraries()\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, env=environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
