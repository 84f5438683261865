"""Arrow JS and parquet-wasm for tests."""

import shutil
import subprocess
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parent / "parquet_readers"


def install(folder: Path) -> Path:
    """Copy read.mjs and install its packages into a new folder; npm checks their digests in package-lock.json.

    The test is skipped where npm is missing or reaches no registry.
    """
    if shutil.which("npm") is None:
        pytest.skip("node and npm are not installed")
    shutil.copytree(PROGRAM, folder)
    command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"npm can't install Arrow JS and parquet-wasm: {done.stderr.strip().splitlines()[-1]}")
    return folder
