import io
from pathlib import Path

import pyarrow.parquet as pq
from graph import definitions, modules_run
from PIL import Image

from base.params import load_section
from benchmarks.studies.pairs_100k import CATEGORIES, GROUP, commands, make_pair, write_pairs, write_params
from systems.dckt.data import DataParams


def test_every_data_stage_is_measured_once(tmp_path: Path) -> None:
    of_domains = [
        body for name, body in definitions().items() if name.startswith("dckt:") and "${key}" in str(body["outs"])
    ]
    modules = [command[2] for _, command in commands(tmp_path, tmp_path / "params.yaml")]
    assert sorted(modules) == sorted(modules_run(body)[-1] for body in of_domains)


def test_pairs_are_the_same_each_time_and_belong_to_all_categories(tmp_path: Path) -> None:
    write_pairs(tmp_path / "p.parquet", 130)
    rows = pq.read_table(tmp_path / "p.parquet").to_pylist()
    assert rows == [make_pair(number) for number in range(130)]
    assert len({row["category"] for row in rows}) == CATEGORIES
    assert len({row["id"] for row in rows}) == 130
    with Image.open(io.BytesIO(rows[7]["image"])) as image:
        assert image.size == (96, 96)
    assert pq.ParquetFile(tmp_path / "p.parquet").metadata.row_group(0).num_rows <= GROUP


def test_the_parameters_name_the_generated_table(tmp_path: Path) -> None:
    write_params(tmp_path / "params.yaml", tmp_path / "p.parquet")
    params = load_section(DataParams, "dckt.data", tmp_path / "params.yaml")
    assert params.domain("source").pairs == str(tmp_path / "p.parquet")
    assert params.domain("source").layout == "table"
