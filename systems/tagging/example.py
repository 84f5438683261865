"""Draw one picture with what a trained network recommends to two users (Fig. 4 of the paper).

    python -m systems.tagging.example --model data/tagging/models/A6/seed-0 --tags data/sets/toy/tags \\
        --splits data/sets/toy/tag_splits --images data/sets/toy/ingested/images --features data/tagging/features \\
        --output data/tagging/results/examples/A6

In: a model folder, the posts of its seed, their pictures, and frozen features if the model sees features.
Out: ``example.png``, and ``example.json`` with the same texts; neither names a user or an image.

The seed chooses the picture, not the result: of the test pictures in a random order, the first that two users with long
histories tagged. If there is none, the first that one of them tagged, and beside that user the one whose history has
the least in common with theirs.
"""

import argparse
import io
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow.parquet as pq
from matplotlib.figure import Figure
from PIL import Image
from sklearn.metrics.pairwise import cosine_similarity

from base.artifacts import reading, whole_directory, write_json
from base.console import UserError, stage
from base.seeding import derive_seed
from model.data.images import ImageStore
from pipelines.beam.shards import shard_files
from report.plots import GREY, INK, METHODS, picture
from systems.tagging.posts import Posts
from systems.tagging.recommend import Recommender
from systems.tagging.sources import add_sources, sources_of

LEAST_TAGS = 10  # of a long history
SHOWN = 6  # tags of a history, and recommended tags


class Choice(NamedTuple):
    """A test post, and two users as rows of the histories; the second user's post of the same picture, or None."""

    post: int
    users: tuple[int, int]
    other_post: int | None


def choose(posts: Posts, seed: int) -> Choice:
    """Choose a picture and two users.

    Args:
        posts: test posts, perhaps with others.
        seed: of the pictures' order.

    Raises:
        UserError: fewer than two users have long histories, or none of them has a test post with a tag.
    """
    lengths = posts.histories.lengths(np.arange(len(posts.histories.user_ids)))
    rows = posts.row_numbers("test")
    rows = rows[(posts.users[rows] >= 0) & posts.labels(rows).any(axis=1)]
    rows = rows[lengths[posts.users[rows]] >= LEAST_TAGS]
    if not len(rows) or (lengths >= LEAST_TAGS).sum() < 2:
        raise UserError(f"no example: there are not two users with {LEAST_TAGS} tags and a test post of one of them")
    images = posts.rows["image_id"].gather(rows).to_list()
    order = sorted(range(len(rows)), key=lambda place: (derive_seed(seed, "example", images[place]), place))
    for one, other in itertools.pairwise(order):  # an image's posts stand side by side
        if images[one] == images[other]:
            first, second = int(rows[one]), int(rows[other])
            return Choice(first, (int(posts.users[first]), int(posts.users[second])), second)
    first = int(rows[order[0]])
    user = int(posts.users[first])
    alike = cosine_similarity(posts.histories.counts, posts.histories.counts[[user]])[:, 0]
    alike[lengths < LEAST_TAGS] = np.inf
    alike[user] = np.inf
    return Choice(first, (user, int(alike.argmin())), None)


def describe(posts: Posts, recommender: Recommender, choice: Choice) -> list[dict[str, Any]]:
    """Return for each user the most given tags with their counts, the recommended tags, and the given ones or None."""
    place = posts.image_rows[choice.post]
    if isinstance(posts.pictures, ImageStore):
        pixels = posts.pictures.crop(int(place), recommender.recipe.network.image_size, 0, None)
        seen = recommender.see_pixels(pixels)
    else:
        seen = recommender.see_features(posts.pictures[place])
    found = []
    for user, post in zip(choice.users, (choice.post, choice.other_post), strict=True):
        [counts] = posts.histories.of(np.array([user]))
        most = np.argsort(-counts, kind="stable")[:SHOWN]
        given = None if post is None else [posts.tags[tag] for tag in posts.tag_ids([post])[0]]
        best = recommender.recommend(seen, counts, SHOWN)
        found.append(
            {
                "history": [[posts.tags[tag], int(counts[tag])] for tag in most if counts[tag]],
                "recommended": [[tag, round(probability, 4)] for tag, probability in best],
                "given": given,
            }
        )
    return found


def read_picture(images: Path, image_id: str) -> Image.Image:
    """Return the picture of an image id."""
    for shard in shard_files(images):
        with reading(shard):
            table = pq.read_table(shard, columns=["image"], filters=[("image_id", "=", image_id)])
        if len(table):
            return Image.open(io.BytesIO(table["image"][0].as_py()["bytes"])).convert("RGB")
    raise UserError(f"{images}: no picture of a test post")


def draw(figure: Figure, shown: Image.Image, users: Sequence[dict[str, Any]]) -> None:
    """Draw the picture and beside it a column for each user; a recommended tag that the user gave is coloured."""
    axes = figure.subplots(1, 3, width_ratios=[1.2, 1, 1])
    axes[0].imshow(np.asarray(shown))
    for one in axes:
        one.set_axis_off()
    for letter, column, user in zip("AB", axes[1:], users, strict=True):
        column.set_title(f"User {letter}")
        given = user["given"]
        lines = [("gave most", GREY), *((f"{tag} ({count})", INK) for tag, count in user["history"]), ("", INK)]
        lines.append(("recommended", GREY))
        lines += [(tag, METHODS[2] if tag in (given or []) else INK) for tag, _ in user["recommended"]]
        lines += [("", INK), ("gave this picture", GREY), (", ".join(given) if given else "no tag", INK)]
        for number, (text, colour) in enumerate(lines):
            column.text(0, 1 - number / len(lines), text, color=colour, va="top", fontsize=8, parse_math=False)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the stage."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="the model folder")
    add_sources(parser)
    parser.add_argument("--output", type=Path, required=True, help="folder to write")
    arguments = parser.parse_args(argv)
    with stage("tagging example") as closing:
        if arguments.images is None:
            raise UserError("pictures are needed: name the folder of the ingested images by --images")
        recommender = Recommender.load(arguments.model)
        sources = sources_of(arguments, recommender.seed)
        posts = Posts.read(sources, ["test"], recommender.recipe.network.pixels, cache=False)
        if posts.tags != recommender.tags:
            raise UserError(f"{arguments.tags}: its vocabulary is not the model's; train again")
        choice = choose(posts, recommender.seed)
        users = describe(posts, recommender, choice)
        shown = read_picture(arguments.images, posts.rows["image_id"][choice.post])
        with whole_directory(arguments.output) as folder:
            write_json({"users": users}, folder / "example.json")
            (folder / "example.png").write_bytes(picture(lambda figure: draw(figure, shown, users), 8, 4))
        closing.wrote[str(arguments.output)] = "example.png, example.json"
        closing.next_command = "python -m systems.tagging.report (see stages/tagging/dvc.yaml)"


if __name__ == "__main__":
    main()
