"""Turn rows of a click log into the bucket of segmented queries that the later steps read."""

import pyarrow as pa

from base.schemas import CLICKS
from pipelines.words.query_buckets import QueryBucket
from pipelines.words.segment import segmented_bucket
from pipelines.words.segmentation import Segmenter, SegmentParams

SEGMENTER = Segmenter(
    SegmentParams(stop_words=None, dictionary=None, user_dictionary=None, minimum_length=1, lemmas=None)
)


def bucket(*rows: tuple[str, str, int]) -> QueryBucket:
    """Return the bucket of some rows (image, query, clicks)."""
    clicks = pa.record_batch([list(column) for column in zip(*rows, strict=True)], CLICKS)
    return segmented_bucket(clicks, SEGMENTER)[1]
