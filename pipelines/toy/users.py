"""The toys' users who tag pictures: how active each is, what each writes about, and how they spell it.

A user's habit sets the probability of each topic. Every user has a language, favourite words for each thing, a
spelling, and some words that have nothing to do with any picture. So a user's earlier tags predict the next ones well.
"""

import hashlib
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from base.console import UserError
from pipelines.toy.streams import Choice, pick, random_stream

TOPICS = ("creature", "colour", "shape", "place", "action", "mood", "own")
HABITS: Mapping[str, tuple[int, ...]] = {  # weights of the topics, in the order of TOPICS
    "naming": (12, 2, 1, 1, 1, 0, 1),
    "painting": (2, 12, 4, 1, 0, 0, 1),
    "wandering": (1, 1, 0, 12, 1, 2, 1),
    "watching": (2, 0, 2, 1, 10, 1, 1),
    "dreaming": (1, 0, 0, 2, 1, 12, 1),
    "hoarding": (0, 0, 0, 0, 0, 0, 1),  # never writes about the picture
}
HABIT_SHARES = (0.22, 0.2, 0.2, 0.14, 0.14, 0.1)
PASSERS_BY = 0.05  # share of the users, the least active, who write a single tag
CHINESE_SHARE = 0.12
OWN_WORDS: Mapping[str, tuple[str, ...]] = {
    "en": (
        "canon", "nikon d90", "iphone", "my favourites", "project 365", "wallpaper", "for anna", "to print",
        "best of 2019", "top ten", "summer trip", "gift idea", "unsorted", "desktop", "week 12", "explore",
        "phone upload", "competition",
    ),
    "zh": ("我的相册", "收藏", "手机拍摄", "生日礼物", "壁纸", "随手拍", "旅行日记", "参赛作品"),
}  # fmt: skip
CASES = ("lower", "title", "upper")
CASE_SHARES = (0.68, 0.26, 0.06)
SEPARATORS = (" ", "", "_", "-")  # between the words of a tag; "" joins them, as in redfur
SEPARATOR_SHARES = (0.45, 0.37, 0.1, 0.08)
PLURAL_SHARE = 0.3
PLURALS = {
    **{word: f"{word}s" for word in (
        "dog", "bird", "pet", "hound", "terrier", "greyhound", "mastiff", "setter", "heron", "swallow", "hawk", "jay",
        "parrot", "tree", "house", "building", "boat", "sofa", "couch", "street", "rug", "carpet", "tile", "ball",
        "toy", "collar", "worm", "meadow", "floorboard", "sail", "picture", "scene",
    )},
    "puppy": "puppies", "finch": "finches", "spitz": "spitzes", "beach": "beaches", "branch": "branches",
    "berry": "berries", "scarf": "scarves",
}  # fmt: skip


@dataclass(frozen=True)
class Spelling:
    """How a user writes tags.

    Attributes:
        case: one of CASES.
        separator: between the words of a tag.
        plural: whether the last word takes its plural, if it has one.
    """

    case: str
    separator: str
    plural: bool

    def apply(self, tag: str) -> str:
        """Spell a tag, given in small letters with spaces between its words; Chinese stays as it is."""
        words = tag.split()
        if self.plural:
            words[-1] = PLURALS.get(words[-1], words[-1])
        if self.case == "title":
            words = [word.title() for word in words]
        text = self.separator.join(words)
        return text.upper() if self.case == "upper" else text


PLAIN = Spelling("lower", " ", plural=False)


@dataclass(frozen=True)
class User:
    """A user who tags pictures.

    Attributes:
        user_id: "u" and ten hexadecimal digits.
        habit: one of HABITS.
        weights: of the TOPICS, in their order: the habit's weights, and a little of the user's own.
        language: en or zh.
        spelling: the user's usual spelling.
        own_words: words that the user writes whatever a picture shows.
        taste: a number that decides which of several words, or of several things, the user prefers.
        tags_each: most tags of one picture.
    """

    user_id: str
    habit: str
    weights: tuple[int, ...]
    language: str
    spelling: Spelling
    own_words: tuple[str, ...]
    taste: int
    tags_each: int

    def prefer(self, words: Sequence[Choice], what: str) -> Choice:
        """Return the choice that the user always prefers among several; ``what`` names the decision."""
        return words[zlib.crc32(f"{self.taste}/{what}".encode()) % len(words)]


def draw_user(seed: int, number: int) -> User:
    """Draw a user at random; the result does not depend on the number of users."""
    stream = random_stream(seed, "user", number)
    habit = str(stream.choice(tuple(HABITS), p=HABIT_SHARES))
    own = stream.integers(0, 3, len(TOPICS)) if habit != "hoarding" else np.zeros(len(TOPICS), np.int64)
    language = "zh" if stream.random() < CHINESE_SHARE else "en"
    return User(
        user_id="u" + hashlib.sha256(f"{seed}/user/{number}".encode()).hexdigest()[:10],
        habit=habit,
        weights=tuple(int(weight) for weight in own + HABITS[habit]),
        language=language,
        spelling=Spelling(
            str(stream.choice(CASES, p=CASE_SHARES)),
            str(stream.choice(SEPARATORS, p=SEPARATOR_SHARES)),
            bool(stream.random() < PLURAL_SHARE),
        ),
        own_words=tuple(dict.fromkeys(pick(OWN_WORDS[language], stream) for _ in range(4))),
        taste=int(stream.integers(2**31)),
        tags_each=2 + int(stream.integers(4)),
    )


def activity(num_users: int, num_pictures: int, per_picture: int) -> list[int]:
    """Return how many pictures each user tags: by Zipf's law, the n-th in proportion to 1 / n, and at least one.

    Args:
        num_users: number of users.
        num_pictures: number of pictures; no user tags a picture twice.
        per_picture: users of a picture, on average.

    Returns:
        The numbers, largest first; the share PASSERS_BY of the users, at the end, has one picture each.

    Raises:
        UserError: there are more users than tasks for them.
    """
    rest = num_pictures * per_picture - num_users
    if rest < 0:
        raise UserError(
            f"synthesize.tags: {num_users} users are too many for {num_pictures} images with {per_picture} users "
            f"each; ask for at most {num_pictures * per_picture} users, or for more images"
        )
    active = num_users - round(PASSERS_BY * num_users)
    harmonic = sum(1 / rank for rank in range(1, active + 1))
    shares = [round(rest / harmonic / rank) for rank in range(1, active + 1)]
    return [min(1 + share, num_pictures) for share in shares] + [1] * (num_users - active)
