"""The image part of `ingest` against a plain Pillow loop over the same files on the same cores.

    python -m benchmarks.ingest_images --images 100_000 --repeats 3

The benchmark draws some hundred different pictures of about 10 kB as JPEG and writes `--images` copies of them, each
with other bytes (a comment that decoders ignore): one half to images.tsv (base64), the other as files in category
folders, with a click log of one row. Then it runs, in turn:

- *loop*: one Python process per core; each reads its share of the files and decodes them: `Image.open`, `load`. Nothing
  is checked, hashed or written. All files are in the page cache.
- *ingest*: `python -m pipelines.ingest.click_data`, from its start to its end.

It prints a Markdown table of medians: images per second, their ratio, and peak memory.
"""

import argparse
import base64
import io
import statistics
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # so that the module also runs as a file

from base.cores import CORES  # noqa: E402
from benchmarks.builds import ENVIRONMENT  # noqa: E402
from benchmarks.costs import Cost, cost_of  # noqa: E402

NUM_PICTURES = 300  # different ones
CATEGORIES = 50
WIDTH, HEIGHT = 250, 188  # pixels: a photograph's thumbnail of 10 kB in a page of search results
PARAMS = "ingest: {click_shards: 1, image_shards: 16, longest_side: null, duplicate_distance: 48}\n"
LOOP = """\
import base64, io, sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from PIL import Image

def decode(data):
    with Image.open(io.BytesIO(data)) as image:
        image.load()

def work(share, shares, raw):
    count = 0
    with (raw / "source/images.tsv").open("rb") as lines:
        for number, line in enumerate(lines):
            if number % shares == share:
                decode(base64.b64decode(line.rstrip().partition(b"\\t")[2]))
                count += 1
    for number, path in enumerate(sorted((raw / "target").rglob("*.jpg"))):
        if number % shares == share:
            decode(path.read_bytes())
            count += 1
    return count

if __name__ == "__main__":
    shares, raw = int(sys.argv[1]), Path(sys.argv[2])
    with ProcessPoolExecutor(shares) as pool:
        counts = pool.map(work, range(shares), [shares] * shares, [raw] * shares)
        assert sum(counts) == int(sys.argv[3])
"""


def pictures() -> list[bytes]:
    """Draw pictures with soft shapes and some noise, as JPEG."""
    stream, encoded = np.random.default_rng(0), []
    for _ in range(NUM_PICTURES):
        coarse = Image.fromarray(stream.integers(0, 256, (9, 12, 3), dtype=np.uint8))
        soft = np.asarray(coarse.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC).filter(ImageFilter.SMOOTH), float)
        noise = stream.normal(0, 11, (HEIGHT, WIDTH, 1))
        buffer = io.BytesIO()
        Image.fromarray(np.clip(soft + noise, 0, 255).astype(np.uint8)).save(buffer, "JPEG", quality=75)
        encoded.append(buffer.getvalue())
    return encoded


def copies(encoded: list[bytes], number: int) -> Iterator[bytes]:
    """Yield `number` copies of the pictures, each with a different comment."""
    for count in range(number):
        data, comment = encoded[count % len(encoded)], f"{count:012d}".encode()
        yield data[:2] + b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment + data[2:]


def write_raw(raw: Path, number: int) -> float:
    """Write a data set of `number` images; return their mean size in bytes."""
    total, source = 0, number // 2
    (raw / "source").mkdir(parents=True)
    for category in range(CATEGORIES):
        (raw / f"target/{category:03d}.Category_{category}").mkdir(parents=True)
    with (raw / "source/images.tsv").open("wb") as images, (raw / "source/labels.tsv").open("w") as labels:
        for count, data in enumerate(copies(pictures(), number)):
            total += len(data)
            category = count % CATEGORIES
            if count < source:
                images.write(f"image{count:08d}\t".encode() + base64.b64encode(data) + b"\n")
                labels.write(f"image{count:08d}\tcategory {category}\n")
            else:
                (raw / f"target/{category:03d}.Category_{category}/{count:08d}.jpg").write_bytes(data)
    (raw / "source/clicks.tsv").write_text("image00000000\tcategory\t1\n")
    return total / number


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="clicksight-") as temporary:
        place = Path(temporary)
        size = write_raw(place / "raw", arguments.images)
        (place / "params.yaml").write_text(PARAMS)
        (place / "loop.py").write_text(LOOP)
        loop = [sys.executable, str(place / "loop.py"), str(CORES), str(place / "raw"), str(arguments.images)]
        ingest = [
            *(sys.executable, "-m", "pipelines.ingest.click_data", "--raw", str(place / "raw")),
            *("--output", str(place / "ingested"), "--params", str(place / "params.yaml")),
        ]
        runs: dict[str, list[Cost]] = {"loop": [], "ingest": []}
        for _ in range(arguments.repeats):
            runs["loop"].append(cost_of(loop, ROOT, ENVIRONMENT))
            runs["ingest"].append(cost_of(ingest, ROOT, ENVIRONMENT))
    print(f"{arguments.images:,} JPEGs of {WIDTH} x {HEIGHT} pixels, {size / 1000:.1f} kB on average; {CORES} cores\n")
    print("| | seconds | CPU seconds | images/s | peak MB |\n|---|---|---|---|---|")
    for name, costs in runs.items():
        cost = Cost(*map(statistics.median, zip(*costs, strict=True)))
        print(
            f"| {name} | {cost.seconds:.1f} | {cost.cpu_seconds:.1f} | {arguments.images / cost.seconds:,.0f} "
            f"| {cost.megabytes:,.0f} |"
        )
    ratios = [loop.seconds / ingest.seconds for loop, ingest in zip(*runs.values(), strict=True)]
    print(f"\ningest's speed is {statistics.median(ratios):.2f} of the loop's ({min(ratios):.2f} to {max(ratios):.2f})")


if __name__ == "__main__":
    main()
