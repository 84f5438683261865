"""The promise of cut-offs, checked on unseen images of words whose truth is known; the command and its file."""

import io
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click_pictures import WORDS, click_model, write_cut_offs
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from scipy import stats

from base import schemas
from base.artifacts import write_table
from base.console import UserError
from clicksight import cut_offs
from clicksight.cut_offs import CutOffs, Evidence, Seen, cut_off, of_names
from model.folder import model_digest
from model.prediction import Scored

TRIALS = 600


def test_a_cut_off_by_hand() -> None:
    # Of 100 positive values the 50 largest are right; 7 are below 0. The candidates are 100, 70, 50 and 35; below 29,
    # 0.9^k is above 5 %.
    values = np.concatenate([np.linspace(1, 0.01, 100), -np.ones(7)])
    is_right = np.arange(107) < 50
    order = np.random.default_rng(3).permutation(107)
    found = cut_off(values[order], is_right[order], 0.9, 0.95)
    assert found == Evidence(pytest.approx(values[50]), above=50, right=50)  # p = 0.9^50 = 0.5 %, below 5 % / 4
    is_right[[3, 30]] = False  # 2 wrong of 50: p = 11 %
    assert cut_off(values, is_right, 0.9, 0.95) is None
    # for a half: of 100 48 are right, p = 69 %; of 70 48, p = 0.1 %
    assert cut_off(values, is_right, 0.5, 0.95) == Evidence(pytest.approx(values[70]), above=70, right=48)
    # an image whose second value is above the cut-off is wrong, too: of 50 two, as before
    others = np.full(107, -1.0)
    others[[3, 30]] = values[50] + 0.001
    assert cut_off(values, np.arange(107) < 50, 0.9, 0.95, others) is None
    others[[3, 30]] = values[50]
    assert cut_off(values, np.arange(107) < 50, 0.9, 0.95, others) == found
    assert cut_off(values, np.ones(107, bool), 0.9, 0.95) == Evidence(0.0, above=100, right=100)


@pytest.mark.parametrize(("images", "has_one"), [(28, False), (29, True)])
def test_at_least_so_many_images_are_needed(images: int, has_one: bool) -> None:
    # 0.9^29 = 4.7 %, 0.9^28 = 5.2 %
    found = cut_off(np.linspace(0.1, 1, images), np.ones(images, bool), 0.9, 0.95)
    assert (found is not None) == has_one


@given(
    rows=st.lists(st.tuples(st.sampled_from([-0.5, 0.0, 0.25, 0.5, 0.75]), st.booleans()), min_size=1, max_size=80),
    right=st.sampled_from([0.3, 0.5, 0.8]),
)
def test_what_is_above_a_cut_off_is_what_its_evidence_says(rows: list[tuple[float, bool]], right: float) -> None:
    values, is_right = np.array([value for value, _ in rows]), np.array([is_one for _, is_one in rows])
    found = cut_off(values, is_right, right, 0.9)
    assert found == cut_off(values[::-1], is_right[::-1], right, 0.9)
    if found is not None:
        above = values > found.cut_off
        assert (above.sum(), is_right[above].sum()) == (found.above, found.right)
        assert found.cut_off >= 0
        assert stats.binomtest(found.right, found.above, right, alternative="greater").pvalue <= 0.1


def precision(values: np.ndarray, chance: np.ndarray, cut: float) -> float:
    """Return the share of right ones above a cut-off in a population, from their true chances."""
    return float(chance[values > cut].mean())


@pytest.mark.parametrize("kind", ["rising", "flat", "falling at the top"])
def test_the_promise_holds_for_unseen_images(kind: str) -> None:
    """Of many logs at most 5 % give a cut-off with a smaller share of right images than promised."""
    generator = np.random.default_rng(11)
    population = np.linspace(-0.2, 1, 12_001)
    chances = {
        "rising": 1 / (1 + np.exp(-6 * (population - 0.1))),
        "flat": np.full_like(population, 0.895),  # almost good enough, everywhere
        "falling at the top": np.where(population > 0.95, 0.7, np.where(population > 0.3, 0.98, 0.2)),
    }[kind]
    broken = found = 0
    for _ in range(TRIALS):
        drawn = generator.integers(len(population), size=300)
        is_right = generator.random(300) < chances[drawn]
        evidence = cut_off(population[drawn], is_right, 0.9, 0.95)
        if evidence is not None:
            found += 1
            broken += precision(population, chances, evidence.cut_off) < 0.9
    assert stats.binomtest(broken, TRIALS, 0.05, alternative="greater").pvalue > 0.001
    if kind == "flat":
        assert broken == found > 0  # every cut-off is wrong there, and there are few
    else:
        assert found > TRIALS / 4  # the promise isn't kept by giving none


def test_an_image_above_with_its_own_name_alone_is_right() -> None:
    # Names "a", "b" and "a b" as queries of two words. Images of a and b lie on the axes; those of "a b" between them,
    # where also "a" and "b" have cosines of 0.71.
    vectors = np.array([[1, 0], [0, 1], [np.sqrt(0.5), np.sqrt(0.5)]], np.float32)
    shrinking = np.linspace(1, 0.9, 60)[:, None].astype(np.float32)
    values = np.concatenate([vectors[row] * shrinking for row in (0, 1, 2)])
    seen = Seen(
        values, np.repeat(np.array(["a", "b", "a b"], object), 60), np.zeros((180, 2), bool), np.ones(180, bool)
    )
    found = of_names(seen, ["a", "b", "a b"], vectors, 0.9, 0.95)
    # All 180 images are most similar to their own name, but above 0 the others' names are, too.
    assert found is not None
    assert (found.above, found.right) == (90, 90)  # 180 / 2; at 180 / sqrt 2 three images are equal
    assert found.cut_off > np.sqrt(0.5)
    swapped = seen._replace(categories=np.repeat(np.array(["b", "a", "a b"], object), 60))
    assert of_names(swapped, ["a", "b", "a b"], vectors, 0.9, 0.95) is None
    alone = Seen(values[:60], seen.categories[:60], seen.clicked[:60], seen.is_source[:60])
    assert of_names(alone, ["a"], vectors[:1], 0.9, 0.95) == Evidence(0.0, 60, 60)


def test_fitting_words_keep_their_order() -> None:
    known = CutOffs(["a", "b", "c"], np.array([0.5, np.nan, 0.1], np.float32), [], float("nan"), 0.9, "")
    assert known.number == 2
    words = [Scored("b", 0.9), Scored("a", 0.6), Scored("c", 0.2)]
    assert known.fitting(words) == [Scored("a", 0.6), Scored("c", 0.2)]
    assert known.fitting([Scored("a", 0.5), Scored("c", 0.05)]) == []


def encoded(red: int, green: int, blue: int) -> bytes:
    content = io.BytesIO()
    Image.new("RGB", (24, 20), (red, green, blue)).save(content, "PNG")
    return content.getvalue()


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write a data set whose red images were clicked for `fire`, except some, and its green ones for `grass`, seldom.

    120 images of the source validate and 120 test, as 30 of the target; every third is green. Of the training images
    none may count: all were clicked for `night`.
    """
    monkeypatch.chdir(tmp_path)
    generator = np.random.default_rng(5)
    images, rows, clicks = [], [], []
    for number in range(330):
        less = number * 7 % 120
        name, colour = f"i{(number * 37) % 330:03}", (60, 250, 10) if number % 3 == 0 else (250 - less, 60, 10)
        split = ("validation", "test", "train")[number // 120] if number < 300 else "validation"
        domain = "source" if number < 300 else "target"
        category = "grass snake" if number % 3 == 0 else "fire fox"
        images.append({"image_id": name, "domain": domain, "category": category, "width": 24, "height": 20,
                       "image": {"bytes": encoded(*colour), "path": None}})  # fmt: skip
        rows.append({"image_id": name, "domain": domain, "category": category, "shared": True, "split": split})
        is_right = number % 3 == 0 and generator.random() < 0.4
        words = [4] if split == "train" else [0] if number % 3 else [1] if is_right else []
        if domain == "source":
            clicks.append({"image_id": name, "word_ids": words, "clicks": [2] * len(words),
                           "tfidf": [0.5] * len(words)})  # fmt: skip
    write_table(pa.Table.from_pylist(images, schemas.IMAGES), Path("set/ingested/images/part-00000.parquet"))
    write_table(pa.Table.from_pylist(rows, schemas.SPLITS), Path("set/splits/seed-0.parquet"))
    features = Path("set/features")
    write_table(pa.Table.from_pylist(clicks, schemas.CLICK_FEATURES), features / "click_features/part-00000.parquet")
    words = [{"word_id": place, "word": word, "clicks": 9 - place, "document_frequency": 1, "idf": 1.0}
             for place, word in enumerate(WORDS)]  # fmt: skip
    write_table(pa.Table.from_pylist(words[::-1], schemas.VOCABULARY), features / "vocabulary.parquet")
    Path("model").mkdir()
    Path("model/run.json").write_text("{}")
    monkeypatch.setattr(cut_offs, "load_model", lambda folder: click_model())
    return Path("set")


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    given = ["model", "--set=set", "--output=out.parquet", *arguments]
    monkeypatch.setattr(sys, "argv", ["clicksight cut-offs", *given])
    cut_offs.main(given)


def test_a_cut_off_is_learned_from_validation_images_and_right_for_test_images(data, monkeypatch, caplog) -> None:
    run(monkeypatch)
    table = pq.read_table("out.parquet")
    assert table.schema.equals(schemas.CUT_OFFS)
    rows = {row["name"]: row for row in table.to_pylist()}
    assert list(rows) == [*WORDS, "fire fox", "grass snake"]
    # Of 120 images 80 are red; the candidates for fire are the 120, 84, 60, 42 and 30 largest values.
    assert [rows["fire"][name] for name in ("above", "right", "images")] == [60, 60, 80]
    assert rows["grass"]["cut_off"] is None  # 40 green ones, and 40 % of them are right
    assert 0 < rows["grass"]["images"] < 40
    assert rows["night"] == {
        "kind": "word", "name": "night", "cut_off": None, "above": None, "right": None, "images": 0
    }  # fmt: skip
    # Every image of both domains is of the category whose name it is most similar to, but is similar to both a little:
    # of the candidates 150, 106, 75 and so on the first whose cut-off is above the smaller cosines passes.
    assert [rows["fire fox"][name] for name in ("kind", "above", "right", "images")] == ["name", 106, 106, 100]
    assert rows["grass snake"] == {**rows["fire fox"], "name": "grass snake", "images": 50}
    for text in ("validation images 150", "of the click log 120", "words with a cut-off 1", "names with a cut-off 2"):
        assert text in caplog.text
    known = CutOffs.read(Path("out.parquet"), model_digest(Path("model")))
    assert (known.words, known.names, known.right) == (WORDS, ["fire fox", "grass snake"], 0.9)
    assert known.cosine == rows["fire fox"]["cut_off"]
    first = Path("out.parquet").read_bytes()
    run(monkeypatch)
    assert Path("out.parquet").read_bytes() == first
    test = cut_offs.images_of(click_model(), data, "test")
    assert (len(test.values), test.clicked[:, 4].sum()) == (120, 0)
    above = test.values[:, 0] > known.values[0]
    assert 40 < above.sum() < 80
    assert test.clicked[above, 0].all()


def test_wrong_input_is_an_error_and_writes_nothing(data, monkeypatch, caplog) -> None:
    for arguments, text in (
        (["--right=1"], "--right 1.0: a share between 0 and 1 expected"),
        (["--confidence=0"], "--confidence 0.0: a share between 0 and 1 expected"),
        (["--output=out.csv"], "--output out.csv: a name with the suffix .parquet expected"),
        (["--set=none"], "none/features/vocabulary.parquet"),
    ):
        with pytest.raises(SystemExit) as exit_:
            run(monkeypatch, *arguments)
        assert exit_.value.code == 2
        assert text in caplog.text
    monkeypatch.setattr(cut_offs, "load_model", lambda folder: click_model(words=False))
    with pytest.raises(SystemExit):
        run(monkeypatch)
    assert "model: predicts no clicks" in caplog.text
    assert not Path("out.parquet").exists()
    with pytest.raises(UserError, match=r"seed-0.parquet: has no image of the source's split 'last'"):
        cut_offs.images_of(click_model(), data, "last")
    vocabulary = data / "features/vocabulary.parquet"
    write_table(pq.read_table(vocabulary).slice(1), vocabulary)
    with pytest.raises(UserError, match="not the words of the model"):
        cut_offs.check_vocabulary(click_model(), data)
    with pytest.raises(UserError, match="no row of image 'unknown'"):
        cut_offs.clicked_words(pl.DataFrame({"image_id": ["unknown"]}), data / "features", 5)


def test_a_file_that_is_not_the_models_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text("{}")
    path = tmp_path / "cut_offs.parquet"
    with pytest.raises(UserError, match="no such file; make it by clicksight cut-offs"):
        CutOffs.read(path, "")
    write_cut_offs(path, tmp_path, [0.5, None, 0.25, None, 0.0], ["dog", "cat"], 0.5)
    known = CutOffs.read(path, model_digest(tmp_path))
    assert (known.number, known.names, known.cosine, known.right) == (3, ["dog", "cat"], 0.5, 0.75)
    assert np.isnan(known.values).tolist() == [False, True, False, True, False]
    with pytest.raises(UserError, match=r"made for another model \(some RUN, seed 0\)"):
        CutOffs.read(path, "0123")
    write_table(pq.read_table(path).replace_schema_metadata(None), path)
    with pytest.raises(UserError, match="not as clicksight cut-offs writes it"):
        CutOffs.read(path, model_digest(tmp_path))
