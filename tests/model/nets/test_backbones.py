from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from base.console import UserError
from model.data.images import centre_crop, decode
from model.nets.backbones import (
    FAMILIES,
    POSITIONS,
    SpatialMean,
    at_this_size,
    build_backbone,
    load_backbone_weights,
)
from systems.mtmdd.config import NetworkParams

SHARED = Path(__file__).parents[3].parent / "shared"


def params(backbone: str = "plain", weights: str = "none", size: int = 48) -> NetworkParams:
    return NetworkParams(backbone=backbone, weights=weights, image_size=size, resize=size, dropout=0.0)


class Classifier(nn.Module):
    """A classifier whose parts are named as torchvision's."""

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


@pytest.mark.parametrize(("name", "frozen"), [("plain", 4), ("mobilenet_v2", 3)])
def test_frozen_blocks_keep_weights_and_statistics_in_training(name, frozen):
    torch.manual_seed(0)
    backbone = build_backbone(params(name, size=32).model_copy(update={"frozen_blocks": frozen}))
    torch.manual_seed(0)
    free = build_backbone(params(name, size=32))
    before = {key: value.clone() for key, value in backbone.state_dict().items()}
    pixels = torch.randint(256, (4, 3, 32, 32), dtype=torch.uint8)
    torch.testing.assert_close(backbone.eval()(pixels), free.eval()(pixels))
    optimizer = torch.optim.SGD([w for w in backbone.parameters() if w.requires_grad], lr=0.1)
    backbone.train()(pixels).phi.square().mean().backward()
    optimizer.step()
    changed = {key for key, value in backbone.state_dict().items() if not torch.equal(value, before[key])}
    in_features = {key for key in before if key.startswith("features.") and not key.endswith("num_batches_tracked")}
    numbers = {key: int(key.split(".")[1]) for key in in_features}
    assert not changed & {key for key, number in numbers.items() if number < frozen}
    assert {key for key, number in numbers.items() if number >= frozen} <= changed
    assert all(value.grad is None for key, value in backbone.features[:frozen].named_parameters())
    assert before.keys() == free.state_dict().keys()  # a frozen network's weights fit any other


def test_gradients_pass_through_frozen_blocks_to_the_pixels():
    # RACNN's crops are learned by the gradient of the pixels of its finer scale
    torch.manual_seed(0)
    pixels = torch.randn(2, 3, 32, 32)
    gradients = []
    for frozen in (None, 4):
        torch.manual_seed(1)
        backbone = build_backbone(params(size=32).model_copy(update={"frozen_blocks": frozen})).eval()
        seen = pixels.clone().requires_grad_()
        backbone.run_normalised(seen).phi.square().sum().backward()
        gradients.append(seen.grad)
    assert gradients[0].abs().max() > 0
    torch.testing.assert_close(gradients[0], gradients[1])


def test_frozen_statistics_are_kept_and_used_in_training_while_weights_learn(tmp_path):
    from torchvision.models import get_model

    torch.manual_seed(0)
    start = get_model("mobilenet_v2")
    for module in start.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(std=0.1)
            module.running_var.uniform_(0.5, 2.0)
    save_file(start.state_dict(), tmp_path / "start.safetensors")
    network = params("mobilenet_v2", str(tmp_path / "start.safetensors"), 32)
    backbone = build_backbone(network.model_copy(update={"frozen_statistics": True})).train()
    before = {key: value.clone() for key, value in backbone.state_dict().items()}
    pixels = torch.randint(256, (4, 3, 32, 32), dtype=torch.uint8)
    with torch.no_grad():
        torch.testing.assert_close(backbone(pixels), build_backbone(network).eval()(pixels))
        assert not torch.allclose(backbone(pixels).phi, build_backbone(network).train()(pixels).phi, atol=1e-2)
    backbone(pixels).phi.square().mean().backward()
    torch.optim.SGD(backbone.parameters(), lr=0.1).step()
    after = backbone.state_dict()
    statistics = {key for key in before if "running" in key or "num_batches" in key}
    assert all(torch.equal(before[key], after[key]) for key in statistics)
    for learned in ("features.18.0.weight", "features.18.1.weight", "features.18.1.bias"):  # the last norm's, too
        assert not torch.equal(before[learned], after[learned])


def test_a_convnet_without_start_weights_has_no_statistics_to_keep():
    with pytest.raises(UserError, match="frozen_statistics: true needs start weights"):
        build_backbone(params().model_copy(update={"frozen_statistics": True}))


def test_the_last_block_is_always_trained_and_a_vit_has_one():
    for name, blocks in (("plain", 14), ("vit_b_32", 1)):
        with pytest.raises(UserError, match=f"frozen_blocks = {blocks}: this backbone has {blocks} blocks"):
            build_backbone(params(name, size=32).model_copy(update={"frozen_blocks": blocks}))


def test_images_are_normalised_as_torchvision_wants_them():
    backbone = build_backbone(params(size=16))
    seen = []
    backbone.features.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    backbone(torch.tensor([255, 0, 128], dtype=torch.uint8).view(1, 3, 1, 1).expand(2, 3, 16, 16))
    # torchvision's documentation: mean [0.485, 0.456, 0.406], std [0.229, 0.224, 0.225] of red, green and blue
    expected = [(1.0 - 0.485) / 0.229, (0.0 - 0.456) / 0.224, (128 / 255 - 0.406) / 0.225]
    assert seen[0][1, :, 3, 5].tolist() == pytest.approx(expected, rel=1e-5)


def test_the_plain_convnet_is_the_one_of_its_docs():
    backbone = build_backbone(params(size=48))
    kernels = [tuple(m.weight.shape) for m in backbone.modules() if isinstance(m, nn.Conv2d)]
    assert kernels == [(16, 3, 5, 5), (32, 16, 3, 3), (64, 32, 3, 3), (128, 64, 3, 3)]
    # 48 pixels become a map of 6 x 6 positions, all of which phi sees
    assert [tuple(m.weight.shape) for m in backbone.modules() if isinstance(m, nn.Linear)] == [(128, 128 * 6 * 6)]
    assert backbone.num_features == 128
    assert all(module.training for module in backbone.modules())  # restored after measuring the shapes


@pytest.mark.parametrize(("image_size", "side"), [(16, 2), (32, 4), (47, 6), (48, 6), (49, 6), (57, 7), (61, 7)])
def test_plains_phi_is_a_fully_connected_layer_on_the_whole_map(image_size, side):
    torch.manual_seed(0)
    backbone = build_backbone(params(size=image_size)).eval()
    (layer,) = (module for module in backbone.head if isinstance(module, nn.Linear))
    assert layer.in_features == 128 * side**2
    pixels = torch.randint(256, (2, 3, image_size, image_size), dtype=torch.uint8)
    with torch.no_grad():
        omega, phi = backbone(pixels)
        by_hand = torch.einsum("bchw,dchw->bd", omega, layer.weight.view(128, *backbone.map_shape)) + layer.bias
    torch.testing.assert_close(phi, by_hand.clamp(min=0), rtol=1e-4, atol=1e-5)
    # a mean over places would be the same for mirrored maps
    assert not torch.allclose(phi, backbone.head(omega.flip(3)), atol=1e-3)


def test_place_mean():
    omega = torch.arange(12.0).view(1, 2, 2, 3)
    assert SpatialMean()(omega).tolist() == [[2.5, 8.5]]


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
    with pytest.raises(UserError, match="the plain backbone has no weights to load"):
        build_backbone(params(weights="download"))
    with pytest.raises(UserError, match=r"network\.backbone = 'lenet': known are plain and torchvision's families vgg"):
        build_backbone(params(backbone="lenet"))
    with pytest.raises(UserError, match=r"network\.backbone = 'efficientnet_lite4': of this family there is"):
        build_backbone(params(backbone="efficientnet_lite4"))
    with pytest.raises(UserError, match=r"torchvision has no weights of efficientnet_lite0; name a .safetensors file"):
        build_backbone(params(backbone="efficientnet_lite0", weights="download"))


# The smallest member of each family, an image size, and omega's and phi's shapes from the papers of these networks.
SMALLEST = [
    ("vgg11", 32, (512, 1, 1), 4096),
    ("alexnet", 72, (256, 1, 1), 4096),
    ("squeezenet1_1", 64, (512, 3, 3), 512),
    ("resnet18", 70, (512, 3, 3), 512),
    ("resnext50_32x4d", 33, (2048, 2, 2), 2048),
    ("wide_resnet50_2", 32, (2048, 1, 1), 2048),
    ("regnet_y_400mf", 64, (440, 2, 2), 440),
    ("shufflenet_v2_x0_5", 64, (1024, 2, 2), 1024),
    ("mnasnet0_5", 64, (1280, 2, 2), 1280),
    ("mobilenet_v2", 64, (1280, 2, 2), 1280),
    ("mobilenet_v3_small", 64, (576, 2, 2), 1024),
    ("efficientnet_b0", 64, (1280, 2, 2), 1280),
    ("efficientnet_lite0", 64, (1280, 2, 2), 1280),
    ("densenet121", 64, (1024, 2, 2), 1024),
    ("convnext_tiny", 70, (768, 2, 2), 768),
    ("swin_t", 40, (768, 2, 2), 768),
    ("vit_b_32", 96, (768, 3, 3), 768),
]


def test_every_family_is_tested():
    assert {family for family in FAMILIES for name, *_ in SMALLEST if name.startswith(family)} == set(FAMILIES)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "size", "map_shape", "num_features"), SMALLEST)
def test_torchvision_families(name, size, map_shape, num_features, monkeypatch):
    """The uncut classifier is the oracle: its last layer, applied to the ConvNet's phi, gives its own logits."""
    import torchvision

    from model.nets import efficientnet_lite

    torch.manual_seed(0)
    made, get_model = [], torchvision.models.get_model
    monkeypatch.setattr(torchvision.models, "get_model", lambda *a, **k: made.append(get_model(*a, **k)) or made[-1])
    init = efficientnet_lite.InvertedResidualNet.__init__
    monkeypatch.setattr(
        efficientnet_lite.InvertedResidualNet, "__init__", lambda net, *a: made.append(net) or init(net, *a)
    )
    backbone = build_backbone(params(name, size=size)).eval()
    assert (backbone.map_shape, backbone.num_features) == (map_shape, num_features)
    (classifier,) = made
    last = [layer for layer in classifier.modules() if isinstance(layer, nn.Linear)]
    if last:
        nn.init.normal_(last[-1].weight)  # a ViT's last layer is initialised to zero
    pixels = torch.randn(2, 3, size, size)
    visual = backbone.run_normalised(pixels)
    with torch.no_grad():
        expected = classifier.eval()(pixels)
        # without a linear layer (SqueezeNet) the last layer is a convolution of omega
        found = last[-1](visual.phi) if last else classifier.classifier(visual.omega).flatten(1)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5 * expected.abs().max().item())
    (visual.omega.square().mean() + visual.phi.square().mean()).backward()
    for key, parameter in backbone.named_parameters():
        assert parameter.grad is not None, key
        assert torch.isfinite(parameter.grad).all(), key


class FewTokens(nn.Module):
    """A module with position vectors named as in torchvision's ViT."""

    def __init__(self, num_positions: int, width: int = 3) -> None:
        super().__init__()
        self.encoder = nn.Module()
        self.encoder.pos_embedding = nn.Parameter(torch.zeros(1, 1 + num_positions, width))


def test_positions_are_interpolated_to_the_image_size():
    # From 2 x 2 to 3 x 3 positions: the corners and the class token stay; an edge's middle is its corners' mean.
    given = torch.tensor([7.0, 0, 1, 2, 5]).view(1, 5, 1)
    found = at_this_size({POSITIONS: given}, FewTokens(9, 1))[POSITIONS].flatten().tolist()
    assert found == pytest.approx([7, 0, 0.5, 1, 1, 2, 3, 2, 3.5, 5], abs=1e-6)
    assert at_this_size({POSITIONS: given}, FewTokens(4, 1))[POSITIONS] is given
    assert at_this_size({POSITIONS: given}, FewTokens(9, 2))[POSITIONS] is given  # another width: loading it fails


@pytest.mark.slow
def test_a_vision_transformer_loads_a_file_of_another_image_size(tmp_path):
    from torchvision.models import get_model

    torch.manual_seed(0)
    given = get_model("vit_b_32", image_size=64, num_classes=3)
    save_file(given.state_dict(), tmp_path / "w.safetensors")
    backbone = build_backbone(params("vit_b_32", str(tmp_path / "w.safetensors"), size=96))
    assert torch.equal(backbone.features.conv_proj.weight, given.conv_proj.weight)
    assert torch.equal(backbone.features.encoder.ln.weight, given.encoder.ln.weight)
    positions = backbone.features.encoder.pos_embedding[0]
    assert positions.shape == (1 + 9, 768)
    assert torch.equal(positions[[0, 1, 3, 7, 9]], given.encoder.pos_embedding[0])
    with pytest.raises(UserError, match=r"network\.image_size = 48: vit_b_32 needs a multiple of 32, the side"):
        build_backbone(params("vit_b_32", size=48))


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
@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("squeezenet1_1", "squeezenet1_1_imagenet_features"),
        ("mobilenet_v2", "mobilenet_v2_imagenet"),
        ("efficientnet_lite0", "efficientnet_lite0_imagenet"),
    ],
)
def test_imagenet_weights_are_loaded_in_single_precision(name, file):
    path = SHARED / "weights" / f"{file}.safetensors"
    if not path.is_file():
        pytest.skip(f"{path} is missing")
    found = build_backbone(params(name, str(path), size=129)).state_dict()
    given = {key: value for key, value in load_file(path).items() if not key.startswith("classifier.")}
    assert set(found) == set(given)  # the mean and the deviation of the images are not part of the state
    for key, value in given.items():  # some files have half precision
        assert found[key].dtype == (torch.int64 if key.endswith("num_batches_tracked") else torch.float32)
        assert torch.equal(found[key], value.to(found[key].dtype)), key


@pytest.mark.slow
@pytest.mark.real_data
def test_efficientnet_lite_knows_a_goldfinch():
    """The weights belong to this network: the class of photographs that ImageNet's classes include, at 225 pixels."""
    weights = SHARED / "weights" / "efficientnet_lite0_imagenet.safetensors"
    photographs = sorted((SHARED / "data" / "birds50" / "target" / "american_goldfinch").glob("*.jpg"))[:8]
    if not weights.is_file() or not photographs:
        pytest.skip(f"{weights} or the photographs are missing")
    convnet = build_backbone(params("efficientnet_lite0", str(weights), size=225)).eval()
    last = {key: value.float() for key, value in load_file(weights).items() if key.startswith("classifier.1.")}
    crops = [centre_crop(decode(path.read_bytes(), 256), 225) for path in photographs]
    with torch.no_grad():
        phi = convnet(torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2)).phi
        best = (phi @ last["classifier.1.weight"].T + last["classifier.1.bias"]).argmax(dim=1)
    names = (SHARED / "weights" / "imagenet1k_labels.txt").read_text().splitlines()
    assert sum(names[index].startswith("goldfinch") for index in best) >= len(photographs) - 1


@pytest.mark.slow
def test_with_mobilenets_rows_it_is_torchvisions_mobilenet():
    from torchvision.models import mobilenet_v2

    from model.nets.efficientnet_lite import Blocks, InvertedResidualNet

    rows = [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)]
    torch.manual_seed(0)
    theirs = mobilenet_v2(num_classes=7)
    ours = InvertedResidualNet([Blocks(*row, 3) for row in rows], num_classes=7)
    theirs.load_state_dict(ours.state_dict())
    pixels = torch.randn(2, 3, 65, 97)
    with torch.no_grad():
        torch.testing.assert_close(ours.eval()(pixels), theirs.eval()(pixels))


@pytest.mark.slow
def test_efficientnet_lite0_is_the_published_network():
    from model.nets.efficientnet_lite import EFFICIENTNET_LITE0, InvertedResidualNet

    net = InvertedResidualNet(EFFICIENTNET_LITE0)
    assert sum(weight.numel() for weight in net.parameters()) == 4_652_008  # published: 4.7 million
    kernels = [block.conv[-3][0].kernel_size[0] for block in net.features[1:-1]]
    assert kernels == [3, 3, 3, 5, 5, 3, 3, 3, 5, 5, 5, 5, 5, 5, 5, 3]
