"""The toy data set: the same bytes each time, as noisy as asked, and broken where it is meant to be."""

import base64
import hashlib
import io
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest
from PIL import Image

from base.params import ParamsError, load_section
from pipelines.ingest.click_data import IngestParams, run
from pipelines.toy.animals import ANIMALS
from pipelines.toy.birds import BIRDS
from pipelines.toy.breeds import BREEDS
from pipelines.toy.captions import CaptionParams
from pipelines.toy.streams import random_stream
from pipelines.toy.synthesize import (
    BROKEN_IMAGE,
    BROKEN_ROWS,
    NUM_UNSEEN_ROWS,
    UNSEEN_IMAGE,
    SynthesizeParams,
    main,
    mistake,
    source_pictures,
)
from pipelines.toy.tags import TagParams

DESCRIPTIONS = "captions: {least: 3, most: 5, chinese: 0.25, wrong: 0.05}, tags: {users: 40, per_image: 3, wrong: 0.08}"
SMALL = "synthesize: {{seed: {seed}, source_images: 6, target_images: 3, wrong_labels: 0.12, {descriptions}}}\n"
NUM_SOURCE = 25 * 6 + 2  # 24 shared breeds and one of the source only; two images of the small breed


def synthesize(folder: Path, *options: str, seed: int = 7, descriptions: str = DESCRIPTIONS) -> Path:
    folder.mkdir()
    (folder / "params.yaml").write_text(SMALL.format(seed=seed, descriptions=descriptions), encoding="utf-8")
    main(["--output", str(folder / "toy"), "--params", str(folder / "params.yaml"), *options])
    return folder / "toy"


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return synthesize(tmp_path_factory.mktemp("drawn") / "once")


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return synthesize(tmp_path_factory.mktemp("drawn") / "other", seed=8)


def content(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


PARAMS = SynthesizeParams(
    seed=7,
    source_images=3,
    target_images=3,
    wrong_labels=0,
    captions=CaptionParams(least=1, most=2, chinese=0, wrong=0),
    tags=TagParams(users=3, per_image=1, wrong=0),
)


def pairs(path: Path) -> dict[str, str]:
    return dict(line.split("\t") for line in path.read_text(encoding="utf-8").splitlines())


def test_same_bytes_each_time_and_others_for_another_seed(toy: Path, other: Path, tmp_path: Path) -> None:
    assert content(toy) == content(synthesize(tmp_path / "again"))
    others = content(other)
    same = {name for name, data in content(toy).items() if others[name] == data}
    assert same == {"names.tsv"}  # the categories' Chinese names, which are not drawn


def test_more_images_leave_those_before_as_they_are() -> None:
    def ids(n: int) -> set[str]:
        return {
            picture.image_id
            for picture in source_pictures(ANIMALS["dogs"], PARAMS.model_copy(update={"source_images": n}))
        }

    assert ids(3) < ids(5)


def test_every_random_choice_follows_the_seed(toy: Path, other: Path) -> None:
    # Image ids depend on the seed, so files with ids always differ: compare contents without ids.

    def mistakes(folder: Path) -> Counter[tuple[str, str]]:
        labels, truth = pairs(folder / "source/labels.tsv"), pairs(folder / "truth/labels.tsv")
        return Counter((truth[name], labels[name]) for name in truth if labels[name] != truth[name])

    def broken_places(folder: Path) -> list[int]:
        rows = (folder / "source/clicks.tsv").read_bytes().split(b"\n")[:-1]
        return [index for index, row in enumerate(rows) if row.endswith((b"\tmany", b"\t-3", b"\tlost dog\t1"))]

    def queries(folder: Path) -> Counter[bytes]:
        return Counter(row.partition(b"\t")[2] for row in (folder / "source/clicks.tsv").read_bytes().split(b"\n"))

    def pictures(folder: Path) -> set[str]:
        return set(pairs(folder / "source/images.tsv").values())

    assert mistakes(toy) != mistakes(other)
    assert broken_places(toy) != broken_places(other)
    assert queries(toy) != queries(other)
    assert not pictures(toy) & pictures(other)


def test_the_log_is_shuffled(toy: Path) -> None:
    rows = [row.split(b"\t")[0] for row in (toy / "source/clicks.tsv").read_bytes().split(b"\n")[:-1]]
    # An image has some 20 rows, and hardly any two of them are neighbours.
    assert sum(one == after for one, after in pairwise(rows)) < 0.05 * len(rows)
    ends = [index for index, row in enumerate(rows) if row == UNSEEN_IMAGE.encode()]
    assert len(ends) == NUM_UNSEEN_ROWS
    assert min(ends) < len(rows) - 10


def test_a_wrong_label_is_where_the_picture_was_found(toy: Path) -> None:
    labels, truth = pairs(toy / "source/labels.tsv"), pairs(toy / "truth/labels.tsv")
    names = {breed.name: breed for breed in BREEDS}
    right, wrong, stranger, total = 0, 0, 0, Counter[bool]()
    for row in (toy / "source/clicks.tsv").read_text(encoding="utf-8", errors="replace").splitlines():
        image_id, _, rest = row.partition("\t")
        if image_id in truth and labels[image_id] != truth[image_id]:
            label, real = names[labels[image_id]], names[truth[image_id]]
            query = rest.lower()
            right += real.name in query or real.chinese in query
            wrong += label.name in query or label.chinese in query
            others = [breed for breed in BREEDS if breed not in (label, real)]
            stranger += any(breed.name in query or breed.chinese in query for breed in others)
        total[image_id in truth and labels[image_id] == truth[image_id]] += 1
    # Some 18 pictures have 6 queries each: a fifth by name, and one in twenty by mistake, which means the label's name.
    assert right > 5
    assert wrong >= 2
    assert stranger == 0
    mislabelled = sum(labels[name] != truth[name] for name in truth)
    assert total[True] / (len(truth) - mislabelled) == pytest.approx(20, abs=2)
    assert (total[False] - len(BROKEN_ROWS) - NUM_UNSEEN_ROWS) / mislabelled == pytest.approx(6, abs=2)


def test_the_toys_texts_are_those_that_its_results_are_of(toy: Path) -> None:
    # Digests for seed 7: every result on the toy comes from one of these random streams. If a digest changes (another
    # NumPy, other code), the toy data set is another one: compute the results in README.md and docs/ again.
    digests = {
        name: hashlib.sha256((toy / name).read_bytes()).hexdigest()[:16]
        for name in ("source/labels.tsv", "source/clicks.tsv", "truth/labels.tsv")
    }
    assert digests == {
        "source/labels.tsv": "4a5945a748212ace",
        "source/clicks.tsv": "49799a59aa672f6e",
        "truth/labels.tsv": "6e0c763d1c90c49c",
    }


def test_layout(toy: Path) -> None:
    descriptions = ["captions.tsv", "label_sets.tsv", "names.tsv", "tags.tsv"]
    assert sorted(path.name for path in toy.iterdir()) == sorted(["source", "target", "truth", *descriptions])
    assert sorted(path.name for path in (toy / "truth").iterdir()) == ["facts.tsv", "labels.tsv"]
    images = pairs(toy / "source/images.tsv")
    assert len(images) == NUM_SOURCE + 1
    for image_id, text in images.items():
        if image_id != BROKEN_IMAGE:
            image = Image.open(io.BytesIO(base64.b64decode(text)))
            image.load()
            assert (image.format, min(image.size)) == ("JPEG", 64)
    folders = {folder.name: len(list(folder.glob("*.jpg"))) for folder in (toy / "target").iterdir()}
    assert len(folders) == 25
    assert folders["Moon_Terrier"] == 3
    assert set(folders.values()) == {3}
    assert "Village_Hound" not in folders
    assert sorted(path.name for path in (toy / "target/Moon_Terrier").iterdir()) == [
        f"Moon_Terrier_{number:04d}.jpg" for number in (1, 2, 3)
    ]


def test_wrong_labels_are_as_many_as_asked_for(toy: Path) -> None:
    labels, truth = pairs(toy / "source/labels.tsv"), pairs(toy / "truth/labels.tsv")
    assert set(labels) - set(truth) == {BROKEN_IMAGE, UNSEEN_IMAGE}
    assert len(truth) == NUM_SOURCE
    wrong = [image_id for image_id in truth if labels[image_id] != truth[image_id]]
    assert len(wrong) == round(0.12 * NUM_SOURCE)
    assert set(labels.values()) == {breed.name for breed in BREEDS if breed.presence != "target"}
    assert Counter(labels.values())["frost spitz"] == Counter(truth.values())["frost spitz"] == 2


def test_mistakes_prefer_what_looks_alike() -> None:
    breeds = [breed for breed in BREEDS if breed.presence == "both"]
    marsh = next(breed for breed in breeds if breed.name == "marsh hound")
    found = Counter(mistake(marsh, breeds, random_stream(1, n)).name.split()[-1] for n in range(400))
    assert "marsh hound" not in found
    assert 0.45 < found["hound"] / 400 < 0.7  # a half by kind, and 3 of 23 of the other half
    assert len(found) == 6


def test_streams_differ_by_purpose_and_seed() -> None:
    drawn = {random_stream(*key).integers(2**60) for key in [(1, "a"), (2, "a"), (1, "b"), (1, "a", 1), (1, "a", 2)]}
    assert len(drawn) == 5
    assert random_stream(1, "a").integers(2**60) == random_stream(1, "a").integers(2**60)


def test_ingest_quarantines_what_is_broken_on_purpose(toy: Path, tmp_path: Path) -> None:
    params = IngestParams(click_shards=2, image_shards=2, longest_side=None, duplicate_distance=48, name_encoding=None)
    summary = run(toy, tmp_path / "ingested", params)
    assert summary["tables"]["clicks"]["quarantined"] == {
        "clicks below 1": 1,
        "clicks not an integer": 1,
        "empty image id": 1,
        "empty query": 1,
        "not UTF-8": 1,
        "wrong number of fields": 1,
    }
    assert sum(summary["tables"]["clicks"]["quarantined"].values()) == len(BROKEN_ROWS)
    assert summary["tables"]["labels"]["quarantined"] == {"label without image": 1}
    assert summary["tables"]["source images"]["quarantined"] == {"truncated image": 1}
    assert summary["tables"]["target images"]["quarantined"] == {}
    assert summary["clicks"]["pairs_of_unknown_images"] == NUM_UNSEEN_ROWS
    assert summary["images"] == {"source": NUM_SOURCE, "target": 25 * 3}
    assert summary["categories"]["only_in_source"] == ["frost spitz", "village hound"]
    assert summary["categories"]["only_in_target"] == ["moon terrier"]


def test_birds_are_another_data_set_of_the_same_make(toy: Path, tmp_path: Path) -> None:
    birds = synthesize(tmp_path / "birds", "--animals", "birds")
    assert content(birds) == content(synthesize(tmp_path / "again", "--animals", "birds"))
    assert set(pairs(birds / "truth/labels.tsv").values()) == {bird.name for bird in BIRDS if bird.presence != "target"}
    for name in ("source/labels.tsv", "truth/labels.tsv"):
        ids = [set(pairs(folder / name)) - {BROKEN_IMAGE, UNSEEN_IMAGE} for folder in (toy, birds)]
        assert len(ids[0]) == len(ids[1]) == NUM_SOURCE
        assert not ids[0] & ids[1]
    assert {folder.name for folder in (birds / "target").iterdir()} >= {"Oak_Jay", "Lunar_Jay"}
    log = (birds / "source/clicks.tsv").read_bytes().lower()
    assert b" bird" in log
    assert sum(b"dog" in row for row in log.splitlines()) == sum(b"dog" in row for row in BROKEN_ROWS)


@pytest.mark.parametrize(
    ("section", "message"),
    [
        (
            f"{{seed: 7, source_images: 2, target_images: 3, wrong_labels: 0.1, {DESCRIPTIONS}}}",
            "synthesize.source_images = 2: ",
        ),
        (
            f"{{seed: 7, source_images: 6, target_images: 3, wrong_labels: 1.0, {DESCRIPTIONS}}}",
            "synthesize.wrong_labels = 1.0: ",
        ),
        (
            f"{{seed: 7, source_images: 6, target_images: 3, wrong_labels: 0.1, {DESCRIPTIONS}, cats: 3}}",
            "unknown parameter synthesize.cats",
        ),
        (
            f"{{seed: 7, source_images: 6, target_images: 3, wrong_labels: 0.1, {DESCRIPTIONS}}}".replace(
                "least: 3", "least: 6"
            ),
            "synthesize.captions = .*least = 6 is more than most = 5",
        ),
    ],
)
def test_impossible_parameters_are_named(tmp_path: Path, section: str, message: str) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(f"synthesize: {section}\n")
    with pytest.raises(ParamsError, match=message):
        load_section(SynthesizeParams, "synthesize", path)
