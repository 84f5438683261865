"""Models are found below folders and stay in memory for a while; an index shows its pictures row by row."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from served_page import model_folder

from base import schemas
from base.artifacts import write_table
from base.console import UserError
from clicksight.page import shelf
from clicksight.page.shelf import Model, Shelf, find_galleries, find_models
from clicksight.search import Index
from model.folder import model_digest
from model.frozen_features import as_lists
from pipelines.words.segmentation import SegmentParams

SEGMENT = SegmentParams(stop_words=None, dictionary=None, user_dictionary=None, minimum_length=1, lemmas=None)


def test_models_of_systems_that_see_pictures_are_found_anywhere_below(tmp_path: Path, caplog) -> None:
    for system, name in (("siamese", "B/seed-10"), ("mtmdd", "Z/seed-2"), ("siamese", "B/seed-9"), ("mtmdd", "A/own")):
        model_folder(tmp_path / system / "models" / name, system, int(name.rpartition("-")[2]) if "seed" in name else 0)
    model_folder(tmp_path / "cleaner", "cleaning")
    model_folder(tmp_path / "odd", "../os")
    with caplog.at_level("INFO"):
        found = find_models([tmp_path, tmp_path / "siamese"])  # twice below, once listed
    assert [(model.system, model.title) for model in found] == [
        ("mtmdd", "Z, seed 2"), ("mtmdd", "own, seed 0"), ("siamese", "B, seed 9"), ("siamese", "B, seed 10"),
    ]  # fmt: skip
    assert f"{tmp_path}/cleaner: not shown, models of cleaning are not applied to pictures" in caplog.text
    assert f"{tmp_path}/odd: not shown" in caplog.text


def test_a_folder_without_models_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no trained model below it; `make repro` trains"):
        find_models([tmp_path])
    with pytest.raises(UserError, match="no such folder"):
        find_models([tmp_path / "none"])


def test_models_are_loaded_once_and_the_oldest_leave(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[str] = []

    def load(folder: Path) -> object:
        loaded.append(folder.name)
        return object()

    monkeypatch.setattr(shelf, "load_model", load)
    monkeypatch.setattr(shelf, "MOST_LOADED", 2)
    models = [Model(tmp_path / name, "mtmdd", name) for name in "abc"]
    shown = Shelf(models, [])
    first = shown.load(0)
    for number in (1, 0, 2, 0, 1):  # at 2, b leaves, as a was asked for after it
        shown.load(number)
    assert loaded == ["a", "b", "c", "b"]
    assert shown.load(1) is not first


def write_index(folder: Path, digest: str, thumbnails: list[bytes | None]) -> Index:
    folder.mkdir()
    names = [f"p{number}" for number in range(len(thumbnails))]
    columns = [pa.array(names), as_lists(np.ones((len(names), 1), np.float32)), pa.array(thumbnails, pa.binary())]
    table = pa.Table.from_arrays(columns, schema=schemas.PICTURE_INDEX)
    write_table(table, folder / "pictures.parquet", row_group_rows=2)
    about = {"model": "m", "digest": digest, "words": ["dog"], "segment": SEGMENT.model_dump(mode="json")}
    (folder / "index.json").write_text(json.dumps(about))
    return Index.read(folder)


def test_small_indexes_are_searched_in_memory_and_large_ones_in_their_files(tmp_path: Path, monkeypatch) -> None:
    write_index(tmp_path / "index", "", [b"a", b"b", b"c"])
    for most, in_memory in ((3 * 4, True), (3 * 4 - 1, False)):  # of one word, 4 bytes each
        monkeypatch.setattr(shelf, "MOST_HELD", most)
        [gallery] = find_galleries([tmp_path / "index"])
        assert gallery.entries.held is in_memory


def test_an_index_without_thumbnails_is_refused(tmp_path: Path) -> None:
    write_index(tmp_path / "index", "", [None, None])
    with pytest.raises(UserError, match="has no thumbnails; make it by clicksight index without --no-thumbnails"):
        find_galleries([tmp_path / "index"])


def test_an_index_belongs_to_the_model_that_made_it(tmp_path: Path) -> None:
    folders = [model_folder(tmp_path / name, seed=seed) for seed, name in enumerate("ab")]
    galleries = [write_index(tmp_path / "i", model_digest(folders[1]), [b"x"])]
    shown = Shelf([Model(folder, "mtmdd", "") for folder in folders], galleries)
    assert [shown.gallery_of(number) for number in (0, 1)] == [None, 0]
