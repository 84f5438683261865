"""Maps are bright where the value comes from, and hiding these places first lowers it fastest."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from click_pictures import click_model
from PIL import Image

from base.console import UserError
from clicksight import explain, predict
from model.prediction import Context, Prediction, Scored

SIZE = 42


def square(left: int, top: int, side: int = 14) -> torch.Tensor:
    """A grey picture with a red patch."""
    pixels = torch.full((3, SIZE, SIZE), 120, dtype=torch.uint8)
    pixels[:, top : top + side, left : left + side] = torch.tensor([[[250]], [[10]], [[10]]], dtype=torch.uint8)
    return pixels


def redness(pixels: torch.Tensor) -> np.ndarray:
    """Whether red is in the picture: the largest surplus of red, from 0 to 1."""
    colours = pixels.float()
    surplus = (colours[:, 0] - colours[:, 1]).flatten(1)
    return (surplus.topk(40, dim=1).values.mean(dim=1) / 240).clamp(0, 1).numpy()


@pytest.mark.parametrize(("left", "top"), [(2, 2), (26, 20), (14, 26)])
def test_a_map_is_bright_where_the_value_comes_from(left: int, top: int) -> None:
    weights = explain.importance(square(left, top), redness)
    assert weights.shape == (SIZE, SIZE)
    y, x = np.unravel_index(weights.argmax(), weights.shape)
    assert top - 3 <= y < top + 17
    assert left - 3 <= x < left + 17
    inside = np.zeros((SIZE, SIZE), bool)
    inside[top : top + 14, left : left + 14] = True
    assert weights[inside].mean() > 4 * abs(weights[~inside].mean())


def test_a_value_that_no_place_changes_has_no_map() -> None:
    weights = explain.importance(square(2, 2), lambda pixels: np.full(len(pixels), 0.7), number=50)
    assert weights == pytest.approx(np.zeros((SIZE, SIZE)), abs=1e-12)
    assert explain.overlaid(square(2, 2), weights).size == (2 * SIZE, SIZE)


def test_masks_hide_half_on_average_and_are_the_same_again() -> None:
    masks = explain.masks_of(SIZE, 300, seed=3)
    assert masks.shape == (300, SIZE, SIZE)
    assert 0 <= masks.min() < masks.max() <= 1
    assert masks.mean() == pytest.approx(0.5, abs=0.02)  # 4 standard errors of 300 x 49 cells
    assert torch.equal(masks, explain.masks_of(SIZE, 300, seed=3))
    assert not torch.equal(masks, explain.masks_of(SIZE, 300, seed=4))


def test_what_is_hidden_has_the_mean_colour() -> None:
    picture = square(2, 2)
    mask = torch.zeros(1, SIZE, SIZE)
    mask[0, :, :21] = 1
    [seen] = explain.hidden(picture, mask)
    assert torch.equal(seen[:, :, :21], picture[:, :, :21])
    means = picture.float().mean(dim=(1, 2)).round().to(torch.uint8)
    assert torch.equal(seen[:, :, 21:], means[:, None, None].expand(3, SIZE, 21))


def test_hiding_the_important_places_first_lowers_the_value_fastest() -> None:
    picture = square(26, 20)
    weights = explain.importance(picture, redness)
    best, worst = (explain.deletion(picture, redness, order) for order in (weights, -weights))
    uniform = explain.deletion(picture, redness, np.random.default_rng(0).random((SIZE, SIZE)))
    assert best < uniform < worst
    # worked out by loop: hide ranks 0 .. n step / steps, and take the mean of the 21 values
    order = np.argsort(-weights, axis=None, kind="stable")
    values = []
    for step in range(21):
        kept = np.ones(SIZE * SIZE, np.float32)
        kept[order[: SIZE * SIZE * step // 20]] = 0
        values.append(redness(explain.hidden(picture, torch.from_numpy(kept.reshape(1, SIZE, SIZE))))[0])
    assert best == pytest.approx(np.mean(values), abs=1e-6)


def test_values_are_those_of_the_prediction() -> None:
    model = click_model()
    pixels = torch.stack([square(2, 2), torch.zeros(3, SIZE, SIZE, dtype=torch.uint8)])
    words = {one.name: one.value for one in model.predict(pixels)[0].words}
    assert explain.score_of(model, "word", "fire")(pixels)[0] == pytest.approx(words["fire"])
    with pytest.raises(UserError, match="some RUN has no word 'cat'; it has 5 of them"):
        explain.score_of(model, "word", "cat")
    with pytest.raises(UserError, match="some RUN has no category 'cat'; it has 0 of them"):
        explain.score_of(model, "category", "cat")


class Labelling:
    """Says the tags that are known of a picture as labels."""

    system, run, categories, words = "some", "RUN", (), ()

    def predict(self, pixels, contexts=(), top=None):
        return [Prediction(labels=[Scored(tag, 0.5) for tag in context.tags]) for context in contexts]


def test_labels_are_explained_with_what_is_known_of_the_picture() -> None:
    pixels = torch.stack([square(2, 2)] * 3)
    score = explain.score_of(Labelling(), "label", "dog", Context(("dog",)))
    assert score(pixels).tolist() == [0.5] * 3
    assert explain.score_of(Labelling(), "label", "dog", Context(("cat",)))(pixels).tolist() == [0.0] * 3
    assert explain.best_of(Prediction(labels=[Scored("dog", 0.5)], tags=[Scored("a", 1)])) == ("label", "dog")
    with pytest.raises(UserError, match="says nothing of this picture"):
        explain.best_of(Prediction())


def test_names_of_maps_are_safe_and_different() -> None:
    assert explain.file_name(3, "box.zip/../a b:c.jpg") == "000003_a_b_c.jpg.png"
    assert explain.file_name(4, "set/.hidden") == "000004_hidden.png"
    assert len(explain.file_name(5, "x" * 300)) < 120


def test_the_command_writes_a_map_for_each_usable_picture(tmp_path: Path, monkeypatch, caplog) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(predict, "load_model", lambda folder, evaluation: click_model())
    Image.fromarray(square(2, 2).permute(1, 2, 0).numpy()).save("a.png")
    Path("b.png").write_text("no picture")
    for given in (["--explain=maps", "--word=fire"], ["--explain=maps"]):
        arguments = ["model", "a.png", "b.png", "--output=out.jsonl", *given]
        monkeypatch.setattr(sys, "argv", ["clicksight predict", *arguments])
        predict.main(arguments)
        assert [path.name for path in Path("maps").iterdir()] == ["000001_a.png.png"]
        with Image.open("maps/000001_a.png.png") as image:
            assert image.size == (64, 32)  # twice two squares of 16
    for given, text in (
        (["--word=fire"], "--category and --word say what --explain FOLDER explains"),
        (["--explain=maps", "--word=cat"], "some RUN has no word 'cat'"),
    ):
        with pytest.raises(SystemExit) as exit_:
            predict.main(["model", "a.png", *given])
        assert exit_.value.code == 2
        assert text in caplog.text
