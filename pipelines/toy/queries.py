"""Write the toys' click logs: the queries after which people clicked a picture, and how often.

A picture is clicked for its category's name, for what can be seen in it (attributes, pose, extra, scene), for generic
and off-topic phrases, and by mistake for other categories' names; in English and in Chinese. The click counts of a
query are heavy-tailed; pictures with a wrong label have fewer queries and clicks.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pipelines.toy import birds, breeds
from pipelines.toy.birds import Bird
from pipelines.toy.breeds import Breed
from pipelines.toy.brush import Look
from pipelines.toy.streams import pick

Animal = Breed | Bird

CHINESE_SHARE = 0.4
KINDS = ("name", "attributes", "look", "generic", "off-topic", "mis-click")
KIND_SHARES = (0.22, 0.44, 0.12, 0.13, 0.04, 0.05)
TAIL = 1.3  # exponent of the pictures' popularity, a Pareto distribution
MOST_CLICKS = 5_000


@dataclass(frozen=True)
class Phrases:
    """What people type when they search for one kind of animal; by language, or as a pair of English and Chinese.

    Attributes:
        words: for each value of each attribute.
        names: templates with a gap for a category's name.
        descriptions: templates with a gap for attribute words.
        looks: for poses, extras and scenes.
        generic: for any animal of this kind.
    """

    words: Mapping[str, Mapping[str, tuple[str, str]]]
    names: Mapping[str, tuple[str, ...]]
    descriptions: Mapping[str, tuple[str, ...]]
    looks: Mapping[str, tuple[str, str]]
    generic: Mapping[str, tuple[str, ...]]


DOGS = Phrases(
    words=breeds.ATTRIBUTE_WORDS,
    names={
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
    },
    descriptions={
        "en": ("{} dog", "{} dog", "{} dog pictures", "a {} dog", "{} puppy", "dog breed {}", "{} dogs photo"),
        "zh": ("一只{}狗的照片", "{}狗", "{}小狗图片", "{}狗是什么品种", "一只{}狗", "{}狗狗照片"),
    },
    looks={
        "running": ("dog running", "奔跑的狗"),
        "sniffing": ("dog sniffing the ground", "低头闻气味的狗"),
        "collar": ("dog with collar", "戴项圈的狗"),
        "scarf": ("dog wearing a scarf", "戴围巾的小狗"),
        "ball": ("dog playing with ball", "一只狗在玩球"),
        "grass": ("dog on grass", "草地上的狗"),
        "beach": ("dog at the beach", "沙滩上的狗"),
        "snow": ("dog in the snow", "雪地里的狗"),
        "street": ("dog in the street", "街上的狗"),
    },
    generic={
        "en": (
            "dog",
            "dogs",
            "cute dog",
            "puppy",
            "dog breeds",
            "puppy pictures",
            "funny dogs",
            "dog wallpaper",
            "pets",
        ),
        "zh": ("狗", "狗狗图片", "可爱的小狗", "宠物", "小狗照片", "狗的品种大全", "搞笑狗狗"),
    },
)
BIRDS = Phrases(
    words=birds.ATTRIBUTE_WORDS,
    names={
        "en": (
            "{}",
            "{}",
            "{} song",
            "{} pictures",
            "{} bird",
            "{} photos",
            "what does a {} look like",
            "{} nest",
        ),
        "zh": ("{}", "{}图片", "{}的照片", "{}的叫声", "{}吃什么", "{}的巢", "{}介绍"),
    },
    descriptions={
        "en": ("{} bird", "{} bird", "{} bird pictures", "a {} bird", "what bird is {}", "bird {}", "{} birds photo"),
        "zh": ("一只{}鸟的照片", "{}鸟", "{}小鸟图片", "{}鸟是什么鸟", "一只{}鸟", "{}鸟儿照片"),
    },
    looks={
        "flying": ("bird flying", "飞翔的鸟"),
        "pecking": ("bird pecking the ground", "低头啄食的鸟"),
        "berry": ("bird eating a berry", "吃浆果的鸟"),
        "worm": ("bird with a worm", "一只鸟在吃虫子"),
        "branch": ("bird on a branch", "树枝上的鸟"),
        "grass": ("bird on grass", "草地上的鸟"),
        "beach": ("bird at the beach", "沙滩上的鸟"),
        "snow": ("bird in the snow", "雪地里的鸟"),
        "street": ("bird in the street", "街上的鸟"),
    },
    generic={
        "en": (
            "bird",
            "birds",
            "cute bird",
            "birdwatching",
            "garden birds",
            "bird pictures",
            "bird wallpaper",
            "wildlife",
        ),
        "zh": ("鸟", "鸟儿图片", "可爱的小鸟", "观鸟", "小鸟照片", "鸟类大全", "野生动物"),
    },
)
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
    phrases: Phrases,
    animal: Animal,
    look: Look,
    others: Sequence[Animal],
    mislabelled: bool,
    stream: np.random.Generator,
) -> list[tuple[str, int]]:
    """Return the queries after which a picture was clicked, with their clicks.

    Args:
        phrases: of the kind of animal.
        animal: the animal in the picture.
        look: the picture's pose, extra and scene.
        others: animals whose names people may have typed when they clicked this picture by mistake.
        mislabelled: whether the picture has another animal's label.
        stream: random numbers.

    Returns:
        (query, clicks) in the order drawn; a query may occur twice.
    """
    number = 3 + stream.poisson(3.0) if mislabelled else 10 + stream.poisson(10.0)
    popularity = (0.5 + stream.pareto(TAIL)) * (0.35 if mislabelled else 1.0)
    rows = []
    for kind in stream.choice(KINDS, size=number, p=KIND_SHARES):
        query = write_query(phrases, str(kind), animal, look, others, stream)
        clicks = 1 + int(popularity * stream.exponential())
        rows.append((query, min(clicks, MOST_CLICKS)))
    return rows


def write_query(
    phrases: Phrases, kind: str, animal: Animal, look: Look, others: Sequence[Animal], stream: np.random.Generator
) -> str:
    """Write one query of a kind, in English or Chinese, sometimes in capitals."""
    language = "zh" if stream.random() < CHINESE_SHARE else "en"
    if kind == "mis-click":
        animal = pick(others, stream)
    if kind in ("name", "mis-click"):
        query = pick(phrases.names[language], stream).format(animal.name if language == "en" else animal.chinese)
    elif kind == "attributes":
        query = pick(phrases.descriptions[language], stream).format(describe(phrases, animal, language, stream))
    elif kind == "look":
        seen = [word for word in (look.pose, look.extra, look.scene) if word in phrases.looks]
        query = phrases.looks[pick(seen, stream)][language == "zh"]
    else:
        query = pick((phrases.generic if kind == "generic" else OFF_TOPIC)[language], stream)
    return query.title() if language == "en" and stream.random() < 0.08 else query


def describe(phrases: Phrases, animal: Animal, language: str, stream: np.random.Generator) -> str:
    """Describe an animal by one to three of its attributes, in any order."""
    attributes = animal.attributes()
    named = stream.permutation(sorted(attributes))[: 1 + int(stream.integers(3))]
    words = [phrases.words[name][attributes[name]][language == "zh"] for name in map(str, named)]
    return (" " if language == "en" else "").join(words)
