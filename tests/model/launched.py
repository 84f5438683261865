"""Starts several processes that train together, as a user would."""

import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).parent


LAUNCH = [
    *(sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes=2"),
    *("--mixed_precision=no", "--dynamo_backend=no"),
]


def run_in_two_processes(script: Sequence[str], folder: Path) -> str:
    """Run a script (or ``-m`` and a module) in two processes of `accelerate launch`; return their stderr.

    Args:
        script: the script with its arguments.
        folder: the current folder of the processes.
    """
    launched = start([*LAUNCH, "--num_machines=1", "--main_process_port=0", *script], folder)
    _, errors = launched.communicate(timeout=300)
    assert launched.returncode == 0, errors
    return errors


def run_on_two_machines(script: Sequence[str], folder: Path) -> list[tuple[int, str]]:
    """Run a script as on two machines with one process each, which find each other on the loopback interface.

    Returns:
        The exit status and stderr of each launcher.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    both = ["--num_machines=2", "--main_process_ip=127.0.0.1", f"--main_process_port={port}", "--same_network"]
    launched = [start([*LAUNCH, *both, f"--machine_rank={rank}", *script], folder) for rank in (0, 1)]
    with ThreadPoolExecutor(2) as threads:
        errors = list(threads.map(lambda one: one.communicate(timeout=300)[1], launched))
    return [(one.returncode, text) for one, text in zip(launched, errors, strict=True)]


def start(command: Sequence[str], folder: Path) -> subprocess.Popen[str]:
    """Start a launcher, whose processes find this project and the helpers of the tests."""
    paths = os.pathsep.join([str(HERE), str(HERE.parents[1])])
    environment = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=pipe, text=True)
