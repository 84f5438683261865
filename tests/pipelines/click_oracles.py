"""Click features computed in other ways than ours: DuckDB's SQL, scikit-learn's counting, plain dictionaries."""

import math
import re
import unicodedata
from collections import Counter, defaultdict
from pathlib import Path

import duckdb
import jieba
import polars as pl
from sklearn.feature_extraction.text import CountVectorizer

WORD = re.compile(r"[^\W_]+")
HAN = re.compile(r"([\u3400-\u4dbf\u4e00-\u9fff]+)")


def words_of(query: str) -> list[str]:
    """Segment one query, for scripts without combining marks: Python's own notion of letters and digits, and jieba."""
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


def by_scikit_learn(rows: list[tuple[str, str, int]], vocabulary: list[str]) -> dict[str, dict[str, int]]:
    """Return C' as image -> word -> clicks: each log row a document, its binary word counts weighted by its clicks."""
    counts = CountVectorizer(analyzer=words_of, vocabulary=vocabulary, binary=True).transform(row[1] for row in rows)
    matrix: dict[str, Counter] = defaultdict(Counter)
    for row, (image, _, clicks) in enumerate(rows):
        for column in counts[[row]].indices:
            matrix[image][vocabulary[column]] += clicks
    return {image: dict(words) for image, words in matrix.items()}


def read_features(folder: Path) -> tuple[list[tuple], dict[str, dict[str, tuple[int, float]]]]:
    """Read what build_click_features or the stages wrote, in the shape of :func:`by_sql`."""
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
