"""DCKT from one real set of image-text pairs to another, with its studies and the methods compared with it.

    python -m benchmarks.studies.transfer --place FOLDER --source fashion_en --target movies_en --pairs 10 40

The sets are beside the repository, in ../shared/data: `fashion_en` (products and their names), `movies_en` (posters and
plots) and `openclipart` (drawings and their titles; the category is the first of a drawing's labels). `fashion_en_1`
has the first, third, .. category of `fashion_en`, and `fashion_en_2` the others: one domain with other labels, so that
one must help the other. Image features are MobileNetV2's, computed once. Text features are the mean and maximum of
GloVe vectors: a word CNN would have seen the labels that `--pairs` hides, and that of one set can't read another's
texts. Everything else is as in params.yaml, unless `--set` changes it.

The benchmark runs the stages of stages/dckt/dvc.yaml in this process, without DVC, and continues where it was stopped:
FOLDER/SOURCE-TARGET has the layout of data/dckt, and a parameter file. In the end it prints the table of results; the
report with all tables, plots and claims is in its folder `report`.
"""

import argparse
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl
from ruamel.yaml import YAML

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))  # so that the module also runs as a file

from base.params import read_params  # noqa: E402
from pipelines.words import click_features, click_matrix, segment, vocabulary  # noqa: E402
from systems.dckt import compare, embed, evaluate, ingest, recipes, split, text_features, train, vectors  # noqa: E402
from systems.dckt.config import BASELINES, BEFORE, FULL, SOURCE, TARGET, read_run  # noqa: E402
from systems.dckt.report import write  # noqa: E402

SHARED = ROOT.parent / "shared"
VECTORS = "data/word_vectors_en/glove_twitter_25d.parquet"
FASHION = ("data/fashion_en/pairs.parquet", {"id": "pair_id"})
SETS: Mapping[str, tuple[str, dict[str, str]]] = {  # file, and its names of our columns
    "fashion_en": FASHION,
    "fashion_en_1": FASHION,
    "fashion_en_2": FASHION,
    "movies_en": ("data/movies_en/items.parquet", {"id": "item_id"}),
    "openclipart": ("data/openclipart/items.parquet", {"id": "item_id", "text": "title"}),
}
NETWORKS = (FULL, BEFORE, "no_mmd", "fine_tuned", "all", "texts_shuffled", "media", "correlation", "random")
ALPHAS = (0.01, 0.05, 0.1, 0.4, 0.6, 0.8, 1.0)
IMAGES = {
    "backbone": "mobilenet_v2",
    "weights": "weights/mobilenet_v2_imagenet.safetensors",
    "image_size": 129,
    "resize": 129,
    "batch_size": 32,
    "threads": 1,
}


def made_table(name: str, path: Path) -> pl.DataFrame | None:
    """Return the pairs of a set that is not a file as it is; None: it is.

    Args:
        name: of the set.
        path: the file of which it is made.
    """
    if name == "openclipart":
        table = pl.read_parquet(path).with_columns(category=pl.col("labels").list.first())
        return table.select("item_id", "title", "category", "image")
    if name in ("fashion_en_1", "fashion_en_2"):
        table = pl.read_parquet(path)
        categories = sorted(table["category"].unique())[int(name[-1]) - 1 :: 2]
        return table.filter(pl.col("category").is_in(categories))
    return None


def domain_params(name: str, place: Path, common: Mapping[str, Any]) -> dict[str, Any]:
    """Return a set's entry in `dckt.data.domains`.

    Args:
        name: of the set.
        place: folder for a table that has to be made.
        common: the entry of params.yaml, of which the splits are taken.
    """
    path, columns = SETS[name]
    pairs = SHARED / path
    if (table := made_table(name, pairs)) is not None:
        pairs = place / f"{name}.parquet"
        table.write_parquet(pairs)
    splits = {**common["splits"], "splits": "drawn", "least_pairs": 20}
    return {
        "pairs": str(pairs), "layout": "table", "columns": columns, "word_vectors": str(SHARED / VECTORS),
        "splits": splits,
    }  # fmt: skip


def parameters(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the content of the parameter file."""
    params: dict[str, Any] = read_params(ROOT / "params.yaml")
    section = params["dckt"]
    common = section["data"]["domains"][TARGET]
    params["seeds"] = list(range(arguments.seeds))
    # Products on white look alike: of pairs at 31 to 48 bits most are other articles, and groups of copies grow large.
    section["data"]["ingest"]["duplicate_distance"] = 16
    for domain, name in ((SOURCE, arguments.source), (TARGET, arguments.target)):
        section["data"]["domains"][domain] = domain_params(name, arguments.place, common)
    section["features"]["images"] = {**IMAGES, "weights": str(SHARED / str(IMAGES["weights"]))}
    section["features"]["texts"] = "word vectors"
    limits = [f"_pairs={number}" for number in arguments.pairs]
    networks = [f"{run}{limit}" for limit in limits for run in arguments.networks]
    networks += [f"alpha={alpha}{limits[-1]}" for alpha in (ALPHAS if arguments.alphas else ())]
    section["runs"] = {
        "networks": networks,
        "baselines": [f"{run}{limit}" for limit in limits for run in arguments.baselines],
    }
    section["report"] = {
        "data_set": f"{arguments.source} to {arguments.target}",
        "note": "Sets of no paper: no number can be compared with a published one.",
    }
    for change in arguments.set:
        path, _, value = change.partition("=")
        *steps, last = path.split(".")
        changed = section
        for step in steps:
            changed = changed[step]
        changed[last] = YAML(typ="safe").load(value)
    return params


def make(main: Callable[[Sequence[str]], None], output: Path, *options: object) -> None:
    """Run a stage unless its output exists."""
    if not output.exists():
        main([*map(str, options), "--output", str(output)])


def prepare(data: Path, domain: str, params: Path) -> None:
    """Run the stages of a domain: pairs, splits, words, and the features of images and texts."""
    folder, file = data / domain, ("--params", params)
    pairs, texts, words = folder / "ingested", folder / "ingested/texts", folder / "words"
    images = ("--images", folder / "splits/images.parquet")
    make(ingest.main, pairs, "--domain", domain, *file)
    make(split.main, folder / "splits", "--domain", domain, "--ingested", pairs, *file)
    make(embed.main, folder / "embedded", "--domain", domain, "--pairs", pairs / "pairs", *file)
    make(segment.main, words / "queries", "--clicks", texts, *file)
    log = ("--clicks", texts, "--queries", words / "queries", *images)
    make(vocabulary.main, words / "vocabulary.parquet", *log, "--split", images[1], *file)
    make(click_matrix.main, words / "click_matrix", *log, "--vocabulary", words / "vocabulary.parquet")
    matrix = ("--click-matrix", words / "click_matrix", "--vocabulary", words / "vocabulary.parquet")
    make(click_features.main, words / "click_features", *matrix)
    make(vectors.main, folder / "word_vectors.parquet", "--domain", domain, "--queries", words / "queries", *file)
    make(text_features.main, folder / "text_features", "--domain", folder, *file)


def train_and_measure(data: Path, params: Path, runs: Sequence[str], seeds: Sequence[int]) -> None:
    """Train and measure every run with every seed, all runs of a seed before the next seed."""
    started, done = time.perf_counter(), 0
    for seed in seeds:
        for run in runs:
            evaluation = data / "evaluations" / run / f"seed-{seed}"
            common = ("--seed", seed, "--data", data)
            if read_run(run).is_baseline:
                make(compare.main, evaluation, "--run", run, *common, "--params", params)
            else:
                model = data / "models" / run / f"seed-{seed}"
                make(train.main, model, "--recipe", data / "recipes" / f"{run}.json", *common)
                make(evaluate.main, evaluation, "--model", model, "--data", data, "--params", params)
            done += 1
            left = (time.perf_counter() - started) / done * (len(runs) * len(seeds) - done)
            print(f"{done} of {len(runs) * len(seeds)}, at most {left / 60:.0f} min left", file=sys.stderr)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the study."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--place", type=Path, required=True, help="folder for everything that is written")
    parser.add_argument("--source", choices=SETS, required=True)
    parser.add_argument("--target", choices=SETS, required=True)
    parser.add_argument("--seeds", type=int, default=5, help="number of seeds (default: %(default)s)")
    parser.add_argument("--pairs", type=int, nargs="+", default=[10, 40], help="target training pairs a category")
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS), help="runs (default: %(default)s)")
    parser.add_argument("--baselines", nargs="*", default=list(BASELINES), help="methods (default: %(default)s)")
    parser.add_argument("--alphas", action="store_true", help="also the study of alpha, with the last of --pairs")
    parser.add_argument(
        "--set", nargs="*", default=[], metavar="KEY=VALUE", help="of the section dckt, as in train.epochs=20"
    )
    arguments = parser.parse_args(argv)
    arguments.place.mkdir(parents=True, exist_ok=True)
    data = (arguments.place / f"{arguments.source}-{arguments.target}").resolve()
    data.mkdir(exist_ok=True)
    params, content = data / "params.yaml", parameters(arguments)
    with params.open("w") as file:
        YAML(typ="safe").dump(content, file)
    for domain in (SOURCE, TARGET):
        prepare(data, domain, params)
    plan = ("--plan", data / "evaluations/runs.json", "--params", params)
    recipes.main([*map(str, plan), "--output", str(data / "recipes")])
    runs = content["dckt"]["runs"]
    train_and_measure(data, params, [*runs["networks"], *runs["baselines"]], content["seeds"])
    write.main(["--evaluations", str(data / "evaluations"), "--output", str(data / "report"), "--params", str(params)])
    with pl.Config(tbl_rows=-1, tbl_cols=-1, tbl_width_chars=150):
        print(pl.read_csv(data / "report/results.csv"))


if __name__ == "__main__":
    main()
