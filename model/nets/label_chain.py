r"""Labels one after another: a recurrent network over an image's labels, and a beam search for its most probable path.

A path is a sequence of different labels that ends by itself. With the features I of an image and the label before, e:

    o, c = LSTM(U_l e, o', c'),   x = ReLU(U_o o + U_I I + a),   P(next = j) = softmax over j of (U_l x + b)_j

U_l, the embedding of labels, also gives the scores, as in the reference; the biases a and b, and ReLU, are ours. The
path's probability is the product of these probabilities. The reference leaves open what keeps a path from naming a
label twice; here such labels, and the end of a path without a label, are left out of the softmax, and a path of `most`
labels is over. So the probabilities of all paths of an image sum to 1.

Reference: Wang et al., "CNN-RNN: a unified framework for multi-label image classification" (CVPR 2016), section 3.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

NONE = -1  # in sequences: there is nothing to learn any more


class LabelChain(nn.Module):
    """The network of the module's text.

    Args:
        num_features: D.
        num_labels: C.
        most: labels of the longest path.
        embedding: length of a label's embedding; the reference: 64.
        hidden: units of the LSTM; the reference: 512.

    Shape:
        input: features (B, D), sequences int64 (B, most); output: each image's loss, (B,)
    """

    def __init__(self, num_features: int, num_labels: int, most: int, embedding: int = 64, hidden: int = 512) -> None:
        super().__init__()
        self.num_labels, self.most = num_labels, most
        self.end, self.begin = num_labels, num_labels + 1  # the end can be predicted, the beginning cannot
        self.labels = nn.Embedding(num_labels + 2, embedding)
        nn.init.normal_(self.labels.weight, std=embedding**-0.5)  # scores near 0 at first, or large steps end the ReLUs
        self.cell = nn.LSTMCell(embedding, hidden)
        self.of_output = nn.Linear(hidden, embedding)
        self.of_image = nn.Linear(num_features, embedding, bias=False)
        self.bias = nn.Parameter(torch.zeros(num_labels + 1))

    def forward(self, features: Tensor, sequences: Tensor) -> Tensor:
        """Return each image's -log of the probability of its path, see `label_sequences`."""
        image, state = self.of_image(features), None
        before = torch.full_like(sequences[:, 0], self.begin)
        named = torch.zeros(len(features), self.num_labels, dtype=torch.bool, device=features.device)
        losses = features.new_zeros(len(features))
        for target in sequences.unbind(dim=1):
            log_p, state = self.step(image, before, named, state)
            losses = losses + functional.nll_loss(log_p, target, ignore_index=NONE, reduction="none")
            before = target.clamp(min=0)
            named = named | functional.one_hot(before, self.num_labels + 1)[:, : self.num_labels].bool()
        return losses

    def step(
        self, image: Tensor, before: Tensor, named: Tensor, state: tuple[Tensor, Tensor] | None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Return the log-probabilities of what is next, labels and then the end, and the new state.

        Args:
            image: U_I I.
            before: the label before, or `begin`.
            named: the labels that the path has already.
            state: of the LSTM; None at the beginning.

        Shape:
            image: (B, E); before: (B,); named: bool (B, C); result: (B, C + 1)
        """
        output, memory = self.cell(self.labels(before), state)
        joined = functional.relu(self.of_output(output) + image)
        scores = functional.linear(joined, self.labels.weight[: self.num_labels + 1], self.bias)
        left_out = torch.cat([named, (before == self.begin)[:, None]], dim=1)
        return scores.masked_fill(left_out, -torch.inf).log_softmax(dim=1), (output, memory)

    @torch.no_grad()
    def search(self, features: Tensor, beam: int, length: int | None = None) -> Tensor:
        """Return the labels of the most probable path of each image that a beam search finds, bool (B, C).

        In every step each image keeps the `beam` most probable beginnings; of equally probable ones the one that
        continues the more probable beginning is kept, and then that with the first label.

        Args:
            features: of images, (B, D).
            beam: at least 1.
            length: the number of labels of all paths, which then don't end by themselves; more than C means C. None:
                they end by themselves.
        """
        number, width = len(features), self.num_labels + 1
        image = self.of_image(features).repeat_interleave(beam, dim=0)
        before = torch.full((number * beam,), self.begin, device=features.device)
        named = torch.zeros(number * beam, self.num_labels, dtype=torch.bool, device=features.device)
        log_p = features.new_full((number, beam), -torch.inf)
        log_p[:, 0] = 0  # all beginnings are the same one at first
        ended, state = torch.zeros(number, beam, dtype=torch.bool, device=features.device), None
        for _ in range(min(self.most if length is None else length, self.num_labels)):
            next_p, state = self.step(image, before, named, state)
            next_p = next_p.view(number, beam, width)
            if length is not None:  # without an end, the rest has the probability 1
                next_p = functional.pad(next_p[..., :-1].log_softmax(dim=2), (0, 1), value=-torch.inf)
            stays = torch.full_like(next_p, -torch.inf)
            stays[..., self.end] = 0
            every = log_p[..., None] + torch.where(ended[..., None], stays, next_p)
            log_p, best = every.flatten(1).sort(dim=1, descending=True, stable=True)
            log_p, best = log_p[:, :beam], best[:, :beam]
            rows = (torch.arange(number, device=features.device)[:, None] * beam + best // width).flatten()
            before = (best % width).flatten()
            named = named[rows] | functional.one_hot(before, width)[:, : self.num_labels].bool()
            state = (state[0][rows], state[1][rows])
            ended = (before == self.end).view(number, beam)
        return named.view(number, beam, self.num_labels)[:, 0]


def label_sequences(has: Tensor, frequencies: Tensor, most: int) -> Tensor:
    """Return each image's labels as a sequence: frequent ones first, then the end, then nothing.

    Of equally frequent labels the first comes first. An image with `most` labels has no end; of one with more, the
    first `most` are taken.

    Args:
        has: whether an image has a label.
        frequencies: of the labels.
        most: the largest number of labels of an image.

    Shape:
        has: bool (N, C); frequencies: (C,); result: int64 (N, most)
    """
    num_labels = has.shape[1]
    rank = torch.empty(num_labels, dtype=torch.int64)
    order = frequencies.argsort(descending=True, stable=True)
    rank[order] = torch.arange(num_labels)
    places = torch.where(has, rank, num_labels).sort(dim=1).values[:, :most]  # of labels in `order`; C: none left
    found = torch.cat([order, torch.tensor([NONE])])[places]
    ends = (found == NONE).int().cumsum(dim=1) == 1
    return found.masked_fill(ends, num_labels)
