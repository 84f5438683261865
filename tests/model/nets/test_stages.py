import copy
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from stage_cases import CASES, Case
from torch import nn

from base.console import UserError
from model.nets.backbones import FAMILIES, build_backbone
from model.nets.params import BackboneParams
from model.nets.stages import HALVINGS, build_stages

WEIGHTS = Path(__file__).parents[3].parent / "shared" / "weights"


def params(backbone: str = "plain", weights: str = "none", size: int = 48) -> BackboneParams:
    return BackboneParams(backbone=backbone, weights=weights, image_size=size, resize=size)


def built(case: Case, build):
    torch.manual_seed(0)
    return build(params(case.name, size=case.size))


@pytest.fixture(
    scope="module",
    params=[pytest.param(case, marks=[] if case.name == "plain" else pytest.mark.slow, id=case.name) for case in CASES],
)
def nets(request):
    """Return a case, its ConvNet, and its StageNet from the same seed; only one case at a time is in memory."""
    return request.param, built(request.param, build_backbone).eval(), built(request.param, build_stages).eval()


def pixels(size: int, number: int = 2) -> torch.Tensor:
    return torch.randn(number, 3, size, size, generator=torch.Generator().manual_seed(1))


def images(size: int, number: int = 2) -> torch.Tensor:
    return torch.randint(0, 256, (number, 3, size, size), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


def test_every_family_is_tested():
    assert {family for family in FAMILIES for case in CASES if case.name.startswith(family)} == set(FAMILIES)
    assert {family for family in HALVINGS for case in CASES if case.name.startswith(family)} == set(HALVINGS)


def test_weights_have_the_names_and_values_of_the_convnet(nets):
    _, convnet, net = nets
    expected, found = convnet.state_dict(), net.state_dict()
    assert sorted(found) == sorted(expected)  # Swin's have another order
    assert all(torch.equal(found[name], value) for name, value in expected.items())
    assert {name for name, _ in net.named_parameters()} == {name for name, _ in convnet.named_parameters()}
    assert {name for name, _ in net.named_buffers()} == {name for name, _ in convnet.named_buffers()}
    net.load_state_dict(expected)
    convnet.load_state_dict(found)


def test_maps_have_the_declared_shapes(nets):
    case, convnet, net = nets
    assert [tuple(shape) for shape in net.shapes] == [(c, side, side, stride) for c, side, stride in case.shapes]
    assert (net.map_shape, net.num_features) == (convnet.map_shape, convnet.num_features)
    with torch.no_grad():
        maps, phi = net.stages(images(case.size))
    assert [tuple(found.shape) for found in maps] == [(2, *shape[:3]) for shape in net.shapes]
    assert phi.shape == (2, net.num_features)


def test_a_stride_is_what_it_takes_to_have_one_more_place(nets):
    case, _, net = nets
    if case.name.startswith("vit"):  # a ViT takes images of one size only
        assert net.features.conv_proj.kernel_size == (net.shapes[0].stride,) * 2
        return
    with torch.no_grad():  # plain's layer from omega to phi takes maps of one size only
        maps = list(net.features(images(case.size + 32, 1).float()).values())
    if net.channels_last:
        maps = [*(found.permute(0, 3, 1, 2) for found in maps[:-1]), maps[-1]]
    assert [found.shape[2] - shape.height for found, shape in zip(maps, net.shapes, strict=True)] == [
        32 // shape.stride for shape in net.shapes
    ]


def test_omega_and_phi_are_those_of_the_convnet(nets):
    case, convnet, net = nets
    with torch.no_grad():
        expected, found, whole = convnet(images(case.size)), net.stages(images(case.size)), net(images(case.size))
    assert torch.equal(found.maps[-1], expected.omega)
    assert torch.equal(found.phi, expected.phi)
    assert torch.equal(whole.omega, expected.omega)
    assert torch.equal(whole.phi, expected.phi)


def parts_of(features: nn.Module) -> list[nn.Module]:
    """Return the parts in order; for RegNet and Swin, which have one part for all stages, return the stages."""
    parts = []
    for name, part in features.named_children():
        parts += list(part.children()) if name in ("trunk_output", "features") else [part]
    return parts


def last_before_each_halving(convnet, seen: torch.Tensor, channels_last: bool) -> list[torch.Tensor]:
    """Return the last output of each size, copied when it was computed; this oracle uses no names of layers."""
    last: dict[int, torch.Tensor] = {}

    def note(part, inputs, output):
        output = output.permute(0, 3, 1, 2) if channels_last and part is not parts[-1] else output
        last[output.shape[2]] = output.clone()

    parts = parts_of(convnet.features)
    hooks = [part.register_forward_hook(note) for part in parts]
    convnet.run_normalised(seen)
    for hook in hooks:
        hook.remove()
    return [last[side] for side in sorted(last, reverse=True)]


def test_each_map_is_the_last_before_a_halving(nets):
    case, convnet, net = nets
    with torch.no_grad():
        if case.name.startswith("vit"):  # the resolution of a ViT doesn't fall
            expected = [convnet.run_normalised(pixels(case.size)).omega]
        else:
            expected = last_before_each_halving(convnet, pixels(case.size), case.name.startswith("swin"))
        maps = net.run_stages_normalised(pixels(case.size)).maps
    assert len(maps) == len(expected)
    assert all(torch.equal(found, value) for found, value in zip(maps, expected, strict=True))


def test_a_mark_in_a_corner_is_in_that_corner_of_each_map(nets):
    case, _, net = nets
    blank = torch.full((1, 3, case.size, case.size), 120, dtype=torch.uint8)
    marked = blank.clone()
    marked[:, :, : case.size // 4, -case.size // 4 :] = 255  # top right: a transposed map would fail
    with torch.no_grad():
        changes = [
            (after - before).abs().sum(dim=1)[0]
            for before, after in zip(net.stages(blank).maps, net.stages(marked).maps, strict=True)
        ]
    for change, shape in zip(changes, net.shapes, strict=True):
        corners = change[[0, 0, -1, -1], [0, -1, 0, -1]]
        assert corners.argmax() == 1, (shape, corners)


def test_every_weight_that_the_maps_depend_on_has_a_finite_gradient(nets):
    case, _, net = nets
    net.zero_grad()
    sum(found.square().mean() for found in net.run_stages_normalised(pixels(case.size)).maps).backward()
    for name, parameter in net.features.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
    assert all(parameter.grad is None for parameter in net.head.parameters())
    net.zero_grad()


def test_one_pass_gives_maps_and_phi(nets):
    case, _, net = nets
    passes = []
    first = next(part for part in net.modules() if isinstance(part, nn.Conv2d))
    hook = first.register_forward_hook(lambda *_: passes.append(1))
    with torch.no_grad():
        net.stages(images(case.size))
    hook.remove()
    assert passes == [1]


def test_modes_are_those_of_the_convnet(nets):
    """Training mode changes the statistics of batch normalisation and drops paths; evaluation mode does neither."""
    case, convnet, net = nets
    before = copy.deepcopy(net.state_dict())
    with torch.no_grad():
        net.stages(images(case.size))
        assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
        results = []
        for each in (convnet, net):
            torch.manual_seed(2)
            each.train()
            results.append(each(images(case.size)))
            each.eval()
        assert torch.equal(results[0].omega, results[1].omega)
        assert torch.equal(results[0].phi, results[1].phi)
        after = net.state_dict()
        assert all(torch.equal(after[name], value) for name, value in convnet.state_dict().items())
        moved = {name for name, value in after.items() if not torch.equal(value, before[name])}
        assert moved == {
            name for name in after if name.endswith(("running_mean", "running_var", "num_batches_tracked"))
        }
        assert torch.equal(net.stages(images(case.size)).maps[-1], convnet(images(case.size)).omega)


@pytest.mark.parametrize("training", [False, True])
def test_a_copy_keeps_weights_and_modes(training):
    net = build_stages(params()).train()
    net.features.train(training)
    other = copy.deepcopy(net)
    assert {name: part.training for name, part in other.named_modules()} == {
        name: part.training for name, part in net.named_modules()
    }
    assert (other.training, other.features.training) == (True, training)
    pairs = list(zip(net.parameters(), other.parameters(), strict=True))
    assert all(torch.equal(mine, copied) and mine is not copied for mine, copied in pairs)
    net.eval()
    other.eval()
    assert torch.equal(net(images(48)).omega, other(images(48)).omega)


def test_modules_move_with_their_network():
    net = build_stages(params()).to(torch.float64).eval()
    assert {found.dtype for found in (*net.stages(images(48)).maps, net(images(48)).phi)} == {torch.float64}
    assert {value.dtype for value in net.state_dict().values()} == {torch.float64, torch.int64}


# Members whose layers have other numbers than those of their family's smallest; on the device "meta", which needs no
# weights and no arithmetic.
OTHER_MEMBERS = [
    ("vgg19_bn", [1, 2, 4, 8, 16, 32], [64, 128, 256, 512, 512, 512]),
    ("squeezenet1_0", [2, 4, 8, 16], [96, 256, 512, 512]),
    ("resnet101", [2, 4, 8, 16, 32], [64, 256, 512, 1024, 2048]),
    ("efficientnet_b1", [2, 4, 8, 16, 32], [16, 24, 40, 112, 1280]),
    ("efficientnet_v2_s", [2, 4, 8, 16, 32], [24, 48, 64, 160, 1280]),
    ("efficientnet_v2_m", [2, 4, 8, 16, 32], [24, 48, 80, 176, 1280]),
    ("swin_v2_t", [4, 8, 16, 32], [96, 192, 384, 768]),
    ("vit_b_16", [16], [768]),
]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "strides", "channels"), OTHER_MEMBERS)
def test_other_members_of_a_family(name, strides, channels):
    with torch.device("meta"):
        net = build_stages(params(name, size=224))
    assert [shape.stride for shape in net.shapes] == strides
    assert [shape.channels for shape in net.shapes] == channels
    if not name.startswith("squeezenet"):  # SqueezeNet's layers are not padded
        assert [(shape.height, shape.width) for shape in net.shapes] == [(224 // s, 224 // s) for s in strides]


def test_what_cannot_be_is_said():
    with pytest.raises(UserError, match=r"network\.backbone = 'lenet': known are plain and torchvision's families vgg"):
        build_stages(params("lenet"))
    with pytest.raises(UserError, match="the plain backbone has no weights to load"):
        build_stages(params(weights="download"))


@pytest.mark.slow
def test_an_image_too_small_for_its_backbone():
    with pytest.raises(UserError, match=r"network\.image_size = 16 is too small for this backbone"):
        build_stages(params("squeezenet1_1", size=16))


@pytest.mark.slow
def test_start_weights_can_be_left_out(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        build_stages(params("squeezenet1_1", str(tmp_path / "none.safetensors"), size=64))
    build_stages(params("squeezenet1_1", str(tmp_path / "none.safetensors"), size=64), load_weights=False)


@pytest.mark.slow
@pytest.mark.real_data
@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("squeezenet1_1", "squeezenet1_1_imagenet_features.safetensors"),
        ("mobilenet_v2", "mobilenet_v2_imagenet.safetensors"),
    ],
)
def test_with_imagenet_weights(name, file):
    if not (WEIGHTS / file).is_file():
        pytest.skip(f"{WEIGHTS / file} is missing")
    start = params(name, str(WEIGHTS / file), size=129)
    convnet, net = build_backbone(start).eval(), build_stages(start).eval()
    features = {key: value for key, value in load_file(WEIGHTS / file).items() if key.startswith("features.")}
    found = net.state_dict()
    assert set(found) == set(features)
    assert all(torch.equal(found[key], value.to(found[key].dtype)) for key, value in features.items())
    with torch.no_grad():
        expected = last_before_each_halving(convnet, pixels(129), channels_last=False)
        maps = net.run_stages_normalised(pixels(129)).maps
    assert all(torch.equal(stage, value) for stage, value in zip(maps, expected, strict=True))
    assert all(stage.abs().max() > 0 for stage in maps)


@pytest.mark.parametrize("frozen", [{"frozen_blocks": 2}, {"frozen_statistics": True}])
def test_frozen_parts_are_refused(frozen):
    with pytest.raises(UserError, match=r"frozen_\w+ = (2|True): .* use null"):
        build_stages(params("plain").model_copy(update=frozen))
