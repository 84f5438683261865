import gzip
import math
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from base import schemas
from base.console import UserError
from pipelines.words.word_vectors import (
    TrainedVectorParams,
    check_coverage,
    coverage,
    main,
    neighbours,
    occurrences_of,
    positive_pmi,
    read_vectors,
    run,
    train_vectors,
)

PARAMS = TrainedVectorParams(dimensions=4, window=2, least_texts=1, least_coverage=0.5)
DATA = Path(__file__).parents[4] / "shared" / "data"


def texts(*rows: str) -> pa.Table:
    words = [row.split() for row in rows]
    return pa.Table.from_pydict({"query": list(rows), "words": words}, schema=schemas.QUERIES)


def test_words_are_counted_by_texts() -> None:
    assert occurrences_of(texts("a dog", "", "dog 狗")) == {"a": 1, "dog": 2, "狗": 1}


GLOVE = "Dog 1 2 3\nof . the 4 5 6\ndog 7 8 9\ncat -1 0 1e-1\n"
EXPECTED = {"dog": [1, 2, 3], "cat": [-1, 0, 0.1], "of . the": [4, 5, 6]}


@pytest.mark.parametrize("form", ["glove", "word2vec", "glove.gz", "parquet"])
def test_the_texts_words_are_read_from_every_form(tmp_path: Path, form: str) -> None:
    if form == "parquet":
        path = tmp_path / "v.parquet"
        rows = [line.rsplit(" ", 3) for line in GLOVE.splitlines()]
        vectors = pa.array([[float(x) for x in row[1:]] for row in rows], pa.list_(pa.float32(), 3))
        pq.write_table(pa.table({"word": [row[0] for row in rows], "vector": vectors}), path)
    else:
        text = ("4 3\n" if form == "word2vec" else "") + GLOVE
        path = tmp_path / f"v.{form}"
        path.write_bytes(gzip.compress(text.encode()) if form.endswith("gz") else text.encode())
    found = read_vectors(path, {"dog": 3, "cat": 1, "of . the": 1, "absent": 2})
    assert {word: vector.tolist() for word, vector in found.items()} == {
        word: np.array(values, np.float32).tolist() for word, values in EXPECTED.items()
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a 1 2\nb 1\n", "line 2: not a word and 2 numbers: b'b 1"),
        ("a 1 2\nb 1 x\n", "line 2: not a word and 2 numbers"),
        ("\x00\x01\n", "line 1: not a word and 0 numbers"),
        ("a 1 nan\n", "line 1: the vector of 'a' has numbers that are not finite"),
        ("", "holds no word vectors"),
        ("2 3\n", "holds no word vectors"),
    ],
)
def test_a_file_that_has_no_vectors_is_an_error_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "v.txt").write_text(text)
    with pytest.raises(UserError, match=message):
        read_vectors(tmp_path / "v.txt", {"a": 1})


def test_a_parquet_file_with_other_columns_or_lengths_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "v.parquet"
    pq.write_table(pa.table({"word": ["a"], "numbers": [[1.0]]}), path)
    with pytest.raises(UserError, match="lacks the column vector"):
        read_vectors(path, {"a": 1})
    pq.write_table(pa.table({"word": ["a", "b"], "vector": [[1.0, 2.0], [1.0]]}), path)
    with pytest.raises(UserError, match="row 2: 1 numbers, but 2 before"):
        read_vectors(path, {"a": 1})
    with pytest.raises(UserError, match="no such file of word vectors"):
        read_vectors(tmp_path / "none.txt", {"a": 1})


def test_vectors_of_another_language_are_an_error_with_the_coverage(tmp_path: Path) -> None:
    path = tmp_path / "v.txt"
    path.write_text("hund 1 2\nbus 3 4\n")
    table = tmp_path / "queries"
    table.mkdir()
    pq.write_table(texts("a red dog", "a bus", "a dog"), table / "part-00000.parquet")
    with pytest.raises(
        UserError, match=r"1 of the texts' 4 words, which are 14.3 % of.*at least 50.0 %.*'a', 'dog', 'red'"
    ):
        run(table, path, tmp_path / "out.parquet", PARAMS)
    assert not (tmp_path / "out.parquet").exists()
    with pytest.raises(UserError, match="0 of the texts' 1 words"):
        check_coverage(path, {}, {"dog": 2}, 0.0)


def test_neighbours_are_counted_within_the_window_and_not_across_texts() -> None:
    table = texts("a b x c d", "d a")
    known = {word: number for number, word in enumerate("abcd")}
    found = neighbours(table, known, window=2).toarray()
    expected = np.zeros((4, 4), int)
    for row in table["words"].to_pylist():
        row = [word for word in row if word in known]
        for i, one in enumerate(row):
            for j, other in enumerate(row):
                if i != j and abs(i - j) <= 2:
                    expected[known[one], known[other]] += 1
    assert found.tolist() == expected.tolist()


@given(st.lists(st.lists(st.integers(0, 5), min_size=4, max_size=4), min_size=4, max_size=4))
def test_positive_pmi_is_that_of_a_written_out_loop(rows: list[list[int]]) -> None:
    counts = np.array(rows) + np.array(rows).T
    found = positive_pmi(sparse.csr_array(counts)).toarray()
    smoothed = [counts[:, c].sum() ** 0.75 for c in range(4)]
    for w in range(4):
        for c in range(4):
            value = 0.0
            if counts[w, c]:
                joint = counts[w, c] / counts.sum()
                value = max(0.0, math.log(joint / (counts[w].sum() / counts.sum() * smoothed[c] / sum(smoothed))))
            assert found[w, c] == pytest.approx(value, abs=1e-12)


def test_trained_vectors_reconstruct_the_matrix_and_put_like_words_together() -> None:
    rows = [f"{n} {a} {b}" for n in ("one", "two", "three") for a, b in (("dog", "barks"), ("puppy", "barks"))]
    rows += [f"{n} {a} floats" for n in ("one", "two", "three") for a in ("boat", "raft")]
    table = texts(*rows)
    found = train_vectors(table, PARAMS.model_copy(update={"dimensions": 64}))
    assert len(found["dog"]) == len(found) - 1  # not more than there are words

    def cosine(one: str, other: str) -> float:
        return found[one] @ found[other] / np.linalg.norm(found[one]) / np.linalg.norm(found[other])

    assert (
        min(cosine("dog", "puppy"), cosine("boat", "raft")) > max(cosine("dog", "boat"), cosine("puppy", "raft")) + 0.3
    )
    again = train_vectors(table, PARAMS.model_copy(update={"dimensions": 64}))
    assert all(np.array_equal(found[word], again[word]) for word in found)
    rare = PARAMS.model_copy(update={"least_texts": 99})
    with pytest.raises(UserError, match="0 of 9 words are in 99 or more texts"):
        train_vectors(table, rare)


def test_the_command_writes_words_in_order_and_counts_coverage(tmp_path: Path) -> None:
    (tmp_path / "q").mkdir()
    pq.write_table(texts("b a c", "a c", "狗 a"), tmp_path / "q" / "part-00000.parquet")
    arguments = ["--queries", str(tmp_path / "q"), "--dimensions", "2", "--output", str(tmp_path / "o.parquet")]
    main(arguments)
    table = pl.read_parquet(tmp_path / "o.parquet")
    assert pq.read_schema(tmp_path / "o.parquet").equals(schemas.WORD_VECTORS)
    assert table["word"].to_list() == ["a", "c"]  # the others are in one text only
    (tmp_path / "v.txt").write_text("c 1 2\na 3 4\nz 5 6\n")
    main([*arguments, "--vectors", str(tmp_path / "v.txt")])
    assert pl.read_parquet(tmp_path / "o.parquet").rows() == [("a", [3.0, 4.0]), ("c", [1.0, 2.0])]
    assert coverage({"a": np.ones(2), "c": np.ones(2)}, {"a": 3, "b": 1, "c": 2, "狗": 1}) == 5 / 7
    with pytest.raises(SystemExit):
        main([*arguments, "--vectors", str(tmp_path / "v.txt"), "--least-coverage", "0.9"])


@pytest.mark.real_data
def test_real_vectors_cover_english_and_not_chinese() -> None:
    path = DATA / "word_vectors_en" / "glove_twitter_25d.parquet"
    if not path.is_file():
        pytest.skip("word_vectors_en is not beside the repository")
    found = read_vectors(path, {"shirt": 1, "shoes": 1, "狗": 1})
    assert {word: len(vector) for word, vector in found.items()} == {"shirt": 25, "shoes": 25}
