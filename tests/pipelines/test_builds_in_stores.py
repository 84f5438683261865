"""Builds of click features from and into an object store: the same bytes as on a disk, whole or not at all."""

import json
import logging
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import duckdb
import polars as pl
import pyarrow.dataset
import pytest
from click_builds import LOG, build, write_log
from s3_server import BUCKET, KEY_ID, SECRET, Server, environment

from base.publication import published
from base.stores import filesystem, location
from clicksight.info import main as info
from pipelines.build_click_features import main

ROOT = Path(__file__).parents[2]
MORE = [("z", "blue whale", 3), ("a", "golden dog", 1), ("z", "golden whale", 5)]


@pytest.fixture(scope="module", autouse=True)
def _own_state():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CLICKSIGHT_NO_STATE", "1")
        yield


@pytest.fixture
def folder(s3, tmp_path) -> Path:
    """Write a log of two files and one that is added later, on the disk and with the same keys in the store."""
    write_log(LOG, tmp_path / "logs" / "one.tsv")
    write_log([*MORE, ("y", "", 1)], tmp_path / "logs" / "two.tsv")
    write_log([*LOG[:2], *MORE[1:]], tmp_path / "later" / "three.tsv")
    for path in tmp_path.glob("*/*.tsv"):
        s3.put(f"{tmp_path.name}/{path.relative_to(tmp_path)}", path.read_bytes())
    s3.put(f"{tmp_path.name}/logs/_SUCCESS", b"")
    s3.put(f"{tmp_path.name}/logs/.hidden", b"no log")
    return tmp_path


def built(s3: Server, output: str) -> dict[str, bytes]:
    """Return the files of an output's current build by name; the summary without its seconds."""
    key = output.removeprefix(f"s3://{BUCKET}/")
    pointer = json.loads(s3.objects(f"{key}/current.json")[f"{key}/current.json"])
    found = s3.objects(f"{key}/{pointer['build']}/")
    files = {name: found[f"{key}/{pointer['build']}/{name}"] for name in pointer["files"]}
    assert {name: len(content) for name, content in files.items()} == pointer["files"]
    assert len(files) == len(found)
    return without_seconds(files)


def without_seconds(files: dict[str, bytes]) -> dict[str, bytes]:
    summary = json.loads(files["summary.json"])
    del summary["seconds"]
    return {**files, "summary.json": json.dumps(summary).encode()}


def on_disk(folder: Path) -> dict[str, bytes]:
    files = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    return without_seconds(files)


def test_a_store_gets_the_bytes_of_a_disk_and_no_secret(s3, folder, capfd, caplog):
    caplog.set_level(logging.INFO)
    local, here = folder / "local", f"s3://{BUCKET}/{folder.name}"
    build(folder / "logs", local, "--top-words", "5")
    main(["--clicks", f"{here}/logs", "--output", f"{here}/out", "--top-words", "5"])
    assert built(s3, f"{here}/out") == on_disk(local)
    # The later log is added in place, in the store and on the disk; words enter and leave the vocabulary.
    build(folder / "later", local, "--previous", str(local), "--top-words", "5")
    main(["--clicks", f"{here}/later", "--previous", f"{here}/out", "--output", f"{here}/out", "--top-words", "5"])
    assert built(s3, f"{here}/out") == on_disk(local)

    info([f"{here}/out"])
    printed = capfd.readouterr()
    assert "CLICK_FEATURES" in printed.out
    assert re.search(r"rows +6 in 16 files", printed.out)
    everything = [printed.out, printed.err, caplog.text, *map(repr, s3.objects().items())]
    everything += [path.read_bytes().decode("latin-1") for path in folder.rglob("*") if path.is_file()]
    assert not any(secret in text for text in everything for secret in (KEY_ID, SECRET))

    (command,) = set(re.findall(r"read_parquet\('(s3://\S+/click_features/\*\.parquet)'\)", printed.out))
    expected = pl.read_parquet(local / "click_features")
    assert pl.read_parquet(command).equals(expected)
    dataset = pyarrow.dataset.dataset(  # noqa: F841 - DuckDB finds it by its name
        command.removeprefix("s3://").removesuffix("/*.parquet"), filesystem=filesystem("s3"), format="parquet"
    )
    assert duckdb.sql("SELECT count(*) FROM dataset").fetchall() == [(len(expected),)]


def test_packed_logs_parquet_and_globs_are_read_from_the_store(s3, folder):
    table = pl.DataFrame(LOG, schema=["image_id", "query", "clicks"], orient="row")
    table.write_parquet(folder / "four.parquet")
    for name, command in (("five.tsv.gz", "gzip"), ("six.tsv.bz2", "bzip2")):
        packed = subprocess.run([command, "-c", folder / "later" / "three.tsv"], check=True, capture_output=True).stdout
        (folder / name).write_bytes(packed)
    (folder / "kept").mkdir()
    for name in ("four.parquet", "five.tsv.gz"):
        (folder / name).rename(folder / "kept" / name)
        s3.put(f"{folder.name}/kept/{name}", (folder / "kept" / name).read_bytes())
    images = pl.DataFrame({"image_id": ["a", "z", "never"]})
    images.write_parquet(folder / "images.parquet")
    s3.put(f"{folder.name}/images.parquet", (folder / "images.parquet").read_bytes())
    here = f"s3://{BUCKET}/{folder.name}"
    options = ["--no-history", "--images"]
    build(folder / "kept", folder / "local", *options, str(folder / "images.parquet"))
    main(["--clicks", f"{here}/k*/f*", "--output", f"{here}/packed", *options, f"{here}/images.parquet"])
    assert built(s3, f"{here}/packed") == on_disk(folder / "local")


def fails(capfd, caplog, arguments: list[str]) -> str:
    """Return the one error that the command ends with, in bounded time, and without the credentials."""
    capfd.readouterr()
    caplog.clear()
    started = time.monotonic()
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    printed = caplog.text + capfd.readouterr().err
    assert ended.value.code == 2
    assert time.monotonic() - started < 60
    assert KEY_ID not in printed
    assert SECRET not in printed
    assert "Traceback" not in printed
    return printed


@pytest.mark.parametrize(
    ("clicks", "output", "message"),
    [
        ("s3://no-such-bucket/logs", "out", "has no bucket no-such-bucket"),
        ("{here}/none", "out", "no such click log"),
        ("{here}/logs", "s3://no-such-bucket/out", "has no bucket no-such-bucket"),
        ("{here}/logs", f"s3://{BUCKET}", "is a whole bucket"),
        (f"s3://{KEY_ID}:{SECRET}@{BUCKET}/logs", "out", "has credentials"),
        ("{here}/logs", f"s3://{KEY_ID}:{SECRET}@{BUCKET}/out", "has credentials"),
    ],
)
def test_what_cannot_be_read_or_written_is_one_error(s3, folder, capfd, caplog, clicks, output, message):
    here = f"s3://{BUCKET}/{folder.name}"
    output = output if "://" in output else str(folder / output)
    printed = fails(capfd, caplog, ["--clicks", clicks.format(here=here), "--output", output])
    assert message in printed
    assert len([record for record in caplog.records if "error:" in record.getMessage()]) == 1


def test_a_log_of_bad_rows_leaves_the_former_build_and_keeps_the_quarantine(s3, folder, capfd, caplog):
    here = f"s3://{BUCKET}/{folder.name}"
    with published(location(f"{here}/out"), "former") as former:
        (former / "part").put_text("whole")
    before = s3.objects(f"{folder.name}/out")
    s3.put(f"{folder.name}/bad.tsv", b"a\tb\tc\n" * 9)
    printed = fails(capfd, caplog, ["--clicks", f"{here}/bad.tsv", "--output", f"{here}/out"])
    assert f"the quarantine is kept in {here}/out.quarantine" in printed
    after = s3.objects(f"{folder.name}/out")
    assert {key: value for key, value in after.items() if ".quarantine/" not in key} == before
    assert any(key.startswith(f"{folder.name}/out.quarantine/part-") for key in after)
    main(["--clicks", f"{here}/logs", "--output", f"{here}/out"])
    assert not s3.objects(f"{folder.name}/out.quarantine/")


def test_a_server_that_is_gone_in_the_middle_is_one_error(s3, folder, capfd, caplog, monkeypatch):
    server = Server()
    server.put("logs/one.tsv", (folder / "logs" / "one.tsv").read_bytes())
    with environment(server.url):
        stopped = []

        def stop_and_segment(*arguments, **options):
            if not stopped:
                server.stop()
                stopped.append(True)
            return segment(*arguments, **options)

        import pipelines.build_click_features as job

        segment = job.segmented_bucket
        monkeypatch.setattr(job, "segmented_bucket", stop_and_segment)
        printed = fails(capfd, caplog, ["--clicks", f"s3://{BUCKET}/logs", "--output", f"s3://{BUCKET}/out"])
    assert "the store doesn't answer" in printed
    assert "an unfinished build is left here" in printed
    assert len([record for record in caplog.records if "error:" in record.getMessage()]) == 1


def test_a_killed_run_leaves_the_former_build_and_goes_on(s3, folder):
    here = f"s3://{BUCKET}/{folder.name}"
    with published(location(f"{here}/out"), "former") as former:
        (former / "part").put_text("whole")
    before = s3.objects(f"{folder.name}/out")
    arguments = ["--clicks", str(folder / "later"), "--output", f"{here}/out"]
    process = subprocess.Popen(
        [sys.executable, "-m", "pipelines.build_click_features", *arguments],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while len(unfinished := [key for key in s3.objects(f"{folder.name}/out/") if "unfinished" in key]) == 0:
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    killed = unfinished[0].removesuffix("unfinished")
    after = s3.objects(f"{folder.name}/out")
    assert {key: content for key, content in after.items() if not key.startswith(killed)} == before
    main(arguments)
    assert not s3.objects(killed)
    assert len(built(s3, f"{here}/out")) == 39
