"""Click features computed in other ways: by DuckDB's SQL, by scikit-learn's counting, and row by row."""

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import duckdb
import jieba
import numpy as np
import polars as pl
from scipy import sparse
from sklearn.feature_extraction.text import CountVectorizer

WORD = re.compile(r"[^\W_]+")
COLUMNS = ("image_id", "query", "clicks")
INTEGER = re.compile(rb"-?[0-9]+(\.0+)?")
MARK = b"\xef\xbb\xbf"
HAN = re.compile(r"([\u3400-\u4dbf\u4e00-\u9fff]+)")


def words_of(query: str) -> list[str]:
    """Segment one query of a script without combining marks, by Python's notion of letters and digits and by jieba."""
    text = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", query).casefold())
    words = []
    for run in WORD.findall(text):
        for part in HAN.split(run):
            words += jieba.lcut(part) if HAN.match(part) else [part]
    return list(dict.fromkeys(word for word in words if word))


def by_sql(
    rows: list[tuple[str, str, int]], top_words: int
) -> tuple[list[tuple], dict[str, dict[str, tuple[int, float]]]]:
    """Return the vocabulary as (word, clicks, document frequency, idf) and v as image -> word -> (clicks, tf-idf)."""
    segmented = pl.DataFrame(
        [(query, word) for query in {row[1] for row in rows} for word in words_of(query)],
        schema={"query": pl.String, "word": pl.String},
        orient="row",
    )
    log = pl.DataFrame(rows, schema={"image": pl.String, "query": pl.String, "clicks": pl.Int64}, orient="row")
    with duckdb.connect() as database:
        database.register("segmented", segmented.to_arrow())
        database.register("log", log.to_arrow())
        database.execute(
            f"""
            create table vocabulary as
                select word, sum(clicks)::bigint as clicks from log join segmented using (query)
                group by word order by clicks desc, word limit {top_words};
            create table matrix as
                select image, word, sum(log.clicks)::bigint as clicks
                from log join segmented using (query) semi join vocabulary using (word) group by image, word;
            create table weights as
                select word, count(*) as frequency,
                    ln((select count(distinct image) from log)::double / count(*)) as idf
                from matrix group by word;
            """
        )
        vocabulary = database.execute(
            "select word, clicks, frequency, idf from vocabulary join weights using (word) order by clicks desc, word"
        ).fetchall()
        entries = database.execute(
            """
            select image, word, clicks, clicks / sum(clicks) over (partition by image) * idf
            from matrix join weights using (word)
            """
        ).fetchall()
    features: dict[str, dict[str, tuple[int, float]]] = {image: {} for image, _, _ in rows}
    for image, word, clicks, tfidf in entries:
        features[image][word] = (clicks, tfidf)
    return vocabulary, features


def by_counting(
    rows: list[tuple[str, str, int]], top_words: int, analyser: Callable[[str], list[str]]
) -> tuple[list[tuple], dict[str, dict[str, tuple[int, float]]]]:
    """Return the same as :func:`by_sql`, computed by scikit-learn and scipy; the analyser returns a query's words.

    C' = A X, A (images x rows) the clicks and X (rows x words) scikit-learn's binary counts; TF-IDF by its formula.
    """
    images, queries, clicks = zip(*rows, strict=True)
    counter = CountVectorizer(analyzer=analyser, binary=True, dtype=np.int64)
    row_words = counter.fit_transform(queries)
    names, image_of_row = np.unique(images, return_inverse=True)
    image_rows = sparse.csr_array((np.array(clicks), (image_of_row, np.arange(len(rows)))), dtype=np.int64)
    totals = np.array(clicks) @ row_words
    ranked = sorted(zip((-totals).tolist(), counter.get_feature_names_out(), range(len(totals)), strict=True))[
        :top_words
    ]
    words = [word for _, word, _ in ranked]
    matrix = sparse.coo_array((image_rows @ row_words)[:, [column for _, _, column in ranked]])
    frequencies = np.bincount(matrix.col, minlength=len(words))
    idf = np.log(len(names) / frequencies)
    weights = matrix.data / matrix.sum(axis=1)[matrix.row] * idf[matrix.col]
    features: dict[str, dict[str, tuple[int, float]]] = {image: {} for image in names.tolist()}
    for row, column, n, weight in zip(matrix.row, matrix.col, matrix.data.tolist(), weights.tolist(), strict=True):
        features[names[row]][words[column]] = (n, weight)
    vocabulary = [
        (word, -negative, int(frequency), float(weight))
        for (negative, word, _), frequency, weight in zip(ranked, frequencies, idf, strict=True)
    ]
    return vocabulary, features


def judge_line(line: bytes, columns: Sequence[str], longest: int) -> tuple[str, tuple[str, str, int] | None]:
    """Return a log line's reason ("" for a good line) and its row, by the rules listed in click_rows.py."""
    if len(line) > longest:
        return "line too long", None
    while line.startswith(MARK):
        line = line.removeprefix(MARK)
    if not line:
        return "empty line", None
    try:
        line.decode("utf-8", "strict")
    except UnicodeDecodeError:
        return "not UTF-8", None
    if b"\0" in line:
        return "NUL byte", None
    fields = line.split(b"\t")
    if len(fields) != len(columns):
        return "wrong number of fields", None
    image_id, query, clicks = (fields[columns.index(name)] for name in COLUMNS)
    for field, reason in ((image_id, "empty image id"), (query, "empty query")):
        if not field.decode().strip():
            return reason, None
    if not INTEGER.fullmatch(clicks):
        return "clicks not an integer", None
    number = int(clicks.partition(b".")[0])
    if number < 1:
        return "clicks below 1", None
    if number > 10**12:
        return "clicks above 10^12", None
    return "", (image_id.decode(), query.decode(), number)


def judge(
    block: bytes, columns: Sequence[str] = COLUMNS, longest: int = 1 << 20
) -> tuple[list[tuple[str, str, int]], list[tuple[int, str, str, int]]]:
    """Return a log's good rows, and its other rows as (first row number, reason, raw text, equal rows), in order.

    Lines end with a line feed, with or without a carriage return before it; any text after the last line feed is a
    line.
    """
    lines = block.split(b"\n")
    if not lines[-1]:
        lines.pop()
    kept = []
    first: dict[tuple[str, str], int] = {}
    rows: Counter[tuple[str, str]] = Counter()
    for number, line in enumerate((line.removesuffix(b"\r") for line in lines), start=1):
        reason, row = judge_line(line, columns, longest)
        if row is None:
            while line.startswith(MARK):
                line = line.removeprefix(MARK)
            shown = line[: min(longest, 1024)] if reason == "line too long" else line
            record = reason, shown.decode("utf-8", "backslashreplace")
            first.setdefault(record, number)
            rows[record] += 1
        else:
            kept.append(row)
    return kept, [(number, *record, rows[record]) for record, number in first.items()]


def read_features(folder: Path) -> tuple[list[tuple], dict[str, dict[str, tuple[int, float]]]]:
    """Read the output of build_click_features or of the stages, in the shape of :func:`by_sql`."""
    table = pl.read_parquet(folder / "vocabulary.parquet")
    assert table["word_id"].to_list() == list(range(len(table)))
    vocabulary = table.select("word", "clicks", "document_frequency", "idf").rows()
    features = {}
    for row in pl.read_parquet(folder / "click_features").iter_rows(named=True):
        assert row["word_ids"] == sorted(set(row["word_ids"]))
        assert row["image_id"] not in features
        features[row["image_id"]] = {
            vocabulary[word_id][0]: (clicks, tfidf)
            for word_id, clicks, tfidf in zip(row["word_ids"], row["clicks"], row["tfidf"], strict=True)
        }
    return vocabulary, features


def assert_equal(found: tuple, expected: tuple) -> None:
    """Compare two results of the shape of :func:`by_sql`: integers exactly, floats to single precision's 1e-6."""
    (vocabulary, features), (true_vocabulary, true_features) = found, expected
    assert [row[:3] for row in vocabulary] == [row[:3] for row in true_vocabulary]
    for row, true_row in zip(vocabulary, true_vocabulary, strict=True):
        assert math.isclose(row[3], true_row[3], rel_tol=1e-14, abs_tol=1e-15)
    assert features.keys() == true_features.keys()
    for image, words in true_features.items():
        assert features[image].keys() == words.keys(), image
        for word, (clicks, tfidf) in words.items():
            assert features[image][word][0] == clicks
            assert math.isclose(features[image][word][1], tfidf, rel_tol=1e-6, abs_tol=0)
