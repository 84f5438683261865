"""Tags that users give the toys' pictures, with times; they depend on the user's habits and on the picture.

A user goes through pictures one after the other, some in one session, and writes some tags for each: a topic is chosen
by habit, then a visible thing of this topic. A given share of the tags names something that is not in the picture.
Spellings are those of real sites: capitals, plurals, joined words (``redfur``); sometimes a tag is in plain spelling.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from pydantic import Field

from base.params import Params
from pipelines.toy.animals import Animals
from pipelines.toy.facts import View, imagine
from pipelines.toy.streams import pick, random_stream
from pipelines.toy.tag_words import tag_words
from pipelines.toy.users import PASSERS_BY, PLAIN, TOPICS, User, activity, draw_user

BEGIN = 1_577_836_800  # 2020-01-01 00:00 UTC, in seconds
JOINING_S = 2 * 365 * 86_400  # users join within this time
SLIPS = 0.06  # share of the tags in plain spelling instead of the user's own
ROUTINE = 0.6  # share of the tags for which a user takes the usual one of a topic's first two things
SITTING = 0.8  # share of the pictures that follow the one before within minutes


class TagParams(Params):
    """Section `synthesize.tags`: the number of users, and the share of wrong tags."""

    users: int = Field(description="number of users who tag pictures", ge=1, le=1_000_000)
    per_image: int = Field(description="users who tag an image, on average", ge=1, le=1_000)
    wrong: float = Field(description="share of the tags about a picture that name something else", ge=0, le=1)


class Tag(NamedTuple):
    """One row of the log."""

    user_id: str
    image_id: str
    tag: str
    time: int


class Tagged(NamedTuple):
    """A picture to be tagged."""

    image_id: str
    view: View


def write_tags(
    pictures: Sequence[Tagged],
    animals: Animals,
    params: TagParams,
    seed: int,
) -> list[Tag]:
    """Write the tags of all users.

    Args:
        pictures: of both domains, in a fixed order.
        animals: the kind of the pictures' animals; wrong tags name other animals of this kind.
        params: the numbers of users in all and of each picture.
        seed: of all streams.

    Returns:
        The log, in order of time. A user gives a picture no tag twice, and never two tags in the same second.

    Raises:
        UserError: there are more users than tasks for them.
    """
    log: list[Tag] = []
    passers_by = round(PASSERS_BY * params.users)
    for number, num_pictures in enumerate(activity(params.users, len(pictures), params.per_image)):
        user, stream = draw_user(seed, number), random_stream(seed, "tags", number)
        time = BEGIN + int(stream.integers(JOINING_S))
        for index in stream.permutation(len(pictures))[:num_pictures]:
            picture = pictures[int(index)]
            time += pause(stream)
            most = 1 if number >= params.users - passers_by else 1 + int(stream.integers(user.tags_each))
            for tag in tags_of(user, picture.view, most, animals, params.wrong, stream):
                log.append(Tag(user.user_id, picture.image_id, tag, time))
                time += 1 + int(stream.integers(20))
    return sorted(log, key=lambda row: (row.time, row.user_id))


def tags_of(
    user: User,
    view: View,
    most: int,
    animals: Animals,
    wrong: float,
    stream: np.random.Generator,
) -> list[str]:
    """Return the tags that a user writes for a picture: at least one, at most `most`, each once."""
    weights = np.cumsum(user.weights)
    tags: dict[str, None] = {}
    while not tags:
        for _ in range(most):
            topic = TOPICS[int(np.searchsorted(weights, stream.integers(weights[-1]), side="right"))]
            if topic == "own":
                words: Sequence[tuple[str, ...]] = [(word,) for word in user.own_words]
            else:
                seen = imagine(view, animals, stream) if stream.random() < wrong else view
                words = tag_words(seen, topic, user.language, animals.nouns)
            if words:
                spelling = PLAIN if stream.random() < SLIPS else user.spelling
                same = user.prefer(words[:2], topic) if stream.random() < ROUTINE else pick(words, stream)
                tags[spelling.apply(user.prefer(same, same[0]))] = None
    return list(tags)


def pause(stream: np.random.Generator) -> int:
    """Return the seconds until a user's next picture: often minutes, otherwise hours to weeks; whole numbers only."""
    if stream.random() < SITTING:
        return 20 + int(stream.integers(280))
    return int(stream.integers(3_600, 86_400)) << int(stream.integers(5))
