"""Torch's libraries, loaded without a standstill of the threads that are there."""

import ctypes
import importlib.util
import logging
import os
import sys
from pathlib import Path

# Of torch for CPUs, in the order in which its import loads them. A build for GPUs has rules of its own for what must come first.
_LIBRARIES = (("libtorch_global_deps.so", os.RTLD_NOW | os.RTLD_GLOBAL), ("libtorch_cpu.so", os.RTLD_NOW))

_LOGGER = logging.getLogger(__name__)


def load_torch_libraries() -> bool:
    """Load the large libraries of torch while other threads go on; whether that was done. `import torch` then finds them loaded.

    The import itself holds the interpreter's lock while the system loads and links them: for about a second nothing else runs, no event
    loop either. A call by ctypes holds no lock. Where this is not possible, nothing is done.
    """
    if "torch" in sys.modules or not sys.platform.startswith("linux"):
        return False
    found = importlib.util.find_spec("torch")
    if found is None or not found.submodule_search_locations:
        return False
    folder = Path(next(iter(found.submodule_search_locations)), "lib")
    if (folder / "libtorch_cuda.so").exists() or not all((folder / name).exists() for name, _ in _LIBRARIES):
        return False
    load = ctypes.CDLL(None).dlopen
    load.restype, load.argtypes = ctypes.c_void_p, (ctypes.c_char_p, ctypes.c_int)
    for name, flags in _LIBRARIES:
        if load(os.fsencode(folder / name), flags) is None:
            _LOGGER.debug("%s is left to the import of torch", name)
            return False
    return True
