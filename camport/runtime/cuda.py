"""Whether a CUDA device can be used, asked of the driver itself.

onnxruntime-gpu offers CUDA on every machine, and only fails, with a page of errors, while a session
is made.
"""

import ctypes
import sys


def cuda_fault() -> str | None:
    """Why no CUDA device can be used, in a few words; None where one can."""
    library = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
    try:
        driver = ctypes.CDLL(library)
        started = driver.cuInit(0)
        count = ctypes.c_int(0)
        status = started or driver.cuDeviceGetCount(ctypes.byref(count))
    except (OSError, AttributeError):
        return f"no NVIDIA driver ({library} is not there)"
    if status:
        return f"the NVIDIA driver answers with error {status}"
    if count.value < 1:
        return "the NVIDIA driver sees no device"
    return None
