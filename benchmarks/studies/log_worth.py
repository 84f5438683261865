"""What the words of a click log are worth without its category names, and against a shuffled log.

    python -m benchmarks.studies.log_worth --data data/sets/toy --features data/siamese/labels/embedded \\
        --work .state/log-worth

The benchmark needs a prepared data set (`python -m flows.reproduce --targets siamese:recipes segment@toy`): images,
click log, queries cut into words, labels from clicks, splits of the parameter file's seeds, and frozen features. A
small head (`siamese.frozen`, as in `systems.siamese.frozen`) recognises the target's test images. It trains on 0, 1, 3
or all labelled target images of each category, and on the source in one of these ways:

- nothing: the target images alone;
- words: a head first learns from the source's images to predict the words of their clicks (in shares of the clicks).
  Its hidden units are more inputs of the target's head, so a category's name is never read as a label;
- words without names: the same without any word that `label_from_clicks` takes for a word of a name, in any form;
- shuffled words: the same with a log whose images were exchanged at random (`benchmarks.click_control`);
- labels from clicks: the source's images with the best category of `label_from_clicks`;
- labels, shuffled: the same from the shuffled log.

The control is the shuffled log: its words have the same frequencies, so what the words add above it comes from what
they say of the images. The benchmark also denoises the labels from the shuffled log, which must be refused. It prints a
Markdown table: accuracy in percent, and beside it the paired difference to `nothing` in points, with 95 % intervals
over seeds and images (`report/intervals.py`). Without target images there is nothing to compare with, and words alone
name no category.
"""

import argparse
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
import torch

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))  # so that the module also runs as a file

from base.artifacts import read_tables  # noqa: E402
from base.console import UserError  # noqa: E402
from base.params import DEFAULT_PATH, load_section, read_seeds  # noqa: E402
from base.seeding import derive_seed  # noqa: E402
from benchmarks.click_control import exchange_images  # noqa: E402
from model.heads import HeadParams, logits_of, train_head  # noqa: E402
from model.measures.accuracy import accuracy  # noqa: E402
from report.intervals import accuracy_interval, paired, unit_values  # noqa: E402
from systems.cleaning import denoise  # noqa: E402
from systems.siamese.frozen import read_components  # noqa: E402
from systems.siamese.labels import with_targets  # noqa: E402

TOP_WORDS = 1000
TARGETS = (0, 1, 3, None)
NOTHING = "nothing"


def words_of_images(
    clicks: pl.DataFrame, queries: pl.DataFrame, images: Sequence[str], without: set[str]
) -> np.ndarray:
    """Return the share of each word in an image's clicks: float32 (images, words); rows sum to 1, or 0.

    The words are the `TOP_WORDS` most clicked ones (ties: by name) that at least two of the images have.

    Args:
        clicks: `query`, `image_id`, `clicks`.
        queries: `query`, `words`.
        images: ids, which are the rows of the result.
        without: words that are left out.
    """
    place = pl.DataFrame({"image_id": images}).with_row_index("image")
    pairs = (
        clicks.join(place, on="image_id")
        .join(queries.explode("words").drop_nulls(), on="query")
        .filter(~pl.col("words").is_in(sorted(without)))
        .group_by("image", "words")
        .agg(pl.col("clicks").sum())
    )
    words = pairs.group_by("words").agg(pl.col("clicks").sum(), pl.len()).filter(pl.col("len") >= 2)
    chosen = words.sort(["clicks", "words"], descending=[True, False]).head(TOP_WORDS).with_row_index("word")
    known = pairs.join(chosen.select("words", "word"), on="words")
    result = np.zeros((len(images), len(chosen)), np.float32)
    result[known["image"].to_numpy(), known["word"].to_numpy()] = known["clicks"].to_numpy()
    sums = result.sum(axis=1, keepdims=True)
    return result / np.where(sums > 0, sums, 1)


def with_hidden(x: np.ndarray, source: np.ndarray, shares: np.ndarray, params: HeadParams, seed: int) -> np.ndarray:
    """Return the inputs with the hidden units of a head that predicts words, scaled to a mean square of 1.

    Args:
        x: principal components of all images.
        source: the rows of `x` of the images whose words are known.
        shares: their words.
        params: of the head.
        seed: of the head.

    Shape:
        x: (N, D); source: int (M,); shares: (M, W), rows sum to 1 or 0; result: float32 (N, D + hidden)
    """
    has_words = shares.sum(axis=1) > 0
    net = train_head(x[source[has_words]], shares[has_words], params, seed)
    with torch.inference_mode():
        hidden = torch.relu(net[1](torch.from_numpy(x))).numpy()
    return np.concatenate([x, hidden / np.sqrt((hidden[source] ** 2).mean())], axis=1)


def one_hot(labels: Sequence[str], categories: Sequence[str]) -> np.ndarray:
    """Return labels as probabilities: float32 (N, C)."""
    return np.eye(len(categories), dtype=np.float32)[np.searchsorted(categories, np.array(labels, dtype=object))]


def labels_from(folder: Path, images: pl.DataFrame, categories: Sequence[str]) -> pl.DataFrame:
    """Return the source images that clicks name one of the categories: `place`, `category`."""
    rows = pl.DataFrame(read_tables(folder / "labels", ["image_id", "category"])).drop_nulls()
    named = rows.filter(pl.col("category").is_in(list(categories)))
    return images.filter(domain="source").join(named, on="image_id").select("place", "category").sort("place")


def units_of_seed(arguments: argparse.Namespace, params: HeadParams, seed: int, sources: "Sources") -> pl.DataFrame:
    """Train all heads of a seed; return `schemas.UNITS` with the columns `arm`, `targets` and `seed`."""
    rows = pl.DataFrame(read_tables(arguments.data / f"splits/seed-{seed}.parquet")).filter(domain="target")
    rows = rows.join(sources.images, on=["domain", "image_id"])
    categories = sorted(rows["category"].unique())
    inputs: dict[str, np.ndarray] = {NOTHING: sources.x}
    place = sources.images.filter(domain="source")["place"].to_numpy()
    for arm, shares in sources.words.items():
        inputs[arm] = with_hidden(sources.x, place, shares, params, derive_seed(seed, "words"))
    labelled = {arm: labels_from(folder, sources.images, categories) for arm, folder in sources.labels.items()}
    tables = []
    for targets in TARGETS:
        split = with_targets(rows, seed, targets).join(sources.images, on=["domain", "image_id"])
        trained, tested = split.filter(split="train"), split.filter(split="test")
        expected = np.searchsorted(categories, tested["category"].to_numpy())
        for arm in (*inputs, *labelled):
            known = trained.select("place", "category")
            if arm in labelled:
                known = pl.concat([labelled[arm], known.cast(labelled[arm].schema)])
            if known.is_empty():
                continue
            x, own = inputs.get(arm, sources.x), known["place"].to_numpy()
            head = train_head(
                x[own], one_hot(known["category"].to_list(), categories), params, derive_seed(seed, "head")
            )
            best = logits_of(head, x[tested["place"].to_numpy()]).argmax(axis=1)
            units = accuracy("accuracy", tested["image_id"].to_list(), best, expected)
            described = {"arm": arm, "targets": -1 if targets is None else targets, "seed": seed}
            tables.append(units.with_columns(**{name: pl.lit(value) for name, value in described.items()}))
    return pl.concat(tables)


class Sources:
    """What the arms learn from.

    Attributes:
        images: `domain`, `image_id`, and `place`, the row in `x`.
        x: principal components of all images.
        words: shares of words of the source's images, by arm.
        labels: folders of `label_from_clicks`, by arm.
    """

    def __init__(self, arguments: argparse.Namespace, params: HeadParams) -> None:
        data, work = arguments.data, arguments.work
        self.images, self.x = read_components(arguments.features, params.components)
        shuffled = work / "shuffled"
        if not shuffled.exists():
            exchange_images(data / "ingested", shuffled)
        if not (work / "shuffled_labels").exists():
            command = ["pipelines.label_from_clicks", "--clicks", shuffled / "clicks", "--ingested"]
            command += ["--categories", data / "ingested/images", "--params", arguments.params]
            if arguments.aliases is not None:
                command += ["--aliases", arguments.aliases]
            command += ["--output", work / "shuffled_labels"]
            subprocess.run([sys.executable, "-m", *map(str, command)], check=True, cwd=ROOT)
        self.labels = {"labels from clicks": data / "click_labels", "labels, shuffled": work / "shuffled_labels"}
        logs = {"": data / "ingested/clicks", "shuffled ": shuffled / "clicks"}
        clicks = {name: pl.DataFrame(read_tables(log, ["query", "image_id", "clicks"])) for name, log in logs.items()}
        queries = pl.DataFrame(read_tables(arguments.queries))
        names = pl.DataFrame(read_tables(data / "click_labels/words.parquet"))
        of_names = {*names["word"], *names["forms"].explode().drop_nulls()}
        source = self.images.filter(domain="source")["image_id"].to_list()
        self.words = {
            "words": words_of_images(clicks[""], queries, source, set()),
            "words without names": words_of_images(clicks[""], queries, source, of_names),
            "shuffled words": words_of_images(clicks["shuffled "], queries, source, set()),
        }


def table(units: pl.DataFrame, seeds: Sequence[int]) -> list[str]:
    """Return the Markdown table: a row per arm, for each number of target images accuracy and difference to nothing."""
    heads = {0: "no target labels", 1: "1 a category", 3: "3 a category", -1: "all but the tests"}
    lines = [
        f"| seeds {', '.join(map(str, seeds))} | " + " | ".join(f"{text} | − nothing" for text in heads.values()) + " |"
    ]
    lines.append("|---|" + "---:|" * 2 * len(heads))
    for arm in units["arm"].unique(maintain_order=True):
        cells = []
        for targets in heads:
            mine, plain = (units.filter(arm=name, targets=targets).drop("arm", "targets") for name in (arm, NOTHING))
            if mine.is_empty():
                cells += ["–", "–"]
                continue
            mean, low, high = (100 * value for value in accuracy_interval(unit_values(mine)))
            cells.append(f"{mean:.1f} ({low:.1f} to {high:.1f})")
            if arm == NOTHING or plain.is_empty():
                cells.append("–")
            else:
                found = paired(mine, plain).scaled(100).interval()
                cells.append(f"{found.mean:+.1f} ({found.low:+.1f} to {found.high:+.1f})")
        lines.append(f"| {arm} | " + " | ".join(cells) + " |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the prepared data set")
    parser.add_argument("--features", type=Path, required=True, help="frozen features, from systems.cleaning.embed")
    parser.add_argument("--queries", type=Path, help="words of the queries (default: DATA/features/queries)")
    parser.add_argument("--aliases", type=Path, help="the raw data set's folder, if it has names.tsv")
    parser.add_argument("--work", type=Path, required=True, help="folder for the shuffled log and its labels")
    parser.add_argument("--params", type=Path, default=DEFAULT_PATH)
    arguments = parser.parse_args()
    arguments.queries = arguments.queries or arguments.data / "features/queries"
    arguments.params, arguments.work = arguments.params.resolve(), arguments.work.resolve()
    arguments.data = arguments.data.resolve()
    params, seeds = load_section(HeadParams, "siamese.frozen", arguments.params), read_seeds(arguments.params)
    arguments.work.mkdir(parents=True, exist_ok=True)
    sources = Sources(arguments, params)
    units = pl.concat([units_of_seed(arguments, params, seed, sources) for seed in seeds])
    print("\n".join(table(units, seeds)))
    of_denoise = load_section(denoise.DenoiseParams, "cleaning.denoise", arguments.params)
    known = sources.images.filter(domain="source")["image_id"]
    try:
        denoise.run(
            arguments.work / "shuffled_labels/labels",
            arguments.features,
            arguments.work / "denoised",
            of_denoise,
            known,
        )
        print("\nThe labels from the shuffled log were NOT refused.")
    except UserError as error:
        print(f"\nThe labels from the shuffled log are refused: {error}")


if __name__ == "__main__":
    main()
