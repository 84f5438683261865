"""The toy's birds: another kind of object, invented like the dogs of `breeds`, for the cross-object study.

As with the dogs, the 24 species that both domains have come in six kinds of four, alike except for one or two
attributes. Colours, some patterns, legs and the length of tails share the dogs' words; beaks, crests, forked and fanned
tails have words of their own. So what a click predictor learns about birds is partly true of dogs.
"""

from dataclasses import dataclass, fields
from typing import Literal

from pipelines.toy import breeds
from pipelines.toy.breeds import Presence

Colour = Literal["brown", "black", "white", "golden", "grey", "red", "blue", "green"]
Pattern = Literal["plain", "spotted", "striped", "capped", "barred"]
Beak = Literal["short", "long", "hooked"]
Tail = Literal["stub", "long", "forked", "fanned"]
Legs = Literal["low", "tall"]
Head = Literal["round", "crested"]

_DOGS = breeds.ATTRIBUTE_WORDS
# Words for an attribute value in a query: English phrase, Chinese phrase. Both are placed before the word for bird.
ATTRIBUTE_WORDS: dict[str, dict[str, tuple[str, str]]] = {
    "colour": {**_DOGS["colour"], "blue": ("blue", "蓝色的"), "green": ("green", "绿色的")},
    "pattern": {
        **{value: _DOGS["pattern"][value] for value in ("plain", "spotted", "striped")},
        "capped": ("capped", "戴着帽子的"),
        "barred": ("white wings", "白色翅膀的"),
    },
    "beak": {
        "short": ("short beak", "短嘴的"),
        "long": ("long beak", "长嘴的"),
        "hooked": ("hooked beak", "钩嘴的"),
    },
    "tail": {
        **{value: _DOGS["tail"][value] for value in ("stub", "long")},
        "forked": ("forked tail", "剪刀尾巴的"),
        "fanned": ("fan tail", "扇形尾巴的"),
    },
    "legs": {"low": _DOGS["build"]["low"], "tall": _DOGS["build"]["tall"]},
    "head": {
        "round": ("round head", "圆头的"),
        "crested": ("crested", "有羽冠的"),
    },
}


@dataclass(frozen=True)
class Bird:
    """A category: its names, and the looks of its birds."""

    name: str
    chinese: str
    colour: Colour
    pattern: Pattern
    beak: Beak
    tail: Tail
    legs: Legs
    head: Head
    presence: Presence = "both"
    few: bool = False  # fewer images than the selection requires

    def attributes(self) -> dict[str, str]:
        """Return the visible attributes, as in ``{"colour": "brown", ...}``."""
        return {field.name: getattr(self, field.name) for field in fields(self) if field.name in ATTRIBUTE_WORDS}


BIRDS: tuple[Bird, ...] = (
    # Finches: short of beak, tail and legs.
    Bird("maple finch", "枫林雀", "brown", "striped", "short", "stub", "low", "round"),
    Bird("cherry finch", "樱桃雀", "red", "plain", "short", "stub", "low", "round"),
    Bird("pebble finch", "卵石雀", "grey", "plain", "short", "fanned", "low", "round"),
    Bird("bramble finch", "荆棘雀", "brown", "capped", "short", "stub", "low", "round"),
    # Herons: long-beaked on long legs.
    Bird("mist heron", "薄雾鹭", "grey", "plain", "long", "stub", "tall", "crested"),
    Bird("pearl heron", "珍珠鹭", "white", "plain", "long", "stub", "tall", "crested"),
    Bird("delta heron", "河口鹭", "grey", "spotted", "long", "stub", "tall", "crested"),
    Bird("amber heron", "琥珀鹭", "golden", "plain", "long", "stub", "tall", "round"),
    # Swallows: dark, with forked tails.
    Bird("chapel swallow", "教堂燕", "blue", "plain", "short", "forked", "low", "round"),
    Bird("bridge swallow", "桥洞燕", "black", "plain", "short", "forked", "low", "round"),
    Bird("dusk swallow", "黄昏燕", "blue", "capped", "short", "forked", "low", "round"),
    Bird("ember swallow", "余烬燕", "black", "barred", "short", "forked", "low", "round"),
    # Hawks: hooked beaks, most of them with fanned tails.
    Bird("cliff hawk", "悬崖鹰", "brown", "spotted", "hooked", "fanned", "low", "round"),
    Bird("ridge hawk", "山脊鹰", "brown", "striped", "hooked", "fanned", "low", "round"),
    Bird("winter hawk", "冬日鹰", "white", "spotted", "hooked", "fanned", "tall", "round"),
    Bird("storm hawk", "风暴鹰", "black", "spotted", "hooked", "forked", "low", "round"),
    # Jays: crested, long of beak and tail.
    Bird("oak jay", "橡树松鸦", "blue", "barred", "long", "long", "low", "crested"),
    Bird("birch jay", "桦树松鸦", "blue", "plain", "long", "long", "low", "crested"),
    Bird("cedar jay", "雪松松鸦", "brown", "barred", "long", "long", "low", "crested"),
    Bird("fern jay", "蕨叶松鸦", "green", "barred", "long", "long", "low", "crested"),
    # Parrots: hooked beaks and long tails.
    Bird("temple parrot", "寺庙鹦鹉", "green", "plain", "hooked", "long", "low", "crested"),
    Bird("jungle parrot", "丛林鹦鹉", "green", "plain", "hooked", "long", "low", "round"),
    Bird("sunset parrot", "夕阳鹦鹉", "red", "plain", "hooked", "long", "low", "crested"),
    Bird("lemon parrot", "柠檬鹦鹉", "golden", "capped", "hooked", "long", "low", "round"),
    # In one domain only.
    Bird("canal finch", "运河雀", "green", "plain", "short", "stub", "low", "crested", presence="source"),
    Bird("polar swallow", "极地燕", "white", "capped", "short", "forked", "low", "round", "source", few=True),
    Bird("lunar jay", "月光松鸦", "golden", "spotted", "long", "long", "low", "round", presence="target"),
)
