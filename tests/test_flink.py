"""The click-feature jobs write the same bytes on Flink as in the in-process runner; run by `make test-flink`."""

import gzip
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from random import Random

import polars as pl
import pytest
from click_builds import build, digest, read_log, write_log

from base.params import read_params
from pipelines.beam.flink.settings import JOB_SERVER
from pipelines.ingest import click_data
from pipelines.words import click_features, click_matrix, segment, vocabulary

ROOT = Path(__file__).parents[1]
BIRDS = ROOT.parent / "shared" / "data" / "birds50"
PARAMS = {
    "ingest": {"click_shards": 3, "image_shards": 2, "longest_side": 64},
    "segment": {"stop_words": None, "dictionary": None, "user_dictionary": None, "lemmas": None},
    "vocabulary": {"top_words": 150, "fit_on": "train"},
}
# Unequal clicks, an image without a word, a pair in two files, a word twice in a query, Chinese, two unusable rows.
LOG = [
    ("b", "golden retriever puppy", 7),
    ("a", "golden dog", 3),
    ("a", "dog dog DOG!", 2),
    ("c", "可爱的金毛犬", 11),
    ("c", "golden 金毛犬", 1),
    ("a", "golden dog", 3),
    ("d", "?!", 4),
    ("", "no image", 5),
    ("e", "ＧＯＬＤＥＮ gate-bridge", 13),
    ("b", "clicked less than once", 0),
]

pytestmark = [
    pytest.mark.timeout(900),  # a job server is started, and Maven may have to download it
    pytest.mark.flink,
    pytest.mark.slow,
    # At the end of a job Flink closes the connection to the worker, which raises an error in Beam's reading thread.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning"),
]


@pytest.fixture(autouse=True)
def _own_state(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLICKSIGHT_NO_STATE", "1")


@pytest.fixture(scope="session")
def job_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Start a job server for all tests, which runs an embedded cluster per job; yield the server's address."""
    folder = tmp_path_factory.mktemp("flink")
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    command = ["java", "-jar", JOB_SERVER, "--job-port", port, "--artifact-port", 0, "--expansion-port", 0]
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(
            [*map(str, command), "--artifacts-dir", str(folder)], cwd=ROOT, stdout=log, stderr=subprocess.STDOUT
        )
    try:
        yield f"localhost:{port}"
        assert server.poll() is None, (folder / "log").read_text(errors="replace")[-3000:]
    finally:
        server.terminate()
        server.wait(20)


@pytest.fixture
def on_flink(job_server: str) -> Callable[[int], list[str]]:
    def options(parallelism: int) -> list[str]:
        runner = ["--runner", "FlinkRunner", "--job_endpoint", job_server, "--job_server_timeout", "60"]
        return [*runner, "--parallelism", str(parallelism)]

    return options


@pytest.mark.parametrize("parallelism", [1, 2])
def test_the_command_writes_the_same_bytes(tmp_path: Path, on_flink, parallelism: int) -> None:
    logs = tmp_path / "logs"
    logs.mkdir()
    write_log(LOG[:4], logs / "one.tsv")
    (logs / "two.tsv.gz").write_bytes(gzip.compress(write_log(LOG[4:7], tmp_path / "two").read_bytes()))
    write_log(LOG[7:], logs / "three.tsv")
    options = ["--top-words", "5"]
    here = digest(build(logs, tmp_path / "here", *options))
    flink = digest(build(logs, tmp_path / "flink", *options, *on_flink(parallelism)))
    assert flink == here
    assert pl.read_parquet(tmp_path / "flink/quarantine").height == 2


def test_a_log_far_larger_than_flinks_sort_buffers_gives_the_same_bytes(tmp_path: Path, on_flink) -> None:
    random = Random(11)
    rows = [(f"image {random.randrange(999)}", random.randbytes(150).hex(), number % 9 + 1) for number in range(90_000)]
    log = write_log(rows, tmp_path / "log.tsv")
    assert digest(build(log, tmp_path / "flink", *on_flink(2))) == digest(build(log, tmp_path / "here"))


@pytest.mark.real_data
def test_a_real_log_gives_the_same_bytes(tmp_path: Path, on_flink) -> None:
    log = BIRDS / "source" / "clicks.tsv"
    if not log.exists():
        pytest.skip("no birds50 beside the repository")
    assert digest(build(log, tmp_path / "flink", *on_flink(2))) == digest(build(log, tmp_path / "here"))


def stages(folder: Path, output: Path, options: Sequence[str]) -> None:
    """Run the click-feature stages on ingested clicks."""
    params = ["--params", str(folder / "params.yaml"), *options]
    queries, words, matrix = output / "queries", output / "vocabulary.parquet", output / "click_matrix"
    images = ["--images", str(folder / "images.parquet")]
    log = ["--clicks", str(output / "ingested/clicks"), "--queries", str(queries)]
    segment.main([*log[:2], "--output", str(queries), *params])
    vocabulary.main([*log, *images, "--split", str(folder / "images.parquet"), "--output", str(words), *params])
    click_matrix.main([*log, *images, "--vocabulary", str(words), "--output", str(matrix), *options])
    options = ["--vocabulary", str(words), "--output", str(output / "click_features"), *options]
    click_features.main(["--click-matrix", str(matrix), *options])


@pytest.mark.real_data
def test_the_stages_write_the_same_bytes(tmp_path: Path, on_flink) -> None:
    if not BIRDS.exists():
        pytest.skip("no birds50 beside the repository")
    params = read_params(ROOT / "params.yaml")
    params = {section: params[section] | changed for section, changed in PARAMS.items()}
    (tmp_path / "params.yaml").write_text(json.dumps(params))  # JSON is YAML
    clicked = sorted({image for image, _, _ in read_log(BIRDS / "source/clicks.tsv")})
    split = ["train" if number % 3 else "test" for number in range(len(clicked))]
    images = {"image_id": clicked, "domain": ["source"] * len(clicked), "split": split}
    pl.DataFrame(images).write_parquet(tmp_path / "images.parquet")
    for name, options in (("here", []), ("flink", on_flink(2))):
        output = tmp_path / name
        raw = ["--raw", str(BIRDS), "--output", str(output / "ingested")]
        click_data.main([*raw, "--params", str(tmp_path / "params.yaml"), *options])
        # Renamed, because digest expects seconds in a file summary.json, and ingest's summary has none.
        (output / "ingested/summary.json").rename(output / "ingested/summary")
        stages(tmp_path, output, options)
    here, flink = digest(tmp_path / "here"), digest(tmp_path / "flink")
    assert {Path(name).parts[0] for name in here} == {
        "ingested", "queries", "vocabulary.parquet", "click_matrix", "click_features"
    }  # fmt: skip
    assert flink == here


def test_a_users_error_in_a_worker_is_one_line_and_exit_code_2(tmp_path: Path) -> None:
    """Also check that the job server of `make test-flink` is found by default, starts at the second try, and stops."""
    tried, java = tmp_path / "tried", tmp_path / "java"
    java.write_text(f'#!/bin/sh\nif [ -e {tried} ]; then exec java "$@"; fi\ntouch {tried}\nexit 1\n')
    java.chmod(0o755)
    # Longer than what the command looks at before the job, so that a worker finds the cut.
    log = tmp_path / "cut.tsv.gz"
    log.write_bytes(gzip.compress(write_log(LOG * 5_000, tmp_path / "whole").read_bytes())[:-20])
    command = ["--clicks", log, "--output", tmp_path / "out", "--runner", "FlinkRunner", "--parallelism", "2"]
    command += ["--job_server_java_launcher", java]
    run = subprocess.run(
        [sys.executable, "-m", "pipelines.build_click_features", *map(str, command)],
        cwd=ROOT, env={**os.environ, "CLICKSIGHT_NO_STATE": "1"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert run.returncode == 2, run.stderr
    lines = run.stderr.splitlines()
    assert len(lines) == 2, run.stderr
    first, last = lines
    assert first.endswith(" build_click_features: started")
    assert f" build_click_features: error: {log}: damaged or cut short (" in last
    assert last.endswith("; fetch it again")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cut.tsv.gz", "java", "tried", "whole"]
