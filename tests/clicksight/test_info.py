import importlib
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click_builds import LOG, build, write_log

from base.artifacts import shard_name, write_json, write_table
from base.console import UserError
from clicksight.info import PAGES, SCHEMAS, WRITERS, describe, descriptions, main


@pytest.mark.parametrize("name", SCHEMAS)
def test_every_schema_is_known_by_its_columns(tmp_path: Path, name: str) -> None:
    for shard in range(2):
        write_table(SCHEMAS[name].empty_table(), tmp_path / "shards" / shard_name(shard))
    (found,) = describe(tmp_path / "shards")
    assert found.kind == name
    assert (found.rows, found.files) == (0, 2)
    assert list(found.schema) == SCHEMAS[name].names
    assert len(found.what) > 20, f"base/schemas.py has no comment above {name}"


def test_writers_are_modules_for_exactly_the_schemas_there_are() -> None:
    assert set(WRITERS) == set(SCHEMAS) == set(descriptions())
    for module in set(WRITERS.values()) - {WRITERS["UNITS"]}:
        assert importlib.util.find_spec(module) is not None, module


def test_features_are_described_part_by_part(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    features = build(write_log(LOG, tmp_path / "log.tsv"), tmp_path / "features", "--licence", "CC0-1.0")
    capsys.readouterr()
    main([str(features), "--format", "json"])
    parts = {part["kind"]: part for part in json.loads(capsys.readouterr().out)}
    assert parts["VOCABULARY"]["rows"] == pq.read_metadata(features / "vocabulary.parquet").num_rows == 9
    assert parts["CLICK_FEATURES"]["rows"] == 5
    assert parts["history"]["read_by"].startswith(f"clicksight features --previous {features} ")
    assert parts["CLICK_FEATURES"]["metadata"]["clicksight.licence"] == "CC0-1.0"
    main([str(features / "vocabulary.parquet")])
    shown = capsys.readouterr().out
    assert "the K most clicked words" in shown
    assert "document_frequency: int64" in shown


def test_a_model_folder_and_a_log(tmp_path: Path) -> None:
    write_json({"system": "mtmdd", "method": "TDL", "seed": 4, "categories": ["a", "b"]}, tmp_path / "run/run.json")
    (tmp_path / "run/joint.safetensors").write_bytes(b"")
    (model,) = describe(tmp_path / "run")
    assert (model.written_by, model.kind) == ("systems.mtmdd.train", "model")
    assert model.metadata == {"system": "mtmdd", "method": "TDL", "seed": 4, "number of categories": 2}
    assert "joint" in model.what
    (tmp_path / "log.tsv").write_text("a\tdog\t1\n")
    (log,) = describe(tmp_path / "log.tsv")
    assert "clicksight features --clicks" in log.read_by


def test_pages_are_known_by_the_titles_that_their_modules_give_them(tmp_path: Path) -> None:
    for title, module in PAGES.items():
        source = Path(importlib.util.find_spec(module).origin)
        beside = [source, source.with_name(f"{source.stem}_page.py")]
        assert any(f'"{title}"' in path.read_text() for path in beside if path.exists()), module
        (tmp_path / "index.html").write_text(f"<!doctype html>\n<title>{title}</title>")
        (page,) = describe(tmp_path / "index.html")
        assert (page.what, page.written_by) == (f"page: {title}", module)
    (tmp_path / "index.html").write_text("<title>Cats &amp; dogs</title>")
    assert describe(tmp_path)[0].what == "page: Cats & dogs"


def test_what_is_broken_or_unknown_is_an_error(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(SystemExit) as end:
        main([str(tmp_path / "none")])
    assert end.value.code == 2
    assert "none: no such file or folder" in caplog.text
    with pytest.raises(UserError, match="nothing here that this project writes"):
        describe(tmp_path)
    (tmp_path / "x.parquet").write_bytes(b"PAR1 not really")
    with pytest.raises(UserError, match=r"x.parquet: cannot be read as Parquet"):
        describe(tmp_path)
    (tmp_path / "x.parquet").unlink()
    for number, table in enumerate((pa.table({"a": [1]}), pa.table({"b": [1]}))):
        write_table(table, tmp_path / "mixed" / shard_name(number))
    with pytest.raises(UserError, match=r"other columns than part-00000.parquet"):
        describe(tmp_path / "mixed")
    (tmp_path / "picture.png").write_bytes(b"x")
    with pytest.raises(UserError, match="nothing here"):
        describe(tmp_path / "picture.png")
