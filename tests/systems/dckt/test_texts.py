"""The texts of a model: which are written, with which codes, and how they are read."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from dckt_runs import domains, recipe

from base import schemas
from base.artifacts import read_tables, write_table
from base.console import UserError
from model.training.trainer import train
from systems.dckt.features import TRAIN, PairFeatures
from systems.dckt.task import training_run
from systems.dckt.texts import read_texts, write_texts
from systems.dckt.trained import TargetModel

pytestmark = pytest.mark.usefixtures("own_folder")


@pytest.fixture
def pairs() -> PairFeatures:
    """The target's pairs, and a model of them without texts."""
    source, target = domains(Path("data"))
    train(training_run(recipe("before"), source, target, 0, "model"), Path("model"))
    assert not Path("model/texts.parquet").exists()
    return target


def test_distinct_texts_with_known_words_are_written_with_their_codes(pairs: PairFeatures) -> None:
    some = pairs.take(np.array([1, 4, 7, 8, 20]))
    features = some.texts.copy()
    features[2] = 0  # no word of it is known
    features[3] = features[0]
    written = ["a  wasp\nand ant", "Bee", "unknown", "a wasp and ant", "ant"]
    write_texts(Path("model"), replace(some, texts=features), dict(zip(some.ids, written, strict=True)))
    table = read_tables(Path("model/texts.parquet"))
    assert table.schema.equals(schemas.INDEXED)
    assert table["id"].to_pylist() == [some.ids[0], some.ids[1], some.ids[4]]
    assert table["text"].to_pylist() == ["a wasp and ant", "Bee", "ant"]
    codes = TargetModel(Path("model")).text_codes(features[[0, 1, 4]])
    np.testing.assert_array_equal(np.array(table["code"].to_pylist(), np.float32), codes)


def test_a_pair_without_a_text_is_an_error(pairs: PairFeatures) -> None:
    with pytest.raises(UserError, match="has features, but no text"):
        write_texts(Path("model"), pairs, {pairs.ids[0]: "a"})


def test_a_run_has_the_texts_of_the_targets_training_pairs_alone() -> None:
    source, target = domains(Path("data"))
    texts = {name: f"text of {name}" for name in target.ids}
    made = recipe("before_pairs=3")
    train(training_run(made, source, target, 0, "model", texts), Path("model"))
    found = read_tables(Path("model/texts.parquet"))
    trained_on = target.limited(3, 0).subset(TRAIN)
    assert len(trained_on) == 9
    assert len(target.subset(TRAIN)) > 9
    assert found["text"].to_pylist() == [f"text of {name}" for name in trained_on.ids]


def test_texts_are_read_by_pair_and_their_lack_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    table = pl.DataFrame({"image_id": ["b", "a"], "query": ["two", "one"], "clicks": [1, 1]})
    write_table(table.to_arrow().cast(schemas.CLICKS), Path("data/ingested/texts/part-00000.parquet"))
    assert read_texts(Path("data")) == {"b": "two", "a": "one"}
    assert read_texts(Path("elsewhere")) is None
    assert "elsewhere/ingested/texts: no such folder; the model will find no texts" in caplog.text
