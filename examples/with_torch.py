"""A PyTorch Dataset of images' ids and dense click features, of which only the sparse ones are in memory.

python examples/with_torch.py features
"""

import sys
from pathlib import Path

import torch
from torch.utils.data import DataLoader, Dataset

sys.path.insert(0, str(Path(__file__).parent))
from to_scipy import load


class ClickFeatures(Dataset[tuple[str, torch.Tensor]]):
    """Image id and weights, float32 (number of words,), of every image of a folder."""

    def __init__(self, folder: Path) -> None:
        self.images, self.words, self.matrix = load(folder)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[str, torch.Tensor]:
        return self.images[index], torch.from_numpy(self.matrix[[index]].toarray()[0])


if __name__ == "__main__":
    for names, weights in DataLoader(ClickFeatures(Path(sys.argv[1])), batch_size=32):
        print(len(names), tuple(weights.shape))
