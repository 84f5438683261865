"""Compare the approximate search in an index with the exact one: what it finds of it, and how long both take.

    python -m benchmarks.studies.search_index --model data/mtmdd/models/MTMDD-VM-star/seed-0 --set data/sets/birds50

In: a trained run of mtmdd, and its data set, from whose validation and test images the model's click features come. So
many pictures as an index needs there aren't: each is drawn between the click features of two images, nearer to the
first, with noise in every word (a quarter of the vector's length). Queries are new such pictures, the names of the
categories, and single words of the vocabulary, the 50 most clicked of those that some image is predicted to be clicked
for.

Out: for each share of the lists that is compared, recall at 10 (the share of the exact search's ten pictures that are
found) by the kind of query, and the median time of a search from the files; `exact` compares all pictures (three
searches). Before it: what making the approximate index costs, and what the whole command `clicksight search` costs for
a word with and without it.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa

from base import schemas
from base.artifacts import table_writer, write_json
from base.console import progress
from benchmarks.costs import cost_of
from benchmarks.studies.trained_runs import segment_params
from clicksight import approximate
from clicksight.cut_offs import images_of
from clicksight.entries import FILE, Entries
from clicksight.index import AT_ONCE
from clicksight.models import load_model
from clicksight.queries import known_words, query_vectors
from clicksight.search import Index
from model.folder import model_digest
from model.frozen_features import as_lists
from pipelines.words.segmentation import Segmenter, SegmentParams

ROOT = Path(__file__).parents[2]
K = 10
NOISE = 0.25
BUILD = """
import sys
from pathlib import Path
from clicksight.approximate import FILE, write_approximate
from clicksight.entries import Entries
folder = Path(sys.argv[1])
write_approximate(Entries(folder, int(sys.argv[2])), folder / FILE)
"""  # in a process of its own, whose memory is measured


def drawn(real: np.ndarray, number: int, generator: np.random.Generator) -> np.ndarray:
    """Return click features between pairs of real ones, with noise: float32 (number, K), rows of length 1."""
    first, second = generator.integers(len(real), size=(2, number))
    share = 0.5 * generator.random((number, 1), dtype=np.float32)
    noise = generator.standard_normal((number, real.shape[1]), dtype=np.float32)
    found = real[first] * (1 - share) + real[second] * share + noise * NOISE / np.sqrt(real.shape[1])
    return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)


def write_pictures(real: np.ndarray, number: int, path: Path, generator: np.random.Generator) -> None:
    """Write the pictures of an index, as `clicksight index` does."""
    with table_writer(path, schemas.PICTURE_INDEX) as writer:
        for start in progress(range(0, number, AT_ONCE), "draw", "row groups"):
            size = min(AT_ONCE, number - start)
            names = pa.array([f"p{start + row}" for row in range(size)])
            columns = [names, as_lists(drawn(real, size, generator)), pa.nulls(size, pa.binary())]
            writer.write_table(pa.Table.from_arrays(columns, schema=schemas.PICTURE_INDEX), row_group_size=size)


def write_about(folder: Path, model: Path, words: Sequence[str], segment: SegmentParams) -> None:
    """Write what an index says of itself, as `clicksight index` does."""
    about = {"model": str(model), "digest": model_digest(model), "words": list(words)}
    write_json({**about, "segment": segment.model_dump(mode="json")}, folder / "index.json")


def exact_rows(entries: Entries, queries: np.ndarray) -> list[set[int]]:
    """Return the rows of each query's K most similar pictures, from one pass over all of them."""
    best = np.full((len(queries), K), -np.inf, np.float32)
    rows = np.zeros((len(queries), K), np.int64)
    start = 0
    for clicks in progress(entries.blocks(), "exact", "row groups"):
        cosines = np.concatenate([best, queries @ clicks.T], axis=1)
        numbers = np.concatenate([rows, np.tile(start + np.arange(len(clicks)), (len(queries), 1))], axis=1)
        order = np.argsort(-cosines, axis=1, kind="stable")[:, :K]
        best, rows = np.take_along_axis(cosines, order, 1), np.take_along_axis(numbers, order, 1)
        start += len(clicks)
    return [set(found.tolist()) for found in rows]


def seconds_of(index: Index, vector: np.ndarray, compare_all: bool) -> float:
    """Return the seconds of a search."""
    started = time.perf_counter()
    index.nearest(vector, K, compare_all=compare_all)
    return time.perf_counter() - started


def median(seconds: Sequence[float]) -> str:
    """Return the median of some times, in milliseconds."""
    return f"{1000 * float(np.median(seconds)):,.0f} ms"


def main(argv: Sequence[str] | None = None) -> None:
    """Run the study."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="a model folder")
    parser.add_argument("--set", type=Path, required=True, help="the data set of its training")
    parser.add_argument("--pictures", type=int, default=1_000_000, help="of the index (default: %(default)s)")
    parser.add_argument("--queries", type=int, default=30, help="of each kind, at most (default: %(default)s)")
    parser.add_argument("--shares", nargs="+", type=int, default=[64, 32, 16, 8, 4], help="compare one list of so many")
    arguments = parser.parse_args(argv)
    generator = np.random.default_rng(0)
    model = load_model(arguments.model)
    seen = [images_of(model, arguments.set, split) for split in ("validation", "test")]
    real = np.concatenate([one.values for one in seen])
    names = sorted(set(seen[0].categories))
    segment = segment_params()
    places = [known for known, _ in known_words(names, model.words, Segmenter(segment)) if known]
    clicked = np.flatnonzero((real > 0.1).any(axis=0))[:50]
    every = {
        "pictures": drawn(real, arguments.queries, generator),
        "names": query_vectors(places, np.ones(len(model.words)))[: arguments.queries],
        "words": np.eye(len(model.words), dtype=np.float32)[clicked][: arguments.queries],
    }
    print(f"{arguments.pictures:,} pictures, {len(model.words)} words, {', '.join(map(str, map(len, every.values())))}")
    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_pictures(real, arguments.pictures, folder / FILE, generator)
        write_about(folder, arguments.model, model.words, segment)
        index = Index.read(folder)
        exact = {kind: exact_rows(index.entries, queries) for kind, queries in every.items()}
        built = cost_of([sys.executable, "-c", BUILD, str(folder), str(len(model.words))], ROOT)
        print(f"approximate index: made in {built.cpu_seconds:.0f} CPU seconds, {built.megabytes:,.0f} MB at most")
        sizes = [(folder / name).stat().st_size / 1e6 for name in (FILE, approximate.FILE)]
        print(f"{FILE} {sizes[0]:,.0f} MB, {approximate.FILE} {sizes[1]:,.0f} MB")
        word = model.words[int(clicked[0])]
        for name, options in (("approximate", []), ("exact", ["--exact"])):
            cost = cost_of([sys.executable, "-m", "clicksight.search", str(folder), word, *options], ROOT)
            print(f"clicksight search, {name}: {cost.cpu_seconds:.1f} CPU seconds, {cost.megabytes:,.0f} MB at most")
        print("| lists compared | pictures | names | words | time |\n|---|---|---|---|---|")
        times = [seconds_of(index, vector, True) for queries in every.values() for vector in queries[:1]]
        print(f"| exact | 1 | 1 | 1 | {median(times)} |", flush=True)
        for share in arguments.shares:
            approximate.SHARE = share
            times, recalls = [], {}
            for kind, queries in every.items():
                found = []
                for vector in queries:
                    times.append(seconds_of(index, vector, False))
                    found.append({one.row for one in index.nearest(vector, K)})
                recalls[kind] = np.mean([len(a & b) / K for a, b in zip(found, exact[kind], strict=True)])
            shown = " | ".join(f"{recall:.3f}" for recall in recalls.values())
            print(f"| 1 of {share} | {shown} | {median(times)} |", flush=True)


if __name__ == "__main__":
    main()
