"""Processes for work that Python does itself, which threads would take turns with: one per core, of this machine.

They are started when first asked for, import only what the function they are given needs, and stay for the next call.
"""

import threading
from concurrent.futures import Executor

from loky import get_reusable_executor

from base.cores import CORES

IDLE_SECONDS = 60  # after which the processes end

_lock = threading.Lock()


def processes() -> Executor:
    """Return this process's pool; functions given to it are pickled by name."""
    with _lock:
        return get_reusable_executor(max_workers=CORES, timeout=IDLE_SECONDS)
