"""What commands do where there is no room to write; a limit of the size of files stands for a full disk."""

import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from base.console import MAKE_ROOM, is_user_error

ROOT = Path(__file__).parents[2]
LIMIT = 1 << 14  # bytes of a file
PROGRAM = """
import sys
from pathlib import Path
from base.artifacts import whole_directory
from base.console import stage

with stage("write"), whole_directory(Path(sys.argv[1])) as folder:
    {}
"""
WRITERS = {
    "text": "(folder / 'a').write_text('a' * 100_000)",
    "json": "from base.artifacts import write_json; write_json({'a': 'b' * 100_000}, folder / 'a')",
    "Parquet": """
    import numpy as np, pyarrow as pa
    from base.artifacts import write_table
    write_table(pa.table({"a": np.random.default_rng(0).random(50_000)}), folder / "a.parquet")""",
    "spilled batches": """
    import numpy as np, pyarrow as pa
    from pipelines.beam.shuffle import Packer
    Packer(folder).pack([pa.record_batch({"a": np.zeros(50_000)})])""",
    "a worker's file": """
    import apache_beam as beam
    from pipelines.beam.runner import pipeline
    with pipeline() as job:
        _ = job | beam.Create([folder / "a"]) | beam.Map(Path.write_text, "a" * 100_000)""",
    "weights": """
    import torch; from safetensors.torch import save_file
    save_file({"a": torch.zeros(50_000)}, folder / "a.safetensors")""",
    "checkpoint": "import torch; torch.save(torch.zeros(50_000), folder / 'a.bin')",
    "Polars": "import polars as pl; pl.DataFrame({'a': range(50_000)}).write_ipc(folder / 'a')",
    "plot": """
    import numpy as np, matplotlib.image
    matplotlib.image.imsave(folder / "a.png", np.random.default_rng(0).random((200, 200)))""",
}


def limit_files() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (LIMIT, LIMIT))


def run(command: list[str], folder: Path, before=limit_files, within=()) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "CLICKSIGHT_NO_STATE": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        [*within, sys.executable, *command], cwd=folder, env=environment, preexec_fn=before, capture_output=True,
        text=True, timeout=120, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("what", WRITERS)
def test_whatever_is_written_one_line_names_the_output(what: str, tmp_path: Path) -> None:
    ended = run(["-c", PROGRAM.format(WRITERS[what]), "out"], tmp_path)
    assert ended.returncode == 2, ended.stderr
    lines = [line.partition(" ")[2] for line in ended.stderr.splitlines()]
    assert (lines[0], lines[-1]) == ("write: started", f"write: error: out: {MAKE_ROOM}")
    assert all("apitools" in line for line in lines[1:-1])  # Beam's import may warn
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("workers", [[], ["--direct_num_workers=2", "--direct_running_mode=multi_threading"]])
def test_a_job_without_room_leaves_one_line_and_the_earlier_output(tmp_path: Path, workers: list[str]) -> None:
    log = "".join(f"image{number}\tword{number % 997} word{number % 1009}\t{number}\n" for number in range(1, 60_000))
    (tmp_path / "log.tsv").write_text(log)
    command = ["-m", "pipelines.build_click_features", "--clicks", "log.tsv", "--output", "out", *workers]
    ended = run(command, tmp_path)
    assert ended.returncode == 2, ended.stderr
    errors = [line for line in ended.stderr.splitlines() if "error" in line.lower()]
    assert [line.partition(" ")[2] for line in errors] == [f"build_click_features: error: out: {MAKE_ROOM}"]
    assert "Traceback" not in ended.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["log.tsv"]


@pytest.mark.slow
@pytest.mark.parametrize("what", ["Parquet", "weights", "checkpoint", "a worker's file"])
def test_a_full_disk_is_one_line_too(what: str, tmp_path: Path) -> None:
    full = [
        "unshare",
        "--map-root-user",
        "--mount",
        "sh",
        "-c",
        'mount -t tmpfs -o size=64k x . && cd "$PWD" && "$@"',
        "-",
    ]
    if shutil.which("unshare") is None or subprocess.run([*full, "true"], cwd=tmp_path, check=False).returncode:
        pytest.skip("this machine lets nobody mount a small disk")
    ended = run(["-c", PROGRAM.format(WRITERS[what]), "out"], tmp_path, before=None, within=full)
    assert ended.returncode == 2, ended.stderr
    assert ended.stderr.endswith(f" write: error: out: {MAKE_ROOM}\n")
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize(
    "error",
    [OSError(28, "No space left on device"), OSError(122, "Disk quota exceeded"), OSError(27, "File too large")],
)
def test_no_room_without_a_file_name_is_a_user_error(error: OSError) -> None:
    assert is_user_error(error)
    assert not is_user_error(OSError(24, "Too many open files"))
