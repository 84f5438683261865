"""Writes the toy's click log: what people typed who then clicked a picture, and how often.

A picture is clicked for its breed's name, for what can be seen in it (attributes, pose, extra, scene), for generic and
off-topic phrases, and by mistake for other breeds' names; in English and in Chinese. The click counts of a query are
heavy-tailed; pictures with a wrong label are searched for less.
"""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from pipelines.toy_breeds import ATTRIBUTE_WORDS, Breed
from pipelines.toy_drawing import Look

Choice = TypeVar("Choice")

CHINESE_SHARE = 0.4
KINDS = ("name", "attributes", "look", "generic", "off-topic", "mis-click")
KIND_SHARES = (0.22, 0.44, 0.12, 0.13, 0.04, 0.05)
TAIL = 1.3  # exponent of the pictures' popularity, a Pareto distribution
MOST_CLICKS = 5_000

NAME_TEMPLATES = {
    "en": (
        "{}",
        "{}",
        "{} puppy",
        "{} pictures",
        "{} dog breed",
        "{} photos",
        "what does a {} look like",
        "{} for sale",
    ),
    "zh": ("{}", "{}图片", "{}的照片", "{}幼犬", "{}多少钱一只", "{}好养吗", "{}品种介绍"),
}
ATTRIBUTE_TEMPLATES = {
    "en": ("{} dog", "{} dog", "{} dog pictures", "a {} dog", "{} puppy", "dog breed {}", "{} dogs photo"),
    "zh": ("一只{}狗的照片", "{}狗", "{}小狗图片", "{}狗是什么品种", "一只{}狗", "{}狗狗照片"),
}
LOOK_WORDS = {
    "running": ("dog running", "奔跑的狗"),
    "sniffing": ("dog sniffing the ground", "低头闻气味的狗"),
    "collar": ("dog with collar", "戴项圈的狗"),
    "scarf": ("dog wearing a scarf", "戴围巾的小狗"),
    "ball": ("dog playing with ball", "一只狗在玩球"),
    "grass": ("dog on grass", "草地上的狗"),
    "beach": ("dog at the beach", "沙滩上的狗"),
    "snow": ("dog in the snow", "雪地里的狗"),
    "street": ("dog in the street", "街上的狗"),
}
GENERIC = {
    "en": ("dog", "dogs", "cute dog", "puppy", "dog breeds", "puppy pictures", "funny dogs", "dog wallpaper", "pets"),
    "zh": ("狗", "狗狗图片", "可爱的小狗", "宠物", "小狗照片", "狗的品种大全", "搞笑狗狗"),
}
OFF_TOPIC = {
    "en": (
        "happy birthday card", "living room ideas", "weather tomorrow", "chocolate cake recipe", "used cars",
        "beach holiday", "christmas tree", "how to draw", "football scores", "cheap flights", "wedding dress",
    ),
    "zh": (
        "今天天气怎么样", "生日蛋糕图片", "红烧肉的做法", "北京旅游攻略", "手机壁纸", "圣诞快乐", "房屋装修效果图",
    ),
}  # fmt: skip


def clicks_of(
    breed: Breed, look: Look, others: Sequence[Breed], mislabelled: bool, stream: np.random.Generator
) -> list[tuple[str, int]]:
    """Return the queries that led to a picture, with their clicks.

    Args:
        breed: what is really to be seen.
        look: the picture's pose, extra and scene.
        others: the breeds whose names people may have typed when they clicked this picture by mistake.
        mislabelled: the picture bears another breed's label.
        stream: random numbers.

    Returns:
        (query, clicks) in the order drawn; a query may come twice.
    """
    number = 3 + stream.poisson(3.0) if mislabelled else 10 + stream.poisson(10.0)
    popularity = (0.5 + stream.pareto(TAIL)) * (0.35 if mislabelled else 1.0)
    rows = []
    for kind in stream.choice(KINDS, size=number, p=KIND_SHARES):
        query = write_query(str(kind), breed, look, others, stream)
        clicks = 1 + int(popularity * stream.exponential())
        rows.append((query, min(clicks, MOST_CLICKS)))
    return rows


def write_query(kind: str, breed: Breed, look: Look, others: Sequence[Breed], stream: np.random.Generator) -> str:
    """Write one query of a kind, in English or Chinese, now and then in capitals."""
    language = "zh" if stream.random() < CHINESE_SHARE else "en"
    if kind == "mis-click":
        breed = pick(others, stream)
    if kind in ("name", "mis-click"):
        query = pick(NAME_TEMPLATES[language], stream).format(breed.name if language == "en" else breed.chinese)
    elif kind == "attributes":
        query = pick(ATTRIBUTE_TEMPLATES[language], stream).format(describe(breed, language, stream))
    elif kind == "look":
        seen = [word for word in (look.pose, look.extra, look.scene) if word in LOOK_WORDS]
        query = LOOK_WORDS[pick(seen, stream)][language == "zh"]
    else:
        query = pick((GENERIC if kind == "generic" else OFF_TOPIC)[language], stream)
    return query.title() if language == "en" and stream.random() < 0.08 else query


def describe(breed: Breed, language: str, stream: np.random.Generator) -> str:
    """Describe a dog by one to three of its attributes, in any order."""
    attributes = breed.attributes()
    named = stream.permutation(sorted(attributes))[: 1 + int(stream.integers(3))]
    words = [ATTRIBUTE_WORDS[name][attributes[name]][language == "zh"] for name in map(str, named)]
    return (" " if language == "en" else "").join(words)


def pick(choices: Sequence[Choice], stream: np.random.Generator) -> Choice:
    """Pick one of several, all alike likely."""
    return choices[int(stream.integers(len(choices)))]
