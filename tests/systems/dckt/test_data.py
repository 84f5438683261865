"""The stages that prepare a domain, from a table of pairs to the features that the system reads."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from graph import ROOT, SAFE
from pair_sets import WORDS, picture, write_parquet

from base.params import ParamsError, load_section
from pipelines.words import click_features, click_matrix, segment, vocabulary
from systems.dckt import embed, ingest, split, text_features, vectors
from systems.dckt.data import DataParams
from systems.dckt.features import read_features

SEEDS = [3, 1]


def write_params(folder: Path, change: Callable[[dict[str, Any]], None] = lambda section: None) -> Path:
    """Write a parameter file for one small table as both domains."""
    params = SAFE.load(ROOT / "params.yaml")
    params["seeds"] = SEEDS
    section = params["dckt"]
    for domain in section["data"]["domains"].values():
        domain.update({"pairs": str(folder / "pairs.parquet"), "layout": "table"})
    section["features"]["images"].update({"image_size": 16, "resize": 16})
    section["features"]["word_cnn"].update({"widths": [1, 2], "kernels": 5, "epochs": 3})
    change(section)
    (folder / "params.yaml").write_text(json.dumps(params), encoding="utf-8")
    return folder / "params.yaml"


def write_pairs(folder: Path) -> None:
    """Write thirty pairs of three categories whose texts name them; p29 is a copy of p02's picture."""
    rows = [
        {"id": f"p{n:02d}", "category": ["boat", "bird", "bell"][n % 3], "split": None, "image": picture(n),
         "text": f"{['boat', 'bird', 'bell'][n % 3]} {WORDS[n % 5]}"}
        for n in range(30)
    ]  # fmt: skip
    rows[29]["image"] = rows[2]["image"]
    write_parquet(folder / "pairs.parquet", rows)


def prepare(data: Path, domain: str, params: Path) -> Path:
    """Run the stages of a domain in the order of stages/dckt/dvc.yaml; return its folder."""
    home = data / domain
    clicks, words = home / "ingested" / "texts", home / "words"
    images = ["--images", str(home / "splits" / "images.parquet")]
    log = ["--clicks", str(clicks), "--queries", str(words / "queries")]
    known = ["--vocabulary", str(words / "vocabulary.parquet")]
    named, stated = ["--domain", domain], ["--params", str(params)]

    def output(path: Path) -> list[str]:
        return ["--output", str(path)]

    ingest.main([*named, *output(home / "ingested"), *stated])
    split.main([*named, "--ingested", str(home / "ingested"), *output(home / "splits"), *stated])
    embed.main([*named, "--pairs", str(home / "ingested" / "pairs"), *output(home / "embedded"), *stated])
    segment.main(["--clicks", str(clicks), *output(words / "queries"), *stated])
    first_seed = ["--split", str(home / "splits" / "images.parquet")]
    vocabulary.main([*log, *images, *first_seed, *output(words / "vocabulary.parquet"), *stated])
    click_matrix.main([*log, *known, *images, *output(words / "click_matrix")])
    click_features.main(["--click-matrix", str(words / "click_matrix"), *known, *output(words / "click_features")])
    vectors.main([*named, "--queries", str(words / "queries"), *output(home / "word_vectors.parquet"), *stated])
    text_features.main(["--domain", str(home), *output(home / "text_features"), *stated])
    return home


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("prepared")
    write_pairs(folder)
    prepare(folder / "data", "source", write_params(folder))
    return folder


def test_the_prepared_domain_is_what_the_system_reads(prepared: Path) -> None:
    features = {seed: read_features(prepared / "data" / "source", seed) for seed in SEEDS}
    for found in features.values():
        assert found.ids == [f"p{n:02d}" for n in range(30)]
        assert found.categories == ("bell", "bird", "boat")
        assert found.images.shape == (30, 256)
        assert found.texts.shape == (30, 10)
        assert found.split[2] == found.split[29]  # copies
        assert np.array_equal(found.images[2], found.images[29])
    assert not np.array_equal(features[3].split, features[1].split)
    assert not np.array_equal(features[3].texts, features[1].texts)
    assert np.array_equal(features[3].images, features[1].images)


def test_tfidf_is_the_same_for_all_seeds(prepared: Path) -> None:
    def tfidf(section: dict[str, Any]) -> None:
        section["features"]["texts"] = "TF-IDF"

    home, output = prepared / "data" / "source", prepared / "tfidf"
    text_features.main(["--domain", str(home), "--output", str(output), "--params", str(write_params(prepared, tfidf))])
    one, other = (pl.read_parquet(output / f"seed-{seed}.parquet") for seed in SEEDS)
    assert one.equals(other)
    words = pl.read_parquet(home / "words" / "vocabulary.parquet")
    found = np.array(one["feature"].to_list())
    assert found.shape == (30, len(words))
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, rtol=1e-5)
    idf = dict(words.select("word", "idf").iter_rows())
    row = one["feature"][4].to_list()  # p04: bird loud
    length = np.hypot(idf["bird"], idf["loud"])
    expected = [idf[word] / length if word in ("bird", "loud") else 0 for word in words["word"]]
    np.testing.assert_allclose(row, expected, rtol=1e-5)


def test_word_vectors_are_the_same_for_all_seeds(prepared: Path) -> None:
    def chosen(section: dict[str, Any]) -> None:
        section["features"]["texts"] = "word vectors"

    home, output = prepared / "data" / "source", prepared / "by_vectors"
    stated = str(write_params(prepared, chosen))
    text_features.main(["--domain", str(home), "--output", str(output), "--params", stated])
    one, other = (pl.read_parquet(output / f"seed-{seed}.parquet") for seed in SEEDS)
    assert one.equals(other)
    assert not list(output.glob("*.safetensors"))
    vectors = dict(pl.read_parquet(home / "word_vectors.parquet").iter_rows())
    bird, loud = (np.array(vectors[word]) for word in ("bird", "loud"))
    expected = np.concatenate([(bird + loud) / 2, np.maximum(bird, loud)])
    np.testing.assert_allclose(one["feature"][4].to_list(), expected, atol=1e-6)  # p04: bird loud


def test_a_text_that_was_not_segmented_is_named(prepared: Path, tmp_path: Path) -> None:
    pairs = pl.DataFrame({"pair_id": ["p00", "p30"]})
    with pytest.raises(ValueError, match="'p30' has no segmented text"):
        text_features.read_words(prepared / "data" / "source", pairs)
    words = text_features.read_words(prepared / "data" / "source", pairs[:1])
    assert words == [["boat", "old"]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"source": None}, "expected source and target, or none, found target"),
        ({"other": {}}, "dckt.data.domains.other"),
    ],
)
def test_there_are_both_domains_or_none(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    def changed(section: dict[str, Any]) -> None:
        domains = section["data"]["domains"]
        domains.update(change)
        section["data"]["domains"] = {name: domain for name, domain in domains.items() if domain is not None}

    with pytest.raises(ParamsError, match=message):
        load_section(DataParams, "dckt.data", write_params(tmp_path, changed))


def test_without_domains_the_stages_say_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def nothing(section: dict[str, Any]) -> None:
        section["data"]["domains"] = {}

    with pytest.raises(SystemExit):
        ingest.main(
            ["--domain", "source", "--output", str(tmp_path / "o"), "--params", str(write_params(tmp_path, nothing))]
        )
    assert "dckt.data.domains has no 'source'; it has nothing" in caplog.text
