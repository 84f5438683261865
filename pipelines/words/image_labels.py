"""Write what the votes of a log's queries add up to: labels of images, and what the log says of names and words."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
from scipy import sparse

from base.artifacts import write_table
from base.schemas import CLICK_LABELS, NAME_WORDS, NAMES
from pipelines.beam.shards import write_shard
from pipelines.words.click_matrix import add_up_rows, sparse_rows
from pipelines.words.lexicon import Lexicon
from pipelines.words.name_buckets import Evidence

NAMES_FILE, WORDS_FILE, SEVERAL_FILE = "names.parquet", "words.parquet", "several.parquet"


def labels_of(rows: pa.RecordBatch, lexicon: Lexicon) -> pa.RecordBatch:
    """Return the labels of images from their votes; schemas.CLICK_LABELS, rows as they are.

    Args:
        rows: one for each image, as :func:`pipelines.words.name_buckets.label_bucket` describes.
        lexicon: of the names.
    """
    num_categories = len(lexicon.categories)
    matrix = sparse_rows(rows)
    matrix.resize(rows.num_rows, num_categories + 2)
    evidence = matrix[:, num_categories:].toarray().T
    found = sparse.csr_array(matrix[:, :num_categories])
    row_of = np.repeat(np.arange(rows.num_rows), np.diff(found.indptr))
    order = np.lexsort((found.indices, -found.data, row_of))
    units, categories, starts = found.data[order], found.indices[order], found.indptr
    totals = np.add.reduceat(np.r_[units, 0], starts[:-1]) * (np.diff(starts) > 0)
    shares = units / totals[row_of]
    firsts, seconds = np.zeros((2, rows.num_rows))
    has_first, has_second = np.diff(starts) > 0, np.diff(starts) > 1
    firsts[has_first], seconds[has_second] = units[starts[:-1][has_first]], units[starts[:-1][has_second] + 1]
    divisors = np.maximum(totals, 1)
    names = pa.array(lexicon.categories, pa.string())
    best = pa.array(np.r_[categories, 0][starts[:-1]], mask=~has_first)
    offsets = pa.array(starts, pa.int32())
    columns = [
        rows.column("image_id"),
        names.take(best),
        pa.array(firsts / divisors),
        pa.array((firsts - seconds) / divisors),
        *(pa.array(column, pa.int64()) for column in evidence),
        pa.ListArray.from_arrays(offsets, names.take(pa.array(categories))),
        pa.ListArray.from_arrays(offsets, pa.array(shares.astype(np.float32))),
    ]
    return pa.record_batch(columns, schema=CLICK_LABELS)


def write_labels(shard: int, rows: pa.RecordBatch, lexicon: Lexicon, directory: Path) -> Iterable[tuple[str, int]]:
    """Add up a shard's votes by image and write its labels; return counts."""
    labels = labels_of(add_up_rows(rows), lexicon)
    write_shard((shard, labels), directory)
    frame = pl.DataFrame(pa.Table.from_batches([labels]))
    tied = frame.filter(pl.col("category").is_not_null() & (pl.col("margin") == 0))
    yield "images", labels.num_rows
    yield "images: without a name", int(frame["category"].null_count())
    yield "images: between several", tied.height
    for category, number in frame["category"].drop_nulls().value_counts().iter_rows():
        yield f"images of: {category}", number


def names_table(evidence: Evidence, lexicon: Lexicon) -> pa.Table:
    """Return what the log says of each name; schemas.NAMES."""
    columns = [
        [name.text for name in lexicon.names],
        [name.category for name in lexicon.names],
        [list(words) for words in lexicon.name_words],
        evidence.name_queries.tolist(),
        evidence.name_clicks.tolist(),
    ]
    return _table(columns, NAMES).sort_by([("category", "ascending"), ("name", "ascending")])


def words_table(evidence: Evidence, lexicon: Lexicon) -> pa.Table:
    """Return what the log says of each word of a name; schemas.NAME_WORDS."""
    forms, clicks = lexicon.forms.to_pylist(), evidence.form_clicks.tolist()
    word_forms, of_word = lexicon.form_words.T.tocsr(), lexicon.of_word
    taken, categories = [], []
    for word in range(len(lexicon.words)):
        ids = word_forms.indices[word_forms.indptr[word] : word_forms.indptr[word + 1]].tolist()
        taken.append([forms[i] for i in sorted(ids, key=lambda i: (-clicks[i], forms[i])) if clicks[i]])
        owners = lexicon.name_categories[of_word.indices[of_word.indptr[word] : of_word.indptr[word + 1]]]
        categories.append([lexicon.categories[i] for i in sorted(set(owners.tolist()))])
    columns = [
        lexicon.words,
        categories,
        taken,
        evidence.word_clicks.tolist(),
        lexicon.weights,
        evidence.reliability(),
    ]
    return _table(columns, NAME_WORDS)


def _table(columns: Sequence[Any], schema: pa.Schema) -> pa.Table:
    return pa.table(
        [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)], schema=schema
    )


def write_evidence(evidence: Evidence, lexicon: Lexicon, folder: Path) -> None:
    """Write names.parquet and words.parquet."""
    write_table(names_table(evidence, lexicon), folder / NAMES_FILE)
    write_table(words_table(evidence, lexicon), folder / WORDS_FILE)


def write_several(queries: pa.RecordBatch, folder: Path) -> None:
    """Write several.parquet."""
    write_table(pa.Table.from_batches([queries]), folder / SEVERAL_FILE)
