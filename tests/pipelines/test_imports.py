"""What a command of this package imports, and that nothing is taken from other programs."""

import os
import subprocess
import sys

UNUSED = ("pandas._libs", "pymongo.errors", "boto3.session")  # a package alone is listed even if it is not found


def test_a_command_imports_beam_without_what_no_job_uses() -> None:
    command = [sys.executable, "-X", "importtime", "-m", "pipelines.beam.runner"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True, env=dict(os.environ)).stderr
    imported = {line.rpartition("|")[2].strip() for line in printed.splitlines()}
    assert {"apache_beam", "pyarrow.lib"} <= imported
    assert not imported.intersection(UNUSED)
    assert [line for line in printed.splitlines() if not line.startswith("import time:")] == []


def test_a_test_or_a_notebook_is_left_alone() -> None:
    import pipelines

    assert not [finder for finder in sys.meta_path if isinstance(finder, pipelines._OfOtherPrograms)]
