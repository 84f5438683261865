"""The drawn log, and that DuckDB's script does what the jobs do."""

import subprocess
import sys
from pathlib import Path

import polars as pl

from base.params import load_section
from benchmarks.studies.tag_recommendation import ROOT, draw_log, write_params
from pipelines.tags.layouts import TagLogParams
from pipelines.tags.split import TagSplitParams, histories_of
from pipelines.tags.tag_log import main


def test_the_script_and_the_job_give_the_same_posts_and_tags(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("CLICKSIGHT_NO_STATE", "1")
    log, params = tmp_path / "log.tsv", tmp_path / "params.yaml"
    draw_log(log, 600, 40)
    write_params(params)
    top = load_section(TagLogParams, "tags", params).top_tags
    assert load_section(TagSplitParams, "tag_splits", params).by == "image"
    script = ROOT / "benchmarks/peers/duckdb_tags.py"
    subprocess.run([sys.executable, script, log, tmp_path / "duckdb", str(top)], check=True)
    main([f"--log={log}", f"--output={tmp_path / 'tags'}", f"--params={params}"])
    theirs = {file.stem: pl.read_parquet(file) for file in (tmp_path / "duckdb").iterdir()}
    ours = pl.read_parquet(tmp_path / "tags/posts/*.parquet").sort("image_id", "user_id")
    assert theirs["posts"].equals(ours)
    assert theirs["vocabulary"].equals(pl.read_parquet(tmp_path / "tags/vocabulary.parquet"))
    split = theirs["posts"].join(theirs["split"], on=["image_id", "user_id"])
    assert theirs["histories"].equals(histories_of(split))


def test_a_log_is_the_same_each_time_and_users_have_habits(tmp_path: Path) -> None:
    for name in ("one.tsv", "two.tsv"):
        draw_log(tmp_path / name, 3000, 50)
    assert (tmp_path / "one.tsv").read_bytes() == (tmp_path / "two.tsv").read_bytes()
    rows = pl.read_csv(tmp_path / "one.tsv", separator="\t")
    assert rows["image_id"].n_unique() == 3000
    assert rows.group_by("image_id").agg(pl.col("user_id").n_unique())["user_id"].max() == 1
    # two thirds of a user's tags are among a dozen; of everybody's, a dozen tags are far less
    of_users = rows.group_by("user_id", "tag").len().sort("len", descending=True)
    own = of_users.group_by("user_id").agg(pl.col("len").head(12).sum())["len"].sum() / len(rows)
    common = rows["tag"].value_counts().sort("count", descending=True)["count"].head(12).sum() / len(rows)
    assert own > common + 0.2
