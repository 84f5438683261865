"""The click features, written carefully by hand in Polars: `python polars_script.py LOG.tsv FOLDER`."""

import sys
from pathlib import Path

import polars as pl

source, output = sys.argv[1], Path(sys.argv[2])
output.mkdir(parents=True, exist_ok=True)
log = (
    pl.scan_csv(
        source,
        separator="\t",
        has_header=False,
        quote_char=None,
        schema={"image_id": pl.String, "query": pl.String, "clicks": pl.Int64},
    )
    .group_by("image_id", "query")
    .agg(pl.col("clicks").sum())
    .collect(engine="streaming")
)
log = log.with_columns(query_id=pl.col("query").rank("dense") - 1)
queries = log.group_by("query_id").agg(pl.col("query").first(), total=pl.col("clicks").sum())
words = queries.lazy().select(
    "query_id", "total", word=pl.col("query").str.to_lowercase().str.extract_all(r"[\p{L}\p{N}]+").list.unique()
)
words = words.explode("word").drop_nulls("word").collect(engine="streaming")
vocabulary = (
    words.group_by("word")
    .agg(clicks=pl.col("total").sum())
    .sort(["clicks", "word"], descending=[True, False])
    .head(1000)
    .with_row_index("word_id")
)
matrix = (
    log.lazy()
    .select("image_id", "query_id", "clicks")
    .join(
        words.lazy().join(vocabulary.lazy().select("word", "word_id"), on="word").select("query_id", "word_id"),
        on="query_id",
    )
    .group_by("image_id", "word_id")
    .agg(pl.col("clicks").sum())
    .collect(engine="streaming")
)
images = log.select("image_id").unique()
frequency = matrix.group_by("word_id").agg(document_frequency=pl.len().cast(pl.Int64))
vocabulary = vocabulary.join(frequency, on="word_id").with_columns(
    idf=(pl.lit(float(images.height)) / pl.col("document_frequency")).log()
)
vocabulary.sort("word_id").with_columns(pl.col("word_id").cast(pl.Int32)).write_parquet(output / "vocabulary.parquet")
features = (
    matrix.join(vocabulary.select("word_id", "idf"), on="word_id")
    .sort("image_id", "word_id")
    .with_columns(tfidf=(pl.col("clicks") / pl.col("clicks").sum().over("image_id") * pl.col("idf")).cast(pl.Float32))
    .group_by("image_id", maintain_order=True)
    .agg(word_ids=pl.col("word_id").cast(pl.Int32), clicks=pl.col("clicks"), tfidf=pl.col("tfidf"))
)
images.join(features, on="image_id", how="left").with_columns(
    pl.col("word_ids", "clicks", "tfidf").fill_null([])
).write_parquet(output / "click_features.parquet")
