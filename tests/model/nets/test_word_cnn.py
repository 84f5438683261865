import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from model.nets.word_cnn import PADDING, WordCNN

VECTORS = torch.tensor([[1.0, -2.0], [0.5, 3.0], [-1.0, 0.25], [2.0, 2.0]])


def net(widths: tuple[int, ...] = (2, 3), tuned: bool = True) -> WordCNN:
    torch.manual_seed(5)
    return WordCNN(VECTORS, widths, kernels=4, categories=3, dropout=0.5, tuned=tuned).eval()


@given(st.lists(st.integers(1, 4), max_size=6))
def test_features_are_the_maxima_of_a_written_out_loop(words: list[int]) -> None:
    cnn = net()
    expected = []
    for width, convolution in zip(cnn.widths, cnn.convolutions, strict=True):
        weight, bias = convolution.weight.tolist(), convolution.bias.tolist()
        for kernel in range(4):
            best = 0.0
            for start in range(1 - width, len(words)) if words else ():  # windows with at least one word
                total = bias[kernel]
                for offset in range(width):
                    if 0 <= start + offset < len(words):
                        vector = VECTORS[words[start + offset] - 1].tolist()
                        total += sum(weight[kernel][d][offset] * vector[d] for d in range(2))
                best = max(best, total)
            expected.append(best)
    table = torch.tensor([words + [PADDING] * (7 - len(words))])
    assert cnn.features(table)[0].tolist() == pytest.approx(expected, abs=1e-5)


def test_padding_and_other_texts_of_the_batch_have_no_influence() -> None:
    cnn = net()
    short = cnn.features(torch.tensor([[1, 2]]))
    long = cnn.features(torch.tensor([[1, 2, 0, 0, 0, 0], [3, 4, 1, 2, 3, 1], [0, 0, 0, 0, 0, 0]]))
    torch.testing.assert_close(long[0], short[0])
    assert not long[2].any()


def test_every_parameter_gets_a_finite_gradient_and_static_vectors_none() -> None:
    cnn = net(widths=(1, 2)).train()
    torch.nn.functional.cross_entropy(cnn(torch.tensor([[1, 2, 3], [4, 1, 0]])), torch.tensor([0, 2])).backward()
    for name, parameter in cnn.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.any(), name
    assert not cnn.embedding.weight.grad[PADDING].any()  # type: ignore[index]
    assert not net(tuned=False).embedding.weight.requires_grad


def test_the_paper_has_three_hundred_features() -> None:
    cnn = WordCNN(VECTORS, (3, 4, 5), kernels=100, categories=2, dropout=0.5, tuned=True)
    assert cnn.features(torch.tensor([[1]])).shape == (1, 300)
    assert cnn(torch.tensor([[1], [2]])).shape == (2, 2)
    assert not cnn.features(torch.tensor([[0]])).any()
