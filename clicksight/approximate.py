"""An approximate index beside the exact one, for more pictures than a search should compare one by one.

The library is faiss (Johnson, Douze, Jegou, "Billion-scale similarity search with GPUs", IEEE Transactions on Big Data
2021). Its inverted file divides the click features into lists by k-means and compares a query with the lists of the
nearest centres only. The lists stay on the disk and are mapped into memory, so that a search reads a part of them;
hnswlib, an alternative, needs all click features in memory for every search.

Entries are kept as float16, 2 K bytes a picture, so that cosines have three digits. While the index is made, all of
them are in memory.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from base.artifacts import whole_file
from base.console import UserError
from base.seeding import derive_seed
from clicksight.entries import Entries

FILE = "approximate.faiss"  # in an index
LISTS_PER_ROOT = 4  # lists for each unit of the square root of the number of pictures, as faiss recommends
TRAINED_ON = 40  # pictures for each list; k-means needs no more
SHARE = 4  # a search compares one list of so many: docs/search.md has the recall


def num_lists(num_pictures: int) -> int:
    """Return the number of lists; each has at least `TRAINED_ON` pictures on average."""
    return max(1, min(round(LISTS_PER_ROOT * num_pictures**0.5), num_pictures // TRAINED_ON))


def sample(blocks: Iterable[np.ndarray], num_pictures: int, wanted: int) -> np.ndarray:
    """Return about so many of the pictures' click features, chosen at random, the same in every run: (wanted, K)."""
    generator = np.random.default_rng(derive_seed(0, "approximate index", num_pictures))
    return np.concatenate([block[generator.random(len(block)) < wanted / num_pictures] for block in blocks])


def write_approximate(entries: Entries, output: Path) -> int:
    """Write the approximate index of pictures, whole or not at all; return the number of its lists.

    Args:
        entries: the pictures, at least one.
        output: the file.
    """
    import faiss  # takes a second, and small indexes don't need it

    number = len(entries)
    lists = num_lists(number)
    chosen = sample(entries.blocks(), number, min(number, lists * TRAINED_ON))
    if len(chosen) < lists:  # by chance, with very few pictures
        chosen = np.concatenate(list(entries.blocks()))
    index: Any = faiss.index_factory(chosen.shape[1], f"IVF{lists},SQfp16", faiss.METRIC_INNER_PRODUCT)
    index.train(chosen)
    for block in entries.blocks():
        index.add(block)
    with whole_file(output) as path:
        faiss.write_index(index, str(path))
    return lists


def nearest(file: Path, vector: np.ndarray, number: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the rows of the most similar pictures, their cosines, and their click features, the most similar first.

    Args:
        file: of `write_approximate`.
        vector: of a query, of length 1.
        number: pictures at most.

    Shape:
        vector: (K,); results: int64 (found,), float32 (found,), float32 (found, K)

    Raises:
        UserError: the file can't be read, or its vectors have another length.
    """
    import faiss

    try:
        index: Any = faiss.read_index(str(file), faiss.IO_FLAG_MMAP | faiss.IO_FLAG_READ_ONLY)
    except RuntimeError as error:
        raise UserError(f"{file}: cannot be read by faiss ({error}); make the index again") from None
    if index.d != len(vector):
        raise UserError(f"{file}: its vectors have another length than the words of the index; make it again")
    index.nprobe = max(1, index.nlist // SHARE)
    cosines, rows, clicks = index.search_and_reconstruct(vector[None].astype(np.float32), number)
    found = rows[0] >= 0  # -1 where the lists have fewer pictures
    return rows[0][found], cosines[0][found], clicks[0][found]
