"""Starts several processes that train together, as a user would."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).parent


def run_in_two_processes(script: Sequence[str], folder: Path) -> str:
    """Run a script (or ``-m`` and a module) in two processes of `accelerate launch`; return their stderr.

    Args:
        script: the script with its arguments.
        folder: the current folder of the processes.
    """
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes=2"]
    options = ["--num_machines=1", "--mixed_precision=no", "--dynamo_backend=no", "--main_process_port=0"]
    paths = os.pathsep.join([str(HERE), str(HERE.parents[1])])
    ended = subprocess.run(
        [*launch, *options, *script],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stderr
