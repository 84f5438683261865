"""A pool of processes, one per core of this machine, for pure Python work, which threads can't run in parallel.

The processes start at the first call, import only what the submitted function needs, and are reused by later calls.
"""

import threading
from concurrent.futures import Executor

from loky import get_reusable_executor

from base.cores import CORES

IDLE_SECONDS = 60  # the processes end after being idle for this time

_lock = threading.Lock()


def processes() -> Executor:
    """Return the pool of this process; functions submitted to it are pickled by name."""
    with _lock:
        return get_reusable_executor(max_workers=CORES, timeout=IDLE_SECONDS)
