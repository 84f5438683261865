"""The files of descriptions: every image has some, and the rest of the data set does not change with them."""

import hashlib
import pickle
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from pipelines.ingest.click_data import IngestParams, run
from pipelines.toy.animals import ANIMALS
from pipelines.toy.captions import CaptionParams
from pipelines.toy.descriptions import write_descriptions
from pipelines.toy.facts import View
from pipelines.toy.synthesize import main
from pipelines.toy.tags import Tagged, TagParams

PARAMS = "{{seed: 7, source_images: 3, target_images: 3, wrong_labels: 0.12, captions: {captions}, tags: {tags}}}"
USUAL = {
    "captions": "{least: 3, most: 5, chinese: 0.25, wrong: 0.05}",
    "tags": "{users: 40, per_image: 3, wrong: 0.08}",
}
OTHER = {"captions": "{least: 1, most: 2, chinese: 1, wrong: 0.5}", "tags": "{users: 10, per_image: 1, wrong: 0.3}"}
COLUMNS = {
    "captions.tsv": ["image_id", "language", "sentence"],
    "label_sets.tsv": ["image_id", "label"],
    "tags.tsv": ["user_id", "image_id", "tag", "time"],
    "truth/facts.tsv": ["image_id", "group", "value", "share"],
}
# The digest of the other files, as they were before there were descriptions and names: seed 7, three images a category.
BEFORE = "22cd081b55a038cc1cad0d633398a5146a162daf10b98613ae1ebf50cebd02a5"


def synthesize(folder: Path, sections: dict[str, str]) -> Path:
    folder.mkdir()
    (folder / "params.yaml").write_text(f"synthesize: {PARAMS.format(**sections)}\n", encoding="utf-8")
    main(["--output", str(folder / "toy"), "--params", str(folder / "params.yaml")])
    return folder / "toy"


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return synthesize(tmp_path_factory.mktemp("described") / "usual", USUAL)


def content(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def read(folder: Path, name: str) -> pl.DataFrame:
    return pl.read_csv(folder / name, separator="\t", quote_char=None)


def digest(files: dict[str, bytes]) -> str:
    lines = [f"{name} {hashlib.sha256(data).hexdigest()}\n" for name, data in sorted(files.items())]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def test_the_other_files_have_the_bytes_that_they_had_before(toy: Path, tmp_path: Path) -> None:
    drawn = {name: data for name, data in content(toy).items() if name not in COLUMNS}
    other = content(synthesize(tmp_path / "other", OTHER))
    assert {name: other[name] for name in drawn} == drawn
    assert all(
        other[name] != content(toy)[name] for name in COLUMNS if name != "truth/facts.tsv" and "sets" not in name
    )
    before = {name: data for name, data in drawn.items() if name.endswith((".jpg", ".tsv")) and name != "names.tsv"}
    assert digest(before) == BEFORE


def test_tables_name_every_image_and_no_other(toy: Path) -> None:
    source = {line.split("\t")[0] for line in (toy / "truth/labels.tsv").read_text().splitlines()}
    target = {path.relative_to(toy / "target").with_suffix("").as_posix() for path in (toy / "target").rglob("*.jpg")}
    for name, columns in COLUMNS.items():
        table = read(toy, name)
        assert table.columns == columns
        assert table.null_count().sum_horizontal().item() == 0
        assert set(table["image_id"]) <= source | target
        if name != "tags.tsv":
            assert set(table["image_id"]) == source | target
    tagged = set(read(toy, "tags.tsv")["image_id"])
    assert len(tagged & source) > 0.8 * len(source)
    assert len(tagged & target) > 0.8 * len(target)


def test_label_sets_are_true_sets_of_one_to_eight(toy: Path) -> None:
    labels, facts = read(toy, "label_sets.tsv"), read(toy, "truth/facts.tsv")
    assert labels.is_unique().all()
    numbers = labels.group_by("image_id").len()["len"]
    assert 1 <= numbers.min() <= 2 < 6 <= numbers.max() <= 8  # type: ignore[operator]
    assert labels.join(facts, left_on=["image_id", "label"], right_on=["image_id", "value"], how="anti").is_empty()
    truth = dict(line.split("\t") for line in (toy / "truth/labels.tsv").read_text().splitlines())
    creatures = facts.filter(pl.col("group") == "creature")
    assert {row["image_id"]: row["value"] for row in creatures.iter_rows(named=True)}.items() >= truth.items()
    assert creatures.join(labels, left_on=["image_id", "value"], right_on=["image_id", "label"]).height == numbers.len()
    assert facts["share"].is_between(0, 1).all()


def test_captions_and_tags_are_as_many_as_asked_for(toy: Path) -> None:
    captions, tags = read(toy, "captions.tsv"), read(toy, "tags.tsv")
    assert set(captions.group_by("image_id").len()["len"]) == {3, 4, 5}
    assert set(captions["language"]) == {"en", "zh"}
    assert captions.filter(pl.col("language") == "zh").height / captions.height == pytest.approx(0.25, abs=0.05)
    assert tags["user_id"].n_unique() == 40
    assert tags["time"].is_sorted()
    images = captions["image_id"].n_unique()
    assert tags.select("user_id", "image_id").unique().height == pytest.approx(3 * images, rel=0.05)


def test_another_process_writes_the_same_bytes(views: dict[str, list[View]], tmp_path: Path) -> None:
    """The bytes depend neither on hash seeds nor on what the process drew before."""
    code = (
        "import sys, pickle; from pathlib import Path; from pipelines.toy.descriptions import write_descriptions;"
        "write_descriptions(Path(sys.argv[1]), *pickle.loads(Path(sys.argv[2]).read_bytes()))"
    )
    pictures = [Tagged(f"image-{n}", view) for n, view in enumerate(views["birds"])]
    captions, tags = CaptionParams(least=3, most=5, chinese=0.3, wrong=0.1), TagParams(users=9, per_image=3, wrong=0.1)
    for name in ("here", "there", "fewer"):
        (tmp_path / name / "truth").mkdir(parents=True)
    counts = write_descriptions(tmp_path / "here", ANIMALS["birds"], pictures, captions, tags, 7)
    (tmp_path / "pictures").write_bytes(pickle.dumps((ANIMALS["birds"], pictures, captions, tags, 7)))
    subprocess.run([sys.executable, "-c", code, tmp_path / "there", tmp_path / "pictures"], check=True)
    assert content(tmp_path / "here") == content(tmp_path / "there")
    assert counts == {
        name: read(tmp_path / "here", file).height
        for name, file in zip(("captions", "labels in sets", "tags", "facts"), COLUMNS, strict=True)
    }
    write_descriptions(tmp_path / "fewer", ANIMALS["birds"], pictures[:20], captions, tags, 7)
    for name in ("captions.tsv", "label_sets.tsv", "truth/facts.tsv"):  # the rows of the first pictures stay the same
        assert (tmp_path / "here" / name).read_bytes().startswith((tmp_path / "fewer" / name).read_bytes())


def test_ingest_has_no_use_for_them(toy: Path, tmp_path: Path) -> None:
    params = IngestParams(click_shards=2, image_shards=2, longest_side=None, duplicate_distance=48, name_encoding=None)
    with_them = run(toy, tmp_path / "with", params)
    alone = tmp_path / "alone"
    for name, data in content(toy).items():
        if name not in COLUMNS:
            (alone / name).parent.mkdir(parents=True, exist_ok=True)
            (alone / name).write_bytes(data)
    assert run(alone, tmp_path / "without", params) == with_them
    assert content(tmp_path / "with") == content(tmp_path / "without")
