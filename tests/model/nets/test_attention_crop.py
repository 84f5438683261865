import pytest
import torch
from torch.nn import functional

from model.nets.attention_crop import attention_crop


def test_its_gradients_are_those_of_finite_differences() -> None:
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(2, 2, 7, 7, dtype=torch.float64, generator=generator, requires_grad=True)
    # places between pixels, where the interpolation is differentiable
    regions = torch.tensor([[3.13, 2.91, 1.71], [2.57, 3.39, 2.23]], dtype=torch.float64, requires_grad=True)
    for steepness in (0.7, 10.0):
        crop = lambda images, regions, k=steepness: attention_crop(images, regions, k)  # noqa: E731
        assert torch.autograd.gradcheck(crop, (images, regions))


def test_it_is_the_masked_image_sampled_bilinearly() -> None:
    generator = torch.Generator().manual_seed(1)
    images = torch.rand(2, 3, 9, 9, generator=generator)
    regions = torch.tensor([[4.0, 3.5, 2.2], [5.1, 4.4, 1.5]])
    steepness = 1.3
    places = torch.arange(9.0)

    def window(centre: float, half: float) -> torch.Tensor:
        return torch.sigmoid(steepness * (places - centre + half)) - torch.sigmoid(steepness * (places - centre - half))

    expected = []
    for image, (x, y, half) in zip(images, regions.tolist(), strict=True):
        mask = window(y, half)[:, None] * window(x, half)[None, :]
        shares = torch.linspace(-1, 1, 9)
        rows, columns = torch.meshgrid((y + half * shares) / 4 - 1, (x + half * shares) / 4 - 1, indexing="ij")
        grid = torch.stack([columns, rows], dim=2)[None]
        expected.append(functional.grid_sample((image * mask)[None], grid, align_corners=True)[0])
    assert torch.allclose(attention_crop(images, regions, steepness), torch.stack(expected), atol=1e-5)


def test_the_whole_image_stays_as_it_is() -> None:
    images = torch.rand(1, 1, 8, 8, generator=torch.Generator().manual_seed(2))
    found = attention_crop(images, torch.tensor([[3.5, 3.5, 3.5]]), steepness=1e4)
    assert torch.allclose(found[..., 1:-1, 1:-1], images[..., 1:-1, 1:-1], atol=1e-6)


@pytest.mark.parametrize(("direction", "place"), [(0, (4, 7)), (1, (7, 4))])
def test_a_region_moves_to_what_lies_just_beyond_its_border(direction: int, place: tuple[int, int]) -> None:
    images = torch.zeros(1, 1, 9, 9)
    images[0, 0, place[0], place[1]] = 1
    regions = torch.tensor([[4.0, 4.0, 2.9]], requires_grad=True)
    attention_crop(images, regions, steepness=2.0).sum().backward()
    assert regions.grad[0, direction] > 0
    assert regions.grad[0, 2] > 0  # or it grows
