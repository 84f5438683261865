"""Compare `clicksight predict` with a bare loop over the same networks: pictures a second, decoding included.

    python -m benchmarks.studies.predict_throughput --model data/mtmdd/models/MTMDD-VM-star/seed-0 --pictures pictures

Both run in turn in this process, after one pass that isn't counted; the ratio of each pair is ours / bare, and its
median is printed with the smallest and the largest. The bare loop opens each file with Pillow, resizes it, takes the
middle square, stacks 32 and runs the model's two networks; it checks nothing, orders nothing and names nothing.
"""

import argparse
import statistics
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from clicksight.models import load_model
from clicksight.pictures import Pictures, decoded
from clicksight.predict import as_row, predictions
from model.prediction import RecogniserPredictor

BATCH = 32


def ours(model: RecogniserPredictor, folder: Path) -> int:
    """Predict all pictures of a folder; return their number."""
    squares = decoded(iter(Pictures([str(folder)])), model.resize, model.image_size)
    return len([as_row(*found) for found in predictions(model, squares, batch_size=BATCH, top=5)])


@torch.no_grad()
def bare(model: RecogniserPredictor, files: Sequence[Path]) -> int:
    """Run the networks over all pictures; return their number."""
    seen = 0
    for start in range(0, len(files), BATCH):
        squares = np.stack([square(file, model.resize, model.image_size) for file in files[start : start + BATCH]])
        pixels = torch.from_numpy(squares).permute(0, 3, 1, 2).contiguous().to(model.device)
        for network in (model.recogniser, model.click_predictor):
            if network is not None:
                seen += len(network(pixels).cpu())
    return seen


def square(file: Path, resize: int, size: int) -> np.ndarray:
    """Return a picture's middle square: uint8 (S, S, 3)."""
    with Image.open(file) as image:
        image.draft("RGB", (resize, resize))
        whole = image.convert("RGB")
    scale = resize / min(whole.size)
    whole = whole.resize((round(whole.width * scale), round(whole.height * scale)), Image.Resampling.BILINEAR)
    left, top = (whole.width - size) // 2, (whole.height - size) // 2
    return np.asarray(whole.crop((left, top, left + size, top + size)))


def main(argv: Sequence[str] | None = None) -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="a model folder of mtmdd or siamese")
    parser.add_argument("--pictures", type=Path, required=True, help="a folder of picture files")
    parser.add_argument("--repeats", type=int, default=5, help="counted pairs (default: %(default)s)")
    arguments = parser.parse_args(argv)
    model = load_model(arguments.model)
    if not isinstance(model, RecogniserPredictor):
        parser.error(f"{arguments.model}: a model of mtmdd or siamese expected")
    files = sorted(path for path in arguments.pictures.rglob("*") if path.is_file() and path.suffix.lower() == ".jpg")
    seconds: dict[str, list[float]] = {"ours": [], "bare": []}
    for _ in range(1 + arguments.repeats):
        for name, run in (("ours", lambda: ours(model, arguments.pictures)), ("bare", lambda: bare(model, files))):
            began = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - began)
    ratios = [b / a for a, b in zip(seconds["ours"][1:], seconds["bare"][1:], strict=True)]
    rate = len(files) / statistics.median(seconds["ours"][1:])
    print(f"{len(files)} pictures, {rate:.0f} a second")
    print(f"ours / bare: {statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f})")


if __name__ == "__main__":
    main()
