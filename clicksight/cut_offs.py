"""Learn for which predicted clicks a word fits a picture, so that a search and a prediction can say "nothing fits".

    clicksight cut-offs data/mtmdd/models/MTMDD-VM-star/seed-0 --set data/sets/toy --output cut_offs.parquet
    clicksight index MODEL pictures/ --cut-offs cut_offs.parquet --output pictures.index

In: a model folder of a run with a click branch, and the data set of its training (images, splits, features).
Out: a Parquet file (`schemas.CUT_OFFS`) with a row for each word of the vocabulary.

A word is *right* for a picture if people clicked the picture for a query with that word. A word's cut-off is a value of
its entry of the predicted click feature such that, of the pictures above it, the share --right is right. It is learned
from the validation images of the click log (source), which the weights were not trained on, and holds, with
--confidence for each word, for other pictures of the kind of these images. A word with too little evidence has none.
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
from model.data.images import ImageStore
from model.folder import model_digest
from model.prediction import Predictor, Scored

FILE = "cut_offs.parquet"  # in an index, and beside the weights of a model
RIGHT, CONFIDENCE = 0.9, 0.95
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


def cut_off(values: np.ndarray, is_right: np.ndarray, right: float, confidence: float) -> Evidence | None:
    """Return the smallest value above which a share of all images is right, as far as some images can tell.

    The candidates are 0, since people would not click a picture for a word below it, and of the n positive values the
    (k + 1)th largest ones, with k = n / 2, n / 4 and so on, down to the smallest k that could pass. Given n and that
    value, the k images above it are independent draws from all images above it, and the number of wrong ones is
    binomial. A candidate passes if so few wrong ones are improbable for a share below `right`; Holm's correction over
    the candidates makes `confidence` hold for the one that is chosen.

    Args:
        values: predicted for a word.
        is_right: of each image.
        right: the share, in (0, 1).
        confidence: in (0, 1), the probability at least that the share holds if there is a cut-off.

    Shape:
        values, is_right: (images,)

    Returns:
        The evidence of the smallest cut-off that passes; None: none does.

    Reference:
        Angelopoulos, Bates, Candes, Jordan, Lei, "Learn then Test: Calibrating Predictive Algorithms to Achieve Risk
        Control", arXiv:2110.01052: one hypothesis for each candidate, here with exact binomial p-values.
    """
    order = np.argsort(-values, kind="stable")
    order = order[values[order] > 0]
    ordered = np.append(values[order], 0)
    wrong = np.cumsum(~is_right[order])
    above = []
    k = len(order)
    while k and right**k <= 1 - confidence:
        if ordered[k - 1] > ordered[k]:  # images of equal values can't be told apart
            above.append(k)
        k //= 2
    p_values = stats.binom.cdf(wrong[np.array(above, int) - 1], above, 1 - right)
    passed = []
    for rank, place in enumerate(np.argsort(p_values, kind="stable")):
        if p_values[place] > (1 - confidence) / (len(above) - rank):
            break
        passed.append(above[place])
    if not passed:
        return None
    best = max(passed)
    return Evidence(float(ordered[best]), best, best - int(wrong[best - 1]))


@dataclass(frozen=True)
class CutOffs:
    """The cut-offs of a model's words.

    Attributes:
        words: K names.
        values: of each word, float32 (K,); NaN: it has none.
        right: the share that is promised.
        digest: of the model.
    """

    words: list[str]
    values: np.ndarray
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
        values = table["cut_off"].to_numpy().astype(np.float32)  # null becomes NaN
        return cls(table["word"].to_pylist(), values, float(said[KEYS[2]]), digest)

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


def images_of(predictor: Predictor, data: Path, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the predicted click features of a split's source images, and for which words they were clicked.

    Args:
        predictor: the model.
        data: the folder of the data set of its training.
        split: of the model's seed.

    Shape:
        click features: float32 (images, K); clicked: bool (images, K)

    Raises:
        UserError: the model was trained with another vocabulary, or the split has no image.
    """
    features = data / "features"
    vocabulary = pl.DataFrame(read_tables(features / "vocabulary.parquet", ["word_id", "word"])).sort("word_id")
    if vocabulary["word"].to_list() != list(predictor.words):
        raise UserError(f"{features}/vocabulary.parquet: not the words of the model; name the data set of its training")
    splits = data / f"splits/seed-{predictor.seed}.parquet"
    rows = pl.DataFrame(read_tables(splits)).filter(domain="source", split=split).sort("image_id")
    if rows.is_empty():
        raise UserError(f"{splits}: has no image of the source's split {split!r}")
    clicked = clicked_words(rows, features, len(vocabulary))
    images = ImageStore(data / "ingested/images", rows, predictor.resize, cache=False)
    return click_features(predictor, images), clicked


def cut_offs(
    words: Sequence[str], values: np.ndarray, clicked: np.ndarray, right: float, confidence: float
) -> pa.Table:
    """Return the cut-offs of all words: `schemas.CUT_OFFS`.

    Shape:
        values: (images, K); clicked: bool (images, K)
    """
    found = [cut_off(values[:, word], clicked[:, word], right, confidence) for word in range(len(words))]
    columns = [
        pa.array(words, pa.string()),
        pa.array([one and one.cut_off for one in found], pa.float32()),
        pa.array([one and one.above for one in found], pa.int64()),
        pa.array([one and one.right for one in found], pa.int64()),
        pa.array(clicked.sum(axis=0), pa.int64()),
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
        values, clicked = images_of(predictor, arguments.set, "validation")
        table = cut_offs(predictor.words, values, clicked, arguments.right, arguments.confidence)
        run = f"{predictor.system} {predictor.run}, seed {predictor.seed}"
        said = (model_digest(arguments.model), run, arguments.right, arguments.confidence, len(values))
        write_table(table.replace_schema_metadata(dict(zip(KEYS, map(str, said), strict=True))), arguments.output)
        number = len(table) - table["cut_off"].null_count
        closing.counts = {"validation images": len(values), "words": len(table), "words with a cut-off": number}
        closing.wrote[str(arguments.output)] = f"cut-offs of {number:,} words"
        closing.next_command = f"clicksight predict {arguments.model} PICTURES --cut-offs {arguments.output}"


if __name__ == "__main__":
    main()
