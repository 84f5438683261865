from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from model.backbones import IMAGENET_MEAN, IMAGENET_STD, PlaceMean, build_backbone, load_backbone_weights
from model.config import NetworkParams
from pipelines.console import UserError

WEIGHTS = Path(__file__).parents[2].parent / "shared" / "weights" / "squeezenet1_1_imagenet_features.safetensors"


def params(backbone: str = "plain", weights: str = "none", size: int = 48) -> NetworkParams:
    return NetworkParams(backbone=backbone, weights=weights, image_size=size, resize=size, dropout=0.0)


class Classifier(nn.Module):
    """Named as torchvision's are."""

    def __init__(self, classes: int = 5) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
        self.classifier = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, classes))


@pytest.mark.parametrize("size", [32, 48, 61])
def test_plain_sizes_are_as_declared(size):
    backbone = build_backbone(params(size=size))
    visual = backbone(torch.zeros(2, 3, size, size, dtype=torch.uint8))
    assert visual.omega.shape == (2, *backbone.map_shape)
    assert visual.phi.shape == (2, backbone.num_features)
    assert backbone.map_shape[1] == -(-size // 2) // 4


def test_images_are_normalised_as_torchvision_wants_them():
    backbone = build_backbone(params(size=16))
    seen = []
    backbone.features.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    backbone(torch.tensor([255, 0, 128], dtype=torch.uint8).view(1, 3, 1, 1).expand(2, 3, 16, 16))
    expected = [(value - m) / s for value, m, s in zip((1.0, 0.0, 128 / 255), IMAGENET_MEAN, IMAGENET_STD, strict=True)]
    assert seen[0][1, :, 3, 5].tolist() == pytest.approx(expected, rel=1e-5)


def test_place_mean():
    omega = torch.arange(12.0).view(1, 2, 2, 3)
    assert PlaceMean()(omega).tolist() == [[2.5, 8.5]]


def test_weights_are_loaded_by_name(tmp_path):
    path = tmp_path / "w.safetensors"
    torch.manual_seed(0)
    given, classifier = Classifier(), Classifier()
    save_file(given.features.state_dict(prefix="features."), path)
    before = {key: value.clone() for key, value in classifier.classifier.state_dict().items()}
    load_backbone_weights(classifier, path, "classifier")
    assert torch.equal(classifier.features[0].weight, given.features[0].weight)
    assert all(torch.equal(value, before[key]) for key, value in classifier.classifier.state_dict().items())


def test_a_whole_classifier_of_other_classes_gives_all_but_its_last_layer(tmp_path):
    path = tmp_path / "w.safetensors"
    given, classifier = Classifier(classes=9), Classifier(classes=5)
    save_file(given.state_dict(), path)
    load_backbone_weights(classifier, path, "classifier")
    assert torch.equal(classifier.classifier[0].weight, given.classifier[0].weight)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: w.pop("features.0.bias"), r"missing \['features.0.bias'\] \(1\)"),
        (lambda w: w.update({"features.9.bias": torch.zeros(1)}), r"unknown \['features.9.bias'\] \(1\)"),
        (lambda w: w.update({"features.0.bias": torch.zeros(7)}), r"other shape \['features.0.bias'\] \(1\)"),
        (lambda w: w.update({"classifier.0.bias": torch.zeros(6)}), r"missing \['classifier.0.weight'\] \(1\)"),
    ],
)
def test_weights_that_do_not_fit_are_named(tmp_path, change, message):
    weights = Classifier().features.state_dict(prefix="features.")
    change(weights)
    save_file(weights, tmp_path / "w.safetensors")
    with pytest.raises(UserError, match=r"not the weights of some-net: .*" + message):
        load_backbone_weights(Classifier(), tmp_path / "w.safetensors", "some-net")


def test_no_such_weights_file(tmp_path):
    with pytest.raises(UserError, match=r"network.weights = '.*none.safetensors': no such file"):
        load_backbone_weights(Classifier(), tmp_path / "none.safetensors", "x")
    (tmp_path / "text.safetensors").write_text("no tensors here")
    with pytest.raises(UserError, match="not a safetensors file"):
        load_backbone_weights(Classifier(), tmp_path / "text.safetensors", "x")


def test_what_cannot_be_is_said():
    with pytest.raises(UserError, match="the plain backbone has none to load"):
        build_backbone(params(weights="download"))
    with pytest.raises(UserError, match=r"network\.backbone = 'alexnet': known are plain and torchvision's vgg"):
        build_backbone(params(backbone="alexnet"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "size", "map_shape", "num_features"),
    [
        ("squeezenet1_1", 128, (512, 7, 7), 512),
        ("resnet18", 64, (512, 2, 2), 512),
        ("vgg11", 32, (512, 1, 1), 4096),
    ],
)
def test_torchvision_families(name, size, map_shape, num_features):
    backbone = build_backbone(params(name, size=size))
    assert (backbone.map_shape, backbone.num_features) == (map_shape, num_features)


@pytest.mark.slow
def test_an_image_too_small_for_its_backbone():
    with pytest.raises(UserError, match=r"network\.image_size = 16 is too small for this backbone"):
        build_backbone(params("squeezenet1_1", size=16))


@pytest.mark.slow
def test_unknown_member_of_a_family():
    with pytest.raises(UserError, match=r"network.backbone = 'resnet19': .*known: plain, .*resnet18"):
        build_backbone(params("resnet19"))


@pytest.mark.slow
@pytest.mark.real_data
def test_squeezenet_with_its_imagenet_weights():
    if not WEIGHTS.is_file():
        pytest.skip(f"{WEIGHTS} is missing")
    backbone = build_backbone(params("squeezenet1_1", str(WEIGHTS), size=128))
    from safetensors.torch import load_file

    for name, value in load_file(WEIGHTS).items():
        assert torch.equal(backbone.state_dict()[name], value)
