"""Draw a toy click data set, in Clickture's layout.

    python -m pipelines.toy.synthesize --output data/raw/toy
    python -m pipelines.toy.synthesize --animals birds --output data/raw/toy_birds

Input: the `synthesize` section of the parameter file. Output, the same bytes for the same section and animals:
source/clicks.tsv, source/images.tsv (base64 JPEG), source/labels.tsv (partly wrong), target/<category>/*.jpg, and
truth/labels.tsv, the source images' true categories, which no stage reads: they serve to measure the cleaning. Beside
them, what people write about the images of both domains: captions.tsv, label_sets.tsv and tags.tsv, and
truth/facts.tsv, everything that can be seen in them.
"""

import argparse
import base64
import hashlib
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image
from pydantic import Field

from base import console
from base.artifacts import whole_directory
from base.params import DEFAULT_PATH, Params, load_section
from pipelines.toy.animals import ANIMALS, Animals
from pipelines.toy.brush import Look
from pipelines.toy.captions import CaptionParams
from pipelines.toy.descriptions import write_descriptions
from pipelines.toy.facts import View, view_of
from pipelines.toy.queries import Animal, clicks_of
from pipelines.toy.scenes import Domain
from pipelines.toy.streams import pick, random_stream
from pipelines.toy.tags import Tagged, TagParams

JPEG_QUALITY = 88
FEW = 2  # images of a category that is too small to be selected
# Rows that are always broken, so that the quarantine has something to hold; without the newline.
BROKEN_ROWS: tuple[bytes, ...] = (
    b"{id}\tbrown dog\tmany",
    b"{id}\tspotted puppy\t-3",
    b"{id}\tcute dog",
    b"{id}\t\xff\xfe\xe7\x8b dog\t2",
    b"{id}\t\t5",
    b"\tlost dog\t1",
)
BROKEN_IMAGE = "0badbad00001"  # is cut short
UNSEEN_IMAGE = "0badbad00002"  # has a label and clicks, but no picture
NUM_UNSEEN_ROWS = 3


class SynthesizeParams(Params):
    """Section `synthesize`: the size of the toy data set, and its noise."""

    seed: int = Field(description="seed of every random stream", ge=0, lt=2**31)
    source_images: int = Field(description="images per category of the source domain", ge=3, le=10_000)
    target_images: int = Field(description="images per category of the target domain", ge=3, le=10_000)
    wrong_labels: float = Field(description="share of source images labelled as another category", ge=0, lt=1)
    captions: CaptionParams = Field(description="sentences about the images")
    tags: TagParams = Field(description="what users write under the images")


@dataclass(frozen=True)
class Picture:
    """One picture that is going to be drawn: its content, and the content according to its label."""

    image_id: str
    category: Animal
    label: Animal
    number: int


class DrawnPicture(NamedTuple):
    """A picture after it was drawn.

    Attributes:
        look: what was drawn; some of it may be hidden.
        jpeg: the image file.
        view: what can be seen in it.
    """

    look: Look
    jpeg: bytes
    view: View


def source_pictures(animals: Animals, params: SynthesizeParams) -> list[Picture]:
    """List the source domain's pictures, ordered by image id, with their partly wrong labels."""
    categories = [one for one in animals.categories if one.presence != "target"]
    labels = [one for one in categories if not one.few]  # a wrong label must not make a small category large enough
    numbered = [(one, n) for one in categories for n in range(FEW if one.few else params.source_images)]
    stream = random_stream(params.seed, "wrong labels")
    wrong = set(stream.permutation(len(numbered))[: round(params.wrong_labels * len(numbered))].tolist())
    pictures = []
    for index, (category, n) in enumerate(numbered):
        label = category
        if index in wrong and not category.few:
            label = mistake(category, labels, stream)
        image_id = hashlib.sha256(f"{params.seed}/source/{category.name}/{n}".encode()).hexdigest()[:12]
        pictures.append(Picture(image_id, category, label, n))
    return sorted(pictures, key=lambda picture: picture.image_id)


def mistake(category: Animal, categories: Sequence[Animal], stream: np.random.Generator) -> Animal:
    """Return another category; half of the time one of the same kind, because people confuse what looks alike."""
    others = [other for other in categories if other.name != category.name]
    kin = [other for other in others if other.name.split()[-1] == category.name.split()[-1]]
    pool = kin if kin and stream.random() < 0.5 else others
    return pick(pool, stream)


def draw(animals: Animals, picture: Picture, domain: Domain, seed: int) -> DrawnPicture:
    """Draw a picture."""
    stream = random_stream(seed, domain, picture.category.name, picture.number)
    look = animals.draw_look(domain, stream)
    painting = animals.draw_picture(picture.category, look, domain, stream)
    return DrawnPicture(look, as_jpeg(painting.image), view_of(picture.category, look, domain, painting))


def as_jpeg(image: Image.Image) -> bytes:
    """Encode an image."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=JPEG_QUALITY)
    return buffer.getvalue()


def write_source(directory: Path, animals: Animals, params: SynthesizeParams) -> tuple[list[Tagged], dict[str, int]]:
    """Write the source domain and its true labels; return the views of its pictures, and the row counts by file."""
    pictures = source_pictures(animals, params)
    seen: list[Tagged] = []
    rows: list[bytes] = []
    (directory / "source").mkdir(parents=True)
    (directory / "truth").mkdir()
    with (
        (directory / "source" / "images.tsv").open("wb") as images,
        (directory / "source" / "labels.tsv").open("w", encoding="utf-8", newline="\n") as labels,
        (directory / "truth" / "labels.tsv").open("w", encoding="utf-8", newline="\n") as truth,
    ):
        for picture in console.progress(pictures, "source", "images"):
            look, jpeg, view = draw(animals, picture, "source", params.seed)
            seen.append(Tagged(picture.image_id, view))
            images.write(picture.image_id.encode() + b"\t" + base64.b64encode(jpeg) + b"\n")
            labels.write(f"{picture.image_id}\t{picture.label.name}\n")
            truth.write(f"{picture.image_id}\t{picture.category.name}\n")
            rows += click_rows(animals, picture, look, params.seed)
        # One image that is cut short, and one label without an image.
        images.write(BROKEN_IMAGE.encode() + b"\t" + base64.b64encode(jpeg[: len(jpeg) // 2]) + b"\n")
        for image_id in (BROKEN_IMAGE, UNSEEN_IMAGE):
            labels.write(f"{image_id}\t{picture.label.name}\n")
    rows += [row.replace(b"{id}", pictures[n].image_id.encode()) for n, row in enumerate(BROKEN_ROWS)]
    rows += [f"{UNSEEN_IMAGE}\t{one.name}\t2".encode() for one in animals.categories[:NUM_UNSEEN_ROWS]]
    order = random_stream(params.seed, "order of the log").permutation(len(rows))
    (directory / "source" / "clicks.tsv").write_bytes(b"".join(rows[index] + b"\n" for index in order))
    return seen, {"source images": len(pictures) + 1, "click rows": len(rows)}


def click_rows(animals: Animals, picture: Picture, look: Look, seed: int) -> list[bytes]:
    """Return a picture's lines of the log; a wrongly labelled picture is also found under the wrong name."""
    stream = random_stream(seed, "clicks", picture.image_id)
    name = picture.category.name
    mislabelled = picture.label.name != name
    others = [picture.label] if mislabelled else [other for other in animals.categories if other.name != name]
    found = clicks_of(animals.phrases, picture.category, look, others, mislabelled, stream)
    return [f"{picture.image_id}\t{query}\t{clicks}".encode() for query, clicks in found]


def target_pictures(animals: Animals, params: SynthesizeParams) -> Iterator[Picture]:
    """Yield the target domain's pictures; image ids are <folder>/<file stem>."""
    for category in animals.categories:
        if category.presence == "source":
            continue
        folder = category.name.title().replace(" ", "_")
        for number in range(params.target_images):
            yield Picture(f"{folder}/{folder}_{number + 1:04d}", category, category, number)


def write_target(directory: Path, animals: Animals, params: SynthesizeParams) -> tuple[list[Tagged], dict[str, int]]:
    """Write the target domain, one folder per category; return the views of its pictures, and the number of files."""
    pictures = list(target_pictures(animals, params))
    seen: list[Tagged] = []
    for picture in console.progress(pictures, "target", "images"):
        path = directory / "target" / f"{picture.image_id}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        result = draw(animals, picture, "target", params.seed)
        path.write_bytes(result.jpeg)
        seen.append(Tagged(picture.image_id, result.view))
    return seen, {"target images": len(pictures)}


def write_names(directory: Path, animals: Animals) -> None:
    """Write the Chinese names of the categories, in the order of the categories."""
    lines = [f"{one.chinese}\t{one.name}\n" for one in animals.categories]
    (directory / "names.tsv").write_text("".join(lines), encoding="utf-8")


def main(argv: Sequence[str] | None = None) -> None:
    """Run the stage."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        prog="python -m pipelines.toy.synthesize",
    )
    parser.add_argument("--output", type=Path, required=True, help="the data set's folder")
    parser.add_argument("--animals", choices=ANIMALS, default="dogs", help="animals to draw (default: %(default)s)")
    parser.add_argument("--params", type=Path, default=DEFAULT_PATH, help="the parameter file")
    arguments = parser.parse_args(argv)
    with console.stage("synthesize") as closing:
        params = load_section(SynthesizeParams, "synthesize", arguments.params)
        animals = ANIMALS[arguments.animals]
        with whole_directory(arguments.output) as directory:
            source, counts = write_source(directory, animals, params)
            target, more = write_target(directory, animals, params)
            write_names(directory, animals)
            written = write_descriptions(directory, animals, source + target, params.captions, params.tags, params.seed)
            closing.counts = {**counts, **more, **written}
        closing.wrote = {str(arguments.output): f"{len(animals.categories)} categories of {arguments.animals}"}
        output = f"data/sets/{arguments.output.name}/ingested"
        closing.next_command = f"python -m pipelines.ingest.click_data --raw {arguments.output} --output {output}"


if __name__ == "__main__":
    main()
