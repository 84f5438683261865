import csv
import re
from pathlib import Path

import polars as pl
import pytest

from report.spreadsheets import write_csv

ROOT = Path(__file__).parents[2]
PACKAGES = ("base", "pipelines", "model", "report", "systems", "flows")


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠"])
def test_a_text_that_begins_like_a_formula_is_a_text(tmp_path: Path, start: str) -> None:
    cells = [f"{start}1+cmd", f"a{start}b", "", None, "'quoted'", f'{start}"quote", comma']
    table = pl.DataFrame({"name": cells, "kind": pl.Series(cells, dtype=pl.Categorical), "n": [-1, 2, 3, 4, 5, 6]})
    write_csv(table, tmp_path / "t.csv")
    with (tmp_path / "t.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    expected = [f"'{start}1+cmd", f"a{start}b", "", "", "'quoted'", f'\'{start}"quote", comma']
    assert [row["name"] for row in rows] == [row["kind"] for row in rows] == expected
    assert [row["n"] for row in rows] == ["-1", "2", "3", "4", "5", "6"]


def test_other_tables_keep_their_bytes(tmp_path: Path) -> None:
    table = pl.DataFrame(
        {"name": ["dog", "a=b", None, '猫, "x"'], "x": [-0.5, 1e-9, None, 3.0], "y": [True, False, None, True]}
    )
    write_csv(table, tmp_path / "t.csv")
    assert (tmp_path / "t.csv").read_text(encoding="utf-8") == table.write_csv()


def test_every_table_for_people_is_written_so() -> None:
    files = [path for package in PACKAGES for path in (ROOT / package).rglob("*.py")]
    written = {
        path.name for path in files if re.search(r"\.(write_csv|to_csv)\((?!\))", path.read_text(encoding="utf-8"))
    }
    assert written == {"spreadsheets.py"}
