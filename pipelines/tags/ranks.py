"""Turn texts and pairs of numbers into small numbers that sort and compare in the same order.

Sorting, grouping and merging numbers takes a tenth of the time that it takes with texts.
"""

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc


def begins_run(*columns: pa.Array) -> np.ndarray:
    """Return which rows differ from the row before them in any of the columns; the first row does.

    Shape:
        columns: (n,), no nulls; result: booleans (n,)
    """
    begins = np.ones(len(columns[0]), bool)
    if len(begins):
        same = [np.asarray(pc.equal(column.slice(1), column.slice(0, len(column) - 1))) for column in columns]
        begins[1:] = ~np.logical_and.reduce(same)
    return begins


def ranked(texts: pa.Array, do_repeat: bool) -> tuple[np.ndarray, pa.Array]:
    """Return each text's rank among the different texts, from 0, and the different texts in code-point order.

    Args:
        texts: no nulls.
        do_repeat: whether most texts occur several times: it is then faster to sort the different ones alone.

    Shape:
        texts: strings (n,); results: int64 (n,), strings (number of different texts,)
    """
    if do_repeat:
        encoded = texts.dictionary_encode()
        ranks, ordered = ranked(encoded.dictionary, do_repeat=False)
        return ranks[encoded.indices.to_numpy()], ordered
    order = pl.Series(texts, dtype=pl.String).arg_sort().to_numpy()
    ordered = texts.take(pa.array(order))
    begins = begins_run(ordered)
    ranks = np.empty(len(order), np.int64)
    ranks[order] = np.cumsum(begins) - 1
    return ranks, ordered.filter(pa.array(begins))


def counted(keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the different keys, ascending, and how often each occurs.

    Shape:
        keys: int64 (n,); results: int64 (number of different keys,), int64 (the same)
    """
    ordered = pl.Series(keys).sort().to_numpy()
    begins = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]][: len(ordered)])
    return ordered[begins], np.diff(np.r_[begins, len(ordered)])


def order_of(first: pa.Array, second: pa.Array) -> np.ndarray:
    """Return the order that sorts rows by a column of texts that mostly differ, and equal ones by a second column.

    Shape:
        first, second: strings (n,), no nulls; result: integers (n,)
    """
    order = pl.Series(first, dtype=pl.String).arg_sort().to_numpy()
    begins = begins_run(first.take(pa.array(order)))
    of_several = np.flatnonzero(~(begins & np.r_[begins[1:], True][: len(begins)]))
    if len(of_several):
        rows = order[of_several]
        ranks, texts = ranked(second.take(pa.array(rows)), do_repeat=True)
        keys = np.cumsum(begins)[of_several] * len(texts) + ranks
        order = order.copy()
        order[of_several] = rows[np.argsort(keys, kind="stable")]
    return order
