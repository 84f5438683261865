"""The Parquet files are plain: common programs read them as they come, without options, and find what was written."""

import json
import math
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import datasets
import duckdb
import numpy as np
import pandas
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click_builds import LOG, build, digest, write_log
from javascript import install

from base import schemas
from base.artifacts import shard_name, write_table

Rows = list[dict[str, Any]]
Reader = Callable[[Sequence[Path]], Rows]

# Data pages of these encodings and codecs are read by Spark 3.3 and fastparquet too; RLE packs lengths and null flags.
ENCODINGS = {"PLAIN", "RLE", "RLE_DICTIONARY"}
CODECS = {"ZSTD", "UNCOMPRESSED"}
SCHEMAS = {name: schema for name, schema in vars(schemas).items() if isinstance(schema, pa.Schema)}
VALUES: dict[pa.DataType, list[Any]] = {  # many distinct values, repeated ones, and what is hard to pack
    pa.string(): ["", "dog", "可爱的金毛犬", "dog", "ｅ" * 300, *(f"image-{number}" for number in range(95))],
    pa.int32(): [0, 2**31 - 1, -(2**31), 7, 7, *range(95)],
    pa.int64(): [1, 2**53, 10**12, 3, 3, *(number**5 for number in range(95))],
    pa.float32(): [float(np.float32(value)) for value in (0.1, 1e-30, 0.5, 0.5, *(1 / n for n in range(1, 97)))],
    pa.float64(): [0.1, 1e-300, 0.5, 0.5, *(1 / n for n in range(1, 97))],
    pa.bool_(): [True, False, False, True, True] * 20,
    pa.binary(): [b"", b"\xff\xd8\x00", b"a", b"a", b"\x00", *(bytes([number]) * number for number in range(95))],
}


def values_of(field: pa.Field) -> list[Any]:
    """Return a hundred values of a field: a null if it may be null, lists of different lengths."""
    if pa.types.is_list(field.type):
        flat = VALUES[field.type.value_type]
        return [flat[: number % 5] for number in range(100)]
    if pa.types.is_struct(field.type):
        parts = {part.name: VALUES[part.type] for part in field.type}
        return [dict(zip(parts, row, strict=True)) for row in zip(*parts.values(), strict=True)]
    values = VALUES[field.type]
    return [None, *values[1:]] if field.nullable else values


def rows_of(schema: pa.Schema) -> Rows:
    columns = [values_of(field) for field in schema]
    return [dict(zip(schema.names, row, strict=True)) for row in zip(*columns, strict=True)]


def plain(value: Any) -> Any:
    """Return a value as Python's own types; NaN, which stands for null in some programs, as None, bytes as text."""
    if isinstance(value, np.ndarray | list | tuple):
        return [plain(part) for part in value]
    if isinstance(value, dict):
        return {name: plain(part) for name, part in value.items()}
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, bytes | bytearray):
        return bytes(value).decode("latin-1")
    if isinstance(value, float):
        return None if math.isnan(value) else int(value) if value.is_integer() else value  # JavaScript has no integers
    return value


def in_order(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Return rows in an order of their own, since programs may read files in parallel."""
    return sorted(json.dumps(plain(row), ensure_ascii=False) for row in rows)


def by_pandas(files: Sequence[Path]) -> Rows:
    return [row for file in files for row in pandas.read_parquet(file, engine="pyarrow").to_dict("records")]


def by_polars(files: Sequence[Path]) -> Rows:
    return pl.read_parquet(list(files)).to_dicts()


def by_duckdb(files: Sequence[Path]) -> Rows:
    table = duckdb.connect().execute("from read_parquet(?)", [[str(file) for file in files]])
    names = [column[0] for column in table.description]
    return [dict(zip(names, row, strict=True)) for row in table.fetchall()]


def by_datasets(files: Sequence[Path]) -> Rows:
    return list(datasets.Dataset.from_parquet([str(file) for file in files], cache_dir=f"{files[0]}.cache"))


def by_fastparquet(files: Sequence[Path]) -> Rows:
    fastparquet = pytest.importorskip("fastparquet")
    return [row for file in files for row in fastparquet.ParquetFile(str(file)).to_pandas().to_dict("records")]


@pytest.fixture(scope="module")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Yield a session of Spark with its default options, except for its ports and folders."""
    sql = pytest.importorskip("pyspark.sql")
    if shutil.which("java") is None:
        pytest.skip("Spark needs Java")
    version = subprocess.run(["java", "-version"], capture_output=True, text=True, check=True).stderr
    if int(re.findall(r'version "(?:1\.)?(\d+)', version)[0]) < 17:
        pytest.skip(f"Spark needs Java 17 or newer: {version.splitlines()[0]}")
    folder = tmp_path_factory.mktemp("spark")
    options = {
        "spark.ui.enabled": "false",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.host": "127.0.0.1",
        "spark.local.dir": str(folder),
        "spark.sql.warehouse.dir": str(folder / "warehouse"),
    }
    session = sql.SparkSession.builder.master("local[1]").config(map=options).getOrCreate()
    yield session
    session.stop()


@pytest.fixture(scope="module")
def node_program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with read.mjs and its packages; npm checks their digests in package-lock.json."""
    return install(tmp_path_factory.mktemp("node") / "readers")


@pytest.fixture
def reader(request: pytest.FixtureRequest) -> Reader:
    """Return the function of a program that reads the rows of a file."""
    if request.param == "spark":
        session = request.getfixturevalue("spark")
        return lambda files: [row.asDict(recursive=True) for row in session.read.parquet(*map(str, files)).collect()]
    if request.param == "arrow js":
        program = ["node", request.getfixturevalue("node_program") / "read.mjs"]
        return lambda files: json.loads(subprocess.run([*program, *files], stdout=subprocess.PIPE, check=True).stdout)
    return {
        "pandas": by_pandas,
        "polars": by_polars,
        "duckdb": by_duckdb,
        "datasets": by_datasets,
        "fastparquet": by_fastparquet,
    }[request.param]


readers = pytest.mark.parametrize(
    "reader", ["pandas", "polars", "duckdb", "datasets", "fastparquet", "spark", "arrow js"], indirect=True
)


@pytest.fixture(scope="module")
def features(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return click features with a quarantine, as another project gets them."""
    folder = tmp_path_factory.mktemp("features")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CLICKSIGHT_NO_STATE", "1")
        return build(write_log([*LOG, ("f", "no clicks", 0)], folder / "log.tsv"), folder / "out")


@readers
def test_common_programs_read_the_click_features(reader: Reader, features: Path) -> None:
    for name, num_rows in {"vocabulary.parquet": 9, "click_features": 5, "quarantine": 1}.items():
        files = [features / name] if name.endswith(".parquet") else sorted((features / name).glob("*.parquet"))
        expected = [row for file in files for row in pq.read_table(file).to_pylist()]
        assert len(expected) == num_rows
        assert in_order(reader(files)) == in_order(expected), name


@readers
def test_common_programs_read_every_schema(reader: Reader, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    is_flat = request.node.callspec.params["reader"] == "fastparquet"  # it reads a struct as columns
    for name, schema in SCHEMAS.items():
        rows = rows_of(schema)
        write_table(pa.Table.from_pylist(rows, schema), tmp_path / f"{name}.parquet", row_group_rows=64)
        if is_flat:
            rows = [flat(row) for row in rows]
        assert in_order(reader([tmp_path / f"{name}.parquet"])) == in_order(rows), name


@readers
def test_common_programs_read_shards_of_which_one_is_empty(reader: Reader, tmp_path: Path) -> None:
    rows = rows_of(schemas.CLICK_FEATURES)
    for shard, some in enumerate(([], rows, [])):
        write_table(pa.Table.from_pylist(some, schemas.CLICK_FEATURES), tmp_path / shard_name(shard))
    assert in_order(reader(sorted(tmp_path.glob("*.parquet")))) == in_order(rows)


@pytest.mark.parametrize("writer", ["fastparquet", "spark"])
def test_a_folder_that_another_program_wrote_is_a_log(
    writer: str, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLICKSIGHT_NO_STATE", "1")
    log, folder = write_log(LOG, tmp_path / "log.tsv"), tmp_path / "logs"
    if writer == "spark":
        session = request.getfixturevalue("spark")
        rows = session.read.csv(str(log), sep="\t", schema="image_id string, query string, clicks long")
        rows.write.parquet(str(folder))
        by_products = {"_SUCCESS"}
    else:
        fastparquet = pytest.importorskip("fastparquet")
        rows = pandas.DataFrame(LOG, columns=["image_id", "query", "clicks"])
        fastparquet.write(str(folder), rows, file_scheme="hive", row_group_offsets=[0, 4])
        by_products = {"_metadata", "_common_metadata"}
    assert {path.name for path in folder.glob("_*")} == by_products
    assert digest(build(folder, tmp_path / "out")) == digest(build(log, tmp_path / "expected"))


def flat(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row with a struct's parts as columns of their own."""
    columns: dict[str, Any] = {}
    for name, value in row.items():
        columns.update(
            {f"{name}.{part}": one for part, one in value.items()} if isinstance(value, dict) else {name: value}
        )
    return columns


@pytest.mark.parametrize("name", SCHEMAS)
def test_only_common_encodings_are_written(name: str, tmp_path: Path) -> None:
    table = pa.Table.from_pylist(rows_of(SCHEMAS[name]) * 300, SCHEMAS[name])
    write_table(table, tmp_path / "table.parquet")
    assert encodings_of(tmp_path / "table.parquet") <= ENCODINGS
    assert pq.read_table(tmp_path / "table.parquet") == table


def test_too_many_values_for_a_dictionary_are_written_plain(tmp_path: Path) -> None:
    values = np.random.default_rng(0).random(200_000)
    write_table(pa.table({"x": values, "y": [f"{value}" for value in values]}), tmp_path / "table.parquet", 200_000)
    assert encodings_of(tmp_path / "table.parquet") == ENCODINGS


def encodings_of(file: Path) -> set[str]:
    """Return the encodings of all column chunks; check their codecs."""
    metadata = pq.read_metadata(file)
    chunks = [
        metadata.row_group(group).column(column)
        for group in range(metadata.num_row_groups)
        for column in range(metadata.num_columns)
    ]
    assert {chunk.compression for chunk in chunks} <= CODECS
    return {encoding for chunk in chunks for encoding in chunk.encodings}
