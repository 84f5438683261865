import json
import runpy
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from PIL import Image
from torch import nn

from base.console import UserError
from clicksight import export
from clicksight.pictures import middle_square
from model.classification import build_classifier
from model.classifier_params import ClassifierParams
from model.prediction import RecogniserPredictor

ROOT = Path(__file__).resolve().parents[2]
SIZES = 40, 32
CATEGORIES, WORDS = ["cat", "dog", "eel"], ["brown", "斑点", "tail", "wet", "old"]


class Shifted(nn.Module):
    """Another network of the same pictures, so that outputs can't be exchanged unseen."""

    def __init__(self, number: int) -> None:
        super().__init__()
        params = ClassifierParams(backbone="plain", weights="none", image_size=32, resize=40, dropout=0.5)
        self.network = build_classifier(params, number)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.network(images) + 0.1


@pytest.fixture(scope="module")
def predictor() -> RecogniserPredictor:
    torch.manual_seed(1)
    networks = Shifted(3).eval(), Shifted(5).eval()
    recogniser, words = (networks[0], CATEGORIES), (networks[1], WORDS)
    return RecogniserPredictor("mtmdd", "tiny", 4, SIZES, recogniser, words, torch.device("cpu"))


@pytest.fixture(scope="module")
def exported(predictor: RecogniserPredictor, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("export")
    (place / "model").mkdir()
    (place / "model" / "run.json").write_text(json.dumps({"system": "mtmdd", "seed": 4}))
    (place / "model" / "joint.safetensors").write_bytes(b"weights")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(export, "load_model", lambda *_: predictor)
        for name in ("first", "second"):
            export.export(place / "model", place / name)
    return place / "first"


def squares(number: int) -> torch.Tensor:
    return torch.randint(0, 256, (number, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(9))


@pytest.mark.parametrize("number", [1, 7])
def test_onnx_and_torch_give_what_the_predictor_gives(
    exported: Path, predictor: RecogniserPredictor, number: int
) -> None:
    pixels = squares(number)
    said = predictor.predict(pixels)
    wanted = [[dict(one.categories)[name] for name in CATEGORIES] for one in said]
    session = onnxruntime.InferenceSession(exported / "model.onnx")
    assert [one.name for one in session.get_outputs()] == ["probabilities", "click_feature"]
    program = torch.export.load(exported / "model.pt2").module()
    for found in (session.run(None, {"pixels": pixels.numpy()}), [one.detach().numpy() for one in program(pixels)]):
        np.testing.assert_allclose(found[0], wanted, rtol=0, atol=export.TOLERANCE)
        np.testing.assert_allclose(found[1], predictor.click_features(pixels), rtol=0, atol=export.TOLERANCE)


def test_names_and_sizes_are_in_the_metadata(exported: Path) -> None:
    session = onnxruntime.InferenceSession(exported / "model.onnx")
    config = json.loads(session.get_modelmeta().custom_metadata_map["clicksight"])
    assert config == json.loads((exported / "config.json").read_text(encoding="utf-8"))
    assert config["outputs"]["probabilities"]["names"] == CATEGORIES
    assert config["outputs"]["click_feature"]["names"] == WORDS
    assert (config["preprocessing"]["resize_shorter_side"], config["preprocessing"]["middle_square"]) == SIZES
    assert config["inputs"]["pixels"]["shape"] == ["batch", 3, 32, 32]


def test_a_model_that_sees_pictures_decoded_finely_says_so(predictor: RecogniserPredictor, tmp_path: Path) -> None:
    class Fine(RecogniserPredictor):
        finely = True

    fine = Fine("mtmdd", "tiny", 4, SIZES, (predictor.recogniser, CATEGORIES), None, torch.device("cpu"))
    given = {one.finely: export.config_of(one, one.graph())["preprocessing"] for one in (predictor, fine)}
    assert [given[finely]["interpolation"] for finely in (False, True)] == ["bilinear", "bicubic"]
    assert "at full scale; resize (bicubic)" in given[True]["outside"]
    assert "full scale" not in given[False]["outside"]
    pixels = np.random.default_rng(3).integers(0, 256, (90, 161, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "picture.jpg")
    example = runpy.run_path(str(ROOT / "examples" / "exported_model.py"))["middle_square"]
    for finely, one in given.items():
        found = example(str(tmp_path / "picture.jpg"), *SIZES, one["interpolation"]).transpose(1, 2, 0)
        assert np.array_equal(found, middle_square((tmp_path / "picture.jpg").read_bytes(), *SIZES, finely))


def test_onnx_has_the_same_bytes_again_and_no_path_of_this_machine(exported: Path) -> None:
    written = (exported / "model.onnx").read_bytes()
    assert written == (exported.parent / "second" / "model.onnx").read_bytes()
    assert str(ROOT).encode() not in written


def test_the_run_itself_is_copied(exported: Path) -> None:
    assert (exported / "joint.safetensors").read_bytes() == b"weights"
    assert json.loads((exported / "run.json").read_text())["seed"] == 4


def test_the_example_names_the_same_categories_for_a_picture_file(
    exported: Path, predictor: RecogniserPredictor, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pixels = np.random.default_rng(3).integers(0, 256, (90, 61, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "picture.jpg")
    runpy.run_path(str(ROOT / "examples" / "exported_model.py"))["main"](
        str(exported / "model.onnx"), str(tmp_path / "picture.jpg")
    )
    printed = json.loads(capsys.readouterr().out)
    square = middle_square((tmp_path / "picture.jpg").read_bytes(), *SIZES)
    said = predictor.predict(torch.from_numpy(square.transpose(2, 0, 1)[None].copy()))[0]
    assert list(printed["probabilities"]) == [one.name for one in said.categories]
    assert list(printed["probabilities"].values()) == pytest.approx([one.value for one in said.categories], abs=1e-4)


def test_a_network_that_cannot_be_traced_is_an_error_and_leaves_nothing(tmp_path: Path) -> None:
    class Odd(nn.Module):
        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            return pixels.float().mean(dim=(2, 3)) if float(pixels.float().mean()) > 3 else pixels.float().sum((2, 3))

    odd = RecogniserPredictor("mtmdd", "odd", 0, SIZES, (Odd(), CATEGORIES), None, torch.device("cpu"))
    with pytest.raises(UserError, match="--format safetensors"):
        export.trace(odd.graph(), 32)
