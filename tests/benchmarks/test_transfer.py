"""Tests of the study of transfers: the sets that it makes, and its parameters."""

import argparse
from pathlib import Path

import polars as pl
import pytest

from benchmarks.studies import transfer
from systems.dckt.config import NetworkParams, RunsParams
from systems.dckt.data import DataParams
from systems.dckt.feature_params import FeatureParams

NAMES = ["Tops", "Belts", "Socks", "Jeans", "Heels"]


@pytest.fixture
def shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the smallest tables, in place of the real sets."""
    monkeypatch.setattr(transfer, "SHARED", tmp_path)
    products = pl.DataFrame({"pair_id": [f"p{n}" for n in range(10)], "category": NAMES * 2, "text": ["a"] * 10})
    drawings = pl.DataFrame(
        {
            "item_id": ["d1", "d2"],
            "title": ["a hen", "a car"],
            "labels": [["animals", "birds"], ["transport"]],
            "image": [b"1", b"2"],
            "user_id": ["u", "v"],
        }
    )
    for name, table in (("fashion_en/pairs", products), ("openclipart/items", drawings)):
        (tmp_path / "data" / name).parent.mkdir(parents=True)
        table.write_parquet(tmp_path / "data" / f"{name}.parquet")
    return tmp_path


def test_the_halves_of_a_set_share_no_category_and_miss_no_pair(shared: Path) -> None:
    path = shared / transfer.SETS["fashion_en"][0]
    halves = [transfer.made_table(f"fashion_en_{half}", path) for half in (1, 2)]
    assert [sorted(set(half["category"])) for half in halves] == [["Belts", "Jeans", "Tops"], ["Heels", "Socks"]]
    assert sorted([*halves[0]["pair_id"], *halves[1]["pair_id"]]) == sorted(pl.read_parquet(path)["pair_id"])
    assert transfer.made_table("fashion_en", path) is None


def test_a_drawings_category_is_its_first_label(shared: Path) -> None:
    table = transfer.made_table("openclipart", shared / transfer.SETS["openclipart"][0])
    assert table.rows() == [("d1", "a hen", "animals", b"1"), ("d2", "a car", "transport", b"2")]


def test_parameters_are_those_of_the_project_but_for_what_is_stated(shared: Path, tmp_path: Path) -> None:
    arguments = argparse.Namespace(
        place=tmp_path, source="openclipart", target="fashion_en_2", seeds=3, pairs=[10, 40], networks=["DCKT", "all"],
        baselines=["CCA"], alphas=True, set=["network.dropout=0.5", "train.epochs=7"],
    )  # fmt: skip
    params = transfer.parameters(arguments)
    section = params["dckt"]
    assert params["seeds"] == [0, 1, 2]
    runs = RunsParams.model_validate(section["runs"])
    assert runs.networks[:4] == ["DCKT_pairs=10", "all_pairs=10", "DCKT_pairs=40", "all_pairs=40"]
    assert runs.networks[4:] == [f"alpha={alpha}_pairs=40" for alpha in transfer.ALPHAS]
    assert runs.baselines == ["CCA_pairs=10", "CCA_pairs=40"]
    data = DataParams.model_validate(section["data"])
    assert data.domains["target"].pairs == str(tmp_path / "fashion_en_2.parquet")
    assert set(pl.read_parquet(data.domains["target"].pairs)["category"]) == {"Heels", "Socks"}
    assert FeatureParams.model_validate(section["features"]).texts == "word vectors"
    assert NetworkParams.model_validate(section["network"]).dropout == 0.5
    assert section["train"]["epochs"] == 7
