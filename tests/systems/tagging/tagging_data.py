"""A small tag log as artifacts: five users with habits, and pictures whose colour says some of the tags."""

import io
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
from PIL import Image

from base import schemas
from base.artifacts import shard_name, write_table
from model.training.params import ScheduleParams
from pipelines.tags.split import TagSplitParams, histories_of, split_posts
from systems.tagging.config import LossParams, NetworkParams, Recipe, TrainParams, read_run, recipe_of
from systems.tagging.posts import Posts, Sources

TAGS = ["red", "blue", "mine", "yours", "theirs", "a", "b", "c", "once"]
SPLIT = TagSplitParams.model_validate({"by": "image", "shares": {"train": 0.6, "validation": 0.15, "test": 0.25}})
NETWORK = NetworkParams(
    backbone="plain",
    weights="none",
    image_size=16,
    resize=18,
    input="features",
    adapter=6,
    encoder=[12, 6, 4],
    decoder=[6, 12],
    skips=[6, 12],
    code="tanh",
    channels=5,
    hidden=7,
    discriminator=[6, 4],
    slope=0.0,
    layers="paper",
    direct="none",
)
LOSS = LossParams(
    personal=8.0, general=8.0, gamma=8.0, theta=1.0, delta=1.0, saturates=False, kept=0.7, spread=0.3
)  # fmt: skip
TRAIN = TrainParams(
    optimiser="adadelta",
    epochs=1,
    batch_size=16,
    accumulation=1,
    learning_rate=1.0,
    momentum=0.9,
    weight_decay=0.0,
    schedule=ScheduleParams(kind="constant", warm_up=0),
    mixed_precision="no",
    compile=False,
    channels_last=False,
    workers=0,
    threads=1,
    cache_images=True,
)


def posts_table() -> pl.DataFrame:
    rows = []
    for image in range(24):
        for user in range(5):
            if (image + user) % 2 or user == 4:
                tags = {image % 2, 2 + user % 3, *([5 + (image * user) % 3] if image % 3 else [])}
                if image == 3 * user + 1:
                    tags.add(8)  # the only time that this user gives it
                if user == 4 and image % 4 == 0:
                    tags = set()
                rows.append((f"i{image:02}", f"user-{user}", 100 * image + user, sorted(tags)))
    return pl.DataFrame(rows, schema=pl.Schema(schemas.POSTS), orient="row").sort("image_id", "user_id")


def write_data(folder: Path, seed: int = 0) -> Sources:
    """Write posts, vocabulary, splits, histories, pictures and features; return where they are."""
    posts = posts_table()
    write_table(posts.to_arrow().cast(schemas.POSTS), folder / "tags/posts" / shard_name(0))
    vocabulary = {"tag_id": range(len(TAGS)), "tag": TAGS, "posts": [9] * len(TAGS), "users": [3] * len(TAGS)}
    table = pl.DataFrame(vocabulary).to_arrow().cast(schemas.TAG_VOCABULARY)
    write_table(table, folder / "tags/vocabulary.parquet")
    found = split_posts(posts, seed, SPLIT)
    splits = found.select(schemas.POST_SPLITS.names).to_arrow().cast(schemas.POST_SPLITS)
    write_table(splits, folder / f"splits/splits/seed-{seed}.parquet")
    histories = histories_of(found).to_arrow().cast(schemas.TAG_HISTORIES)
    write_table(histories, folder / f"splits/histories/seed-{seed}.parquet")
    names = [f"i{image:02}" for image in range(24)]
    write_table(_pictures(names), folder / "images" / shard_name(0))
    random = np.random.default_rng(0)
    features = [random.normal(size=5) + 3 * (image % 2) for image in range(24)]
    columns = [names, ["source"] * 24, [list(map(float, values)) for values in features]]
    arrays = [pa.array(column, field.type) for column, field in zip(columns, schemas.EMBEDDED, strict=True)]
    write_table(pa.Table.from_arrays(arrays, schema=schemas.EMBEDDED), folder / "features" / shard_name(0))
    return Sources(folder / "tags", folder / "splits", seed, folder / "images", folder / "features")


def picture(image: int) -> bytes:
    """A red or a blue picture, as PNG."""
    pixels = np.random.default_rng(image).integers(0, 80, (20, 22, 3)).astype(np.uint8)
    pixels[:, :, 2 * (image % 2)] += 120
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def _pictures(names: list[str]) -> pa.Table:
    rows = [(name, "source", "all", 22, 20, {"bytes": picture(int(name[1:])), "path": name}) for name in names]
    columns = [pa.array([row[column] for row in rows], field.type) for column, field in enumerate(schemas.IMAGES)]
    return pa.Table.from_arrays(columns, schema=schemas.IMAGES)


def recipe(run: str = "A6", epochs: int = 1, **network) -> Recipe:
    """The recipe of a run with the tests' parameters."""
    params = NetworkParams.model_validate({**NETWORK.model_dump(), **network})
    return recipe_of(read_run(run), params, LOSS, TRAIN.model_copy(update={"epochs": epochs}))


def read_posts(sources: Sources, *splits: str, pixels: int | None = None) -> Posts:
    return Posts.read(sources, list(splits) or ["train", "validation"], pixels, cache=True)


def options_of(sources: Sources) -> list[str]:
    """The options of commands that read posts."""
    return [
        f"--tags={sources.tags}",
        f"--splits={sources.splits}",
        f"--images={sources.images}",
        f"--features={sources.features}",
    ]
