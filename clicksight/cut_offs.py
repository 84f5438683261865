"""Learn for which predicted clicks a word fits a picture, so that a search and a prediction can say "nothing fits".

    clicksight cut-offs data/mtmdd/models/MTMDD-VM-star/seed-0 --set data/sets/toy --output cut_offs.parquet
    clicksight index MODEL pictures/ --cut-offs cut_offs.parquet --output pictures.index

In: a model folder of a run with a click branch, and the data set of its training (images, splits, features).
Out: a Parquet file (`schemas.CUT_OFFS`) with a row for each word of the vocabulary and for each name of a category.

- A *word* is right for a picture if people clicked the picture for a query with that word. Its cut-off is a value of
  its entry of the predicted click feature such that, of the pictures above it, the share --right is right. It is
  learned from the clicks of the log's validation images (source). A word with too little evidence has none.
- The *name* of a category is right for a picture of that category. Few pictures are of each, so that all names share
  one cut-off: a cosine of the name, as a query, and the predicted click feature. It is learned from the categories that
  the validation images of both domains are given.

The weights were not trained on validation images. A cut-off holds with --confidence, for each word and for the names
together, for other pictures of the kind of these images.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from scipy import stats

from base import schemas
from base.artifacts import read_tables, reading, write_table
from base.console import UserError, progress, stage
from clicksight.models import load_model
from clicksight.queries import known_words, query_vectors
from model.data.images import ImageStore
from model.folder import model_digest
from model.prediction import Predictor, Scored
from pipelines.words.segmentation import Segmenter, add_segment_options, segment_params_of

WORD, NAME = "word", "name"  # kinds of rows
FILE = "cut_offs.parquet"  # in an index, and beside the weights of a model
RIGHT, CONFIDENCE = 0.9, 0.95
STEPS = 2  # candidates while the number of images halves: more need a stronger correction for their number
BATCH = 64
KEYS = ("clicksight.model", "clicksight.run", "clicksight.right", "clicksight.confidence", "clicksight.images")


class Evidence(NamedTuple):
    """A word's cut-off and the images that speak for it.

    Attributes:
        cut_off: a word fits a picture if the picture's entry of the predicted click feature is larger; 0 or more.
        above: number of images above it.
        right: of these, the number of images that were clicked for the word.
    """

    cut_off: float
    above: int
    right: int


def cut_off(
    values: np.ndarray, is_right: np.ndarray, right: float, confidence: float, others: np.ndarray | None = None
) -> Evidence | None:
    """Return the smallest value above which a share of all images is right, as far as some images can tell.

    The candidates are 0, since people would not click a picture for a word below it, and of the n positive values the
    (k + 1)th largest ones, with k = n / sqrt 2, n / 2 and so on, down to the smallest k that could pass. Given n and
    that value, the k images above it are independent draws from all images above it, and the number of wrong ones is
    binomial. A candidate passes if so few wrong ones are improbable for a share below `right`; Holm's correction over
    the candidates makes `confidence` hold for the one that is chosen.

    Args:
        values: of each image, its largest one if several things may fit it.
        is_right: of each image, whether that fits.
        right: the share, in (0, 1).
        confidence: in (0, 1), the probability at least that the share holds if there is a cut-off.
        others: each image's second largest value; an image with that above the cut-off counts as wrong, too.

    Shape:
        values, is_right, others: (images,)

    Returns:
        The evidence of the smallest cut-off that passes; None: none does.

    Reference:
        Angelopoulos, Bates, Candes, Jordan, Lei, "Learn then Test: Calibrating Predictive Algorithms to Achieve Risk
        Control", arXiv:2110.01052: one hypothesis for each candidate, here with exact binomial p-values.
    """
    order = np.argsort(-values, kind="stable")
    order = order[values[order] > 0]
    ordered = np.append(values[order], 0)
    candidates = []
    step = 0
    while (k := int(len(order) / 2 ** (step / STEPS))) and right**k <= 1 - confidence:
        if ordered[k - 1] > ordered[k]:  # images of equal values can't be told apart
            fits = is_right[order[:k]]
            if others is not None:
                fits = fits & (others[order[:k]] <= ordered[k])
            candidates.append(Evidence(float(ordered[k]), k, int(fits.sum())))
        step += 1
    p_values = [stats.binom.cdf(one.above - one.right, one.above, 1 - right) for one in candidates]
    passed = []
    for rank, place in enumerate(np.argsort(p_values, kind="stable")):
        if p_values[place] > (1 - confidence) / (len(candidates) - rank):
            break
        passed.append(candidates[place])
    return max(passed, key=lambda one: one.above, default=None)


@dataclass(frozen=True)
class CutOffs:
    """The cut-offs of a model's words.

    Attributes:
        words: the vocabulary, K names.
        values: of each word, float32 (K,); NaN: it has none.
        names: of categories.
        cosine: the cut-off of each name; NaN: there is none.
        right: the share that is promised.
        digest: of the model.
    """

    words: list[str]
    values: np.ndarray
    names: list[str]
    cosine: float
    right: float
    digest: str

    @classmethod
    def read(cls, path: Path, digest: str) -> "CutOffs":
        """Read the file of a model.

        Args:
            path: what `clicksight cut-offs` wrote.
            digest: of the model.

        Raises:
            UserError: it is no such file, or another model's.
        """
        if not path.is_file():
            raise UserError(f"{path}: no such file; make it by clicksight cut-offs")
        with reading(path):
            table = pq.read_table(path)
        said = {key.decode(): value.decode() for key, value in (table.schema.metadata or {}).items()}
        if not table.schema.equals(schemas.CUT_OFFS) or not set(KEYS) <= set(said):
            raise UserError(f"{path}: not as clicksight cut-offs writes it")
        if said[KEYS[0]] != digest:
            raise UserError(f"{path}: made for another model ({said[KEYS[1]]}); make it again by clicksight cut-offs")
        rows = pl.DataFrame(table).with_columns(pl.col("cut_off").fill_null(np.nan))
        words, names = rows.filter(kind=WORD), rows.filter(kind=NAME)
        cosine = float(names["cut_off"][0])  # that of all names
        right, values = float(said[KEYS[2]]), words["cut_off"].to_numpy()
        return cls(words["name"].to_list(), values, names["name"].to_list(), cosine, right, digest)

    @property
    def number(self) -> int:
        """The number of words that have a cut-off."""
        return int((~np.isnan(self.values)).sum())

    def fitting(self, words: Sequence[Scored]) -> list[Scored]:
        """Return the words of a prediction that are above their cut-offs, in their order."""
        known = dict(zip(self.words, self.values, strict=True))
        return [word for word in words if word.value > known[word.name]]  # False for NaN


@torch.no_grad()
def click_features(predictor: Predictor, images: ImageStore) -> np.ndarray:
    """Return the predicted click features of a data set's images: float32 (images, K)."""
    found = []
    for start in progress(range(0, len(images), BATCH), "predict", "batches"):
        rows = range(start, min(start + BATCH, len(images)))
        squares = np.stack([images.crop(row, predictor.image_size, 0, None) for row in rows])
        found.append(predictor.click_features(torch.from_numpy(squares).permute(0, 3, 1, 2).contiguous()).numpy())
    return np.concatenate(found)


def clicked_words(rows: pl.DataFrame, features: Path, num_words: int) -> np.ndarray:
    """Return for which words people clicked images: bool (images, K).

    Args:
        rows: the images, with the column image_id.
        features: the folder of click features.
        num_words: K.

    Raises:
        UserError: an image has no row of click features.
    """
    known = pl.DataFrame(read_tables(features / "click_features", ["image_id", "word_ids"]))
    joined = rows.select("image_id").join(known, on="image_id", how="left", maintain_order="left")
    if joined["word_ids"].null_count():
        missing = joined.filter(pl.col("word_ids").is_null())["image_id"][0]
        raise UserError(f"{features}/click_features: no row of image {missing!r}; make the features again")
    clicked = np.zeros((len(rows), num_words), bool)
    for row, word_ids in enumerate(joined["word_ids"]):
        clicked[row, word_ids.to_numpy()] = True
    return clicked


def check_vocabulary(predictor: Predictor, data: Path) -> None:
    """Check that a model was trained with a data set's vocabulary.

    Raises:
        UserError: it has other words.
    """
    path = data / "features/vocabulary.parquet"
    vocabulary = pl.DataFrame(read_tables(path, ["word_id", "word"])).sort("word_id")
    if vocabulary["word"].to_list() != list(predictor.words):
        raise UserError(f"{path}: not the words of the model; name the data set of its training")


class Seen(NamedTuple):
    """Images of a data set, as a model sees them.

    Attributes:
        values: predicted click features (images, K).
        categories: of the images.
        clicked: for which words they were clicked, bool (images, K); the rows of the target are False.
        is_source: bool (images,).
    """

    values: np.ndarray
    categories: np.ndarray
    clicked: np.ndarray
    is_source: np.ndarray


def images_of(predictor: Predictor, data: Path, split: str) -> Seen:
    """Return the images of a split of the model's seed, those of the source first.

    Args:
        predictor: the model.
        data: the folder of the data set of its training.
        split: train, validation or test.

    Raises:
        UserError: the split has no image of the source.
    """
    path = data / f"splits/seed-{predictor.seed}.parquet"
    rows = pl.DataFrame(read_tables(path)).filter(split=split).sort("domain", "image_id")
    source = rows.filter(domain="source")
    if source.is_empty():
        raise UserError(f"{path}: has no image of the source's split {split!r}")
    clicked = np.zeros((len(rows), len(predictor.words)), bool)
    clicked[: len(source)] = clicked_words(source, data / "features", len(predictor.words))
    images = ImageStore(data / "ingested/images", rows, predictor.resize, cache=False)
    is_source = (rows["domain"] == "source").to_numpy()
    return Seen(click_features(predictor, images), rows["category"].to_numpy(), clicked, is_source)


def of_words(seen: Seen, right: float, confidence: float) -> list[Evidence | None]:
    """Return the evidence of every word, from the images of the source."""
    values, clicked = seen.values[seen.is_source], seen.clicked[seen.is_source]
    return [cut_off(values[:, word], clicked[:, word], right, confidence) for word in range(values.shape[1])]


def of_names(seen: Seen, names: Sequence[str], vectors: np.ndarray, right: float, confidence: float) -> Evidence | None:
    """Return the evidence of all names together: an image is right if it is above with its own name alone.

    Shape:
        vectors: of the names as queries (names, K)
    """
    cosines = np.column_stack([seen.values @ vectors.T, np.full(len(seen.values), -np.inf)])  # at least two columns
    ranked = np.argsort(-cosines, axis=1, kind="stable")[:, :2]
    largest, second = np.take_along_axis(cosines, ranked, axis=1).T
    is_right = np.array([*names, ""], object)[ranked[:, 0]] == seen.categories
    return cut_off(largest, is_right, right, confidence, second)


def table_of(seen: Seen, words: Sequence[str], segmenter: Segmenter, right: float, confidence: float) -> pa.Table:
    """Return the cut-offs of all words, and of the names of the images' categories: `schemas.CUT_OFFS`."""
    names = sorted(set(seen.categories))
    vectors = query_vectors([places for places, _ in known_words(names, words, segmenter)], np.ones(len(words)))
    shared = of_names(seen, names, vectors, right, confidence)
    found = [*of_words(seen, right, confidence), *[shared] * len(names)]
    images = [*seen.clicked.sum(axis=0).tolist(), *((seen.categories == name).sum() for name in names)]
    columns = [
        pa.array([WORD] * len(words) + [NAME] * len(names), pa.string()),
        pa.array([*words, *names], pa.string()),
        pa.array([one and one.cut_off for one in found], pa.float32()),
        pa.array([one and one.above for one in found], pa.int64()),
        pa.array([one and one.right for one in found], pa.int64()),
        pa.array(images, pa.int64()),
    ]
    return pa.Table.from_arrays(columns, schema=schemas.CUT_OFFS)


def build_parser() -> argparse.ArgumentParser:
    """Return the command's parser."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="the model folder")
    parser.add_argument("--set", type=Path, required=True, metavar="DIR", help="the data set of its training")
    parser.add_argument("--output", type=Path, required=True, help="Parquet file to write")
    parser.add_argument("--right", type=float, default=RIGHT, help="the share that is promised (default: %(default)s)")
    parser.add_argument(
        "--confidence", type=float, default=CONFIDENCE, help="of the promise, for each word (default: %(default)s)"
    )
    add_segment_options(parser)  # as for the click features of the training
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command."""
    arguments = build_parser().parse_args(argv)
    with stage("cut-offs") as closing:
        for option, value in (("--right", arguments.right), ("--confidence", arguments.confidence)):
            if not 0 < value < 1:
                raise UserError(f"{option} {value}: a share between 0 and 1 expected, as in 0.9")
        if arguments.output.suffix != ".parquet":
            raise UserError(f"--output {arguments.output}: a name with the suffix .parquet expected")
        predictor = load_model(arguments.model)
        if not predictor.words:
            raise UserError(f"{arguments.model}: predicts no clicks; use a run of mtmdd with a click branch")
        segment = segment_params_of(arguments)
        segmenter = Segmenter(segment)
        check_vocabulary(predictor, arguments.set)
        seen = images_of(predictor, arguments.set, "validation")
        table = table_of(seen, predictor.words, segmenter, arguments.right, arguments.confidence)
        run = f"{predictor.system} {predictor.run}, seed {predictor.seed}"
        said = (model_digest(arguments.model), run, arguments.right, arguments.confidence, int(seen.is_source.sum()))
        write_table(table.replace_schema_metadata(dict(zip(KEYS, map(str, said), strict=True))), arguments.output)
        rows = pl.DataFrame(table)
        closing.counts = {"validation images": len(seen.values), "of the click log": int(seen.is_source.sum())}
        for kind in (WORD, NAME):
            of_kind = rows.filter(kind=kind)["cut_off"]
            closing.counts |= {f"{kind}s": len(of_kind), f"{kind}s with a cut-off": of_kind.count()}
        number = rows["cut_off"].count()
        closing.wrote[str(arguments.output)] = f"{number:,} cut-offs"
        closing.next_command = f"clicksight predict {arguments.model} PICTURES --cut-offs {arguments.output}"


if __name__ == "__main__":
    main()
