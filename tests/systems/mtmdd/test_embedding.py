import pytest
import torch

from base.console import UserError
from systems.mtmdd.config import EmbeddingParams
from systems.mtmdd.embedding import WordEmbedding

PARAMS = EmbeddingParams(kind="CONV+biFC", kernel_size=3, kernels=4, hidden=6, dropout=0.5)


@pytest.mark.parametrize(
    ("kind", "map_shape", "weights"),
    [
        ("FC", (2, 5, 4), [(9, 40)]),
        ("biFC", (2, 5, 4), [(6, 40), (9, 6)]),
        ("CONV+FC", (2, 7, 8), [(4, 2, 3, 3), (9, 4 * 2 * 2)]),
        ("CONV+biFC", (2, 7, 6), [(4, 2, 3, 3), (6, 4 * 2 * 2), (9, 6)]),
        ("CONV+biFC", (2, 2, 1), [(4, 2, 3, 3), (6, 4), (9, 6)]),  # smaller than the pool
    ],
)
def test_layers(kind, map_shape, weights):
    embedding = WordEmbedding(PARAMS.only_used(kind), map_shape, num_words=9)
    assert [tuple(p.shape) for name, p in embedding.named_parameters() if name.endswith("weight")] == weights
    assert embedding(torch.randn(3, *map_shape)).shape == (3, 9)


@pytest.mark.parametrize(
    ("side", "padding", "ceil_pooling", "positions"),
    [
        # the released definition: pool5 of 7 x 7, 5 x 5 kernels, padding 1: 5 x 5; Caffe pools it to 2 x 2
        (7, 1, True, 2 * 2),
        (7, 1, None, 1 * 1),
        (7, None, None, 2 * 2),  # 'same': 7 x 7; pooling leaves out the last row and column
        (7, None, True, 3 * 3),
        (3, 1, True, 1),  # one position after the convolution
    ],
)
def test_borders(side, padding, ceil_pooling, positions):
    params = EmbeddingParams(kind="CONV+FC", kernel_size=5, kernels=4, padding=padding, ceil_pooling=ceil_pooling)
    embedding = WordEmbedding(params, (2, side, side), num_words=9)
    assert embedding.layers[-1].in_features == 4 * positions
    assert embedding(torch.randn(3, 2, side, side)).shape == (3, 9)


def test_kernels_that_do_not_fit_are_named():
    params = EmbeddingParams(kind="CONV+FC", kernel_size=5, kernels=4, padding=0)
    with pytest.raises(UserError, match=r"kernel_size = 5 with padding = 0 does not fit omega, which is 4 x 6"):
        WordEmbedding(params, (2, 4, 6), num_words=9)


def test_fc_is_linear_and_the_others_are_not():
    torch.manual_seed(0)
    omega, other = torch.randn(2, 1, 2, 4, 4)
    for kind in ("FC", "biFC", "CONV+FC", "CONV+biFC"):
        embedding = WordEmbedding(PARAMS.only_used(kind), (2, 4, 4), num_words=5).eval()
        zero = embedding(torch.zeros_like(omega))
        added = embedding(omega + other) - zero
        apart = embedding(omega) - zero + embedding(other) - zero
        assert torch.allclose(added, apart, atol=1e-5) == (kind == "FC")


def test_by_hand():
    # E1: a 1 x 1 kernel of 2 with bias -1, the maximum over 3 x 3, ReLU; then E: weights 2, bias -1
    embedding = WordEmbedding(EmbeddingParams(kind="CONV+FC", kernel_size=1, kernels=1), (1, 3, 6), num_words=1)
    with torch.no_grad():
        for name, value in embedding.named_parameters():
            value.fill_(2.0 if name.endswith("weight") else -1.0)
    omega = torch.tensor([[[[0.0, 1, 5, -9, -9, -2], [0, 0, 0, -1, -3, -3], [0, 2, 0, -4, -4, -4]]]])
    # maxima 2 * 5 - 1 = 9 and 2 * -1 - 1 = -3, the latter cut to 0; 2 * 9 + 2 * 0 - 1
    assert embedding(omega).item() == 17


def test_dropout_only_in_training():
    embedding = WordEmbedding(PARAMS, (2, 4, 4), num_words=5)
    omega = torch.randn(1, 2, 4, 4)
    assert not torch.equal(embedding(omega), embedding(omega))
    embedding.eval()
    assert torch.equal(embedding(omega), embedding(omega))


def test_the_share_that_is_dropped_is_the_parameter():
    # E3 adds up 200 units of 1; dropout keeps some of them and divides by the share that is kept
    params = EmbeddingParams(kind="biFC", hidden=200, dropout=0.75)
    embedding = WordEmbedding(params, (1, 1, 1), num_words=1)
    with torch.no_grad():
        for name, value in embedding.named_parameters():
            value.fill_(1.0 if name.endswith("weight") else 0.0)
    torch.manual_seed(0)
    kept = embedding(torch.ones(300, 1, 1, 1))[:, 0] * 0.25
    assert kept.mean().item() == pytest.approx(50, abs=3)
    assert kept.max() < 100


# --- a low-rank E3, and its start


def low_rank(rank: int, num_words: int = 9) -> WordEmbedding:
    torch.manual_seed(0)
    params = EmbeddingParams(kind="biFC", hidden=6, dropout=0.0, rank=rank, click_start=True)
    return WordEmbedding(params, (2, 1, 1), num_words)


def test_e3_is_a_product_of_two_matrices():
    embedding = low_rank(2)
    shapes = [tuple(weight.shape) for weight in embedding.parameters()]
    assert shapes == [(6, 2), (6,), (2, 6), (9, 2), (9,)]  # E2 and its bias, W, U and its bias
    omega = torch.randn(30, 2, 1, 1)
    zero = embedding.layers[-1].bias
    assert torch.linalg.matrix_rank(embedding(omega).detach() - zero.detach(), atol=1e-5) == 2


def test_it_starts_with_the_main_directions_of_click_features():
    """Three groups of words that never occur together: the directions are the groups, the largest first."""
    embedding = low_rank(2)
    before = embedding.layers[-1].weight.norm()
    bias = embedding.layers[-1].bias.clone()
    clicks = torch.zeros(14, 9)
    clicks[:8, [1, 4]] = torch.tensor([3.0, 4.0])  # eight images; N' makes every image equally long
    clicks[8:13, 7] = 50.0
    clicks[13, [0, 2]] = 1.0  # one image: the third direction, which has no column
    embedding.start_with(clicks)
    columns = embedding.layers[-1].weight.detach()
    scale = columns.norm() / 2**0.5
    expected = torch.zeros(9, 2)
    expected[[1, 4], 0] = torch.tensor([0.6, 0.8])
    expected[7, 1] = 1.0
    torch.testing.assert_close(columns / scale, expected, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(columns.norm(), before)
    assert torch.equal(embedding.layers[-1].bias, bias)


def test_directions_that_are_missing_are_zero_columns_and_no_click_leaves_the_random_start():
    embedding = low_rank(4)
    before = embedding.layers[-1].weight.detach().clone()
    embedding.start_with(torch.zeros(5, 9))
    assert torch.equal(embedding.layers[-1].weight, before)
    clicks = torch.zeros(5, 9)
    clicks[:, 3] = 2.0
    embedding.start_with(clicks)
    columns = embedding.layers[-1].weight.detach()
    assert columns.nonzero().tolist() == [[3, 0]]
    assert columns[3, 0] > 0
