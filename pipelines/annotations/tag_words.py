"""The words of tags: a tag is one word, whatever is in it.

The word jobs read a log with the words of its queries (`schemas.QUERIES`), which `pipelines.words.segment` cuts. A tag
must not be cut: ``new york`` is one tag, not two. So its only word is the tag itself in normal form
(`pipelines.words.normal_form`), with single spaces inside.
"""

from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from base.schemas import CLICKS, QUERIES
from pipelines.beam.shards import read_shard, write_shard
from pipelines.words.normal_form import normalise_text, visible_text


def tag_word(tag: str) -> str:
    """Return a tag's word; empty if nothing is left in normal form.

    >>> tag_word(" New  York"), tag_word("Ｃat")
    ('new york', 'cat')
    """
    return " ".join(normalise_text(visible_text(tag)).split())


def tag_words(tags: pa.Array) -> pa.RecordBatch:
    """Return the distinct tags of some log, sorted, with one word each or none; schemas.QUERIES."""
    tags = pc.unique(tags)
    tags = tags.take(pc.sort_indices(tags))
    words = [[word] if (word := tag_word(tag)) else [] for tag in tags.to_pylist()]
    return pa.record_batch([tags, pa.array(words, QUERIES.field("words").type)], schema=QUERIES)


def write_tag_words(shard: tuple[int, str], output: Path) -> Iterable[tuple[str, int]]:
    """Write the words of a shard's tags; return counts."""
    number, file = shard
    words = tag_words(read_shard(Path(file), CLICKS).column("query"))
    write_shard((number, words), output)
    empty = pc.sum(pc.equal(pc.list_value_length(words.column("words")), 0)).as_py() or 0
    return [("distinct tags", words.num_rows), ("tags without a word", empty)]
