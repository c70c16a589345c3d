"""The descriptors of this process."""

import gc
import os


def open_files() -> int:
    """Count the open descriptors, those of garbage left out: it may be of another test, and go at any time."""
    gc.collect()
    return len(os.listdir("/proc/self/fd"))
