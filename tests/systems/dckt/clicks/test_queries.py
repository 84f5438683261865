"""Features of queries: means by hand, bags against scikit-learn, the split by hash, and what is left out."""

import json
import zlib
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from click_data import CLICKS, write_click_data, write_params
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.preprocessing import normalize

from base.console import UserError
from base.schemas import QUERIES, QUERY_FEATURES
from systems.dckt.clicks.config import QueriesParams, QueryShares
from systems.dckt.clicks.queries import bag_words, features_of, main, means_of, split_of

PARAMS = QueriesParams.model_validate(CLICKS["queries"])
SHARES = QueryShares(validation=0.2, test=0.3)


def queries_of(words: dict[str, list[str]]) -> pa.Table:
    return pa.table({"query": list(words), "words": list(words.values())}, schema=QUERIES)


def test_means_by_hand() -> None:
    vectors = {"a": np.array([1.0, 0.0]), "b": np.array([0.0, 4.0])}
    found, known = means_of([["b", "a"], ["x"], ["b", "x"], []], vectors)
    assert found.tolist() == [[0.5, 2.0], [0.0, 0.0], [0.0, 4.0], [0.0, 0.0]]
    assert found.dtype == np.float32
    assert known.tolist() == [2, 0, 1, 0]


def test_a_bag_is_scikit_learns_counts_as_shares() -> None:
    texts = ["red ant", "big ant old", "bee", "red bee red"]
    words = [text.split() for text in texts]
    listed = sorted(bag_words(words, 99))
    vectors = dict(zip(listed, np.eye(len(listed), dtype=np.float32), strict=True))
    counts = CountVectorizer(token_pattern=r"\S+", vocabulary=listed).fit_transform(texts)
    np.testing.assert_allclose(means_of(words, vectors)[0], normalize(counts, "l1").toarray(), atol=1e-7)


def test_bag_words_are_those_of_most_queries_and_ties_are_ordered() -> None:
    assert bag_words([["c", "b"], ["b", "a"], ["c"], ["d", "d", "d"]], 3) == ["b", "c", "a"]


def test_the_split_is_by_crc_32_and_has_its_shares() -> None:
    names = [f"query {number}" for number in range(4000)]
    splits = [split_of(name, SHARES) for name in names]
    for name, split in zip(names[:50], splits, strict=False):
        place = zlib.crc32(name.encode()) % 10_000
        assert split == ("test" if place < 3000 else "validation" if place < 5000 else "train")
    for split, share in (("test", 0.3), ("validation", 0.2), ("train", 0.5)):
        assert splits.count(split) / 4000 == pytest.approx(share, abs=0.03)


def test_a_held_out_query_changes_no_other() -> None:
    names = [f"w{number} common" for number in range(40)]
    held_out = next(name for name in names if split_of(name, SHARES) == "test")
    every = queries_of({name: name.split() for name in names})
    others = queries_of({name: name.split() for name in names if name != held_out})
    for features in ("bag", "vectors"):
        params = PARAMS.model_copy(update={"features": features})
        whole, less = (features_of(table, params) for table in (every, others))
        assert whole.filter(pl.col("query") != held_out).equals(less)
        if features == "bag":  # its own word is unknown
            assert whole.filter(query=held_out)["words"].item() == 1


def test_the_command_writes_features_and_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_click_data(tmp_path)
    write_params()
    main(["--queries", "data/features/queries", "--counts", "eval/queries.json", "--output", "q.parquet"])
    table, counts = pl.read_parquet("q.parquet"), json.loads(Path("eval/queries.json").read_text())
    assert table.to_arrow().schema.names == QUERY_FEATURES.names
    assert table["query"].is_sorted()
    assert counts["queries"] == 49
    assert counts["without a known word"] == 1  # zzz
    assert counts["train"] + counts["validation"] + counts["test"] == len(table) == 48
    assert dict(table["split"].value_counts().iter_rows()) == {
        split: counts[split] for split in ("train", "validation", "test")
    }
    first = Path("q.parquet").read_bytes()
    main(["--queries", "data/features/queries", "--counts", "eval/queries.json", "--output", "q.parquet"])
    assert Path("q.parquet").read_bytes() == first


def test_vectors_of_a_file(tmp_path: Path) -> None:
    file = tmp_path / "vectors.txt"
    file.write_text("ant 1 2 3\nred 3 2 1\n")
    params = PARAMS.model_copy(update={"features": "vectors", "word_vectors": str(file)})
    found = features_of(queries_of({"red ant": ["red", "ant"], "ant": ["ant"], "bee": ["bee"]}), params)
    assert found["query"].to_list() == ["ant", "red ant"]
    assert found["feature"].to_list() == [[1, 2, 3], [2, 2, 2]]
    with pytest.raises(UserError, match="another language"):
        features_of(queries_of({"ant": ["ant"], "bee": ["bee"], "犬": ["犬"]}), params)


def test_queries_without_any_word() -> None:
    with pytest.raises(UserError, match="training queries have no words"):
        features_of(queries_of({"!": [], "?": []}), PARAMS)
