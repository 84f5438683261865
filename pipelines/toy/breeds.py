"""The toy's breeds: invented dogs that differ in a few visible attributes, with English and Chinese names.

The 24 breeds that both domains have come in six kinds of four. Breeds of a kind look alike except for one or two
attributes, and breeds of several kinds share every attribute value: so an attribute word in a query carries information
about the pixels of many categories.
"""

from dataclasses import dataclass, fields
from typing import Literal

Colour = Literal["brown", "black", "white", "golden", "grey", "red"]
Pattern = Literal["plain", "spotted", "striped", "saddled", "socked"]
Ears = Literal["floppy", "pointed", "round"]
Tail = Literal["curled", "long", "bushy", "stub"]
Build = Literal["sturdy", "low", "tall"]
Coat = Literal["smooth", "shaggy"]
Presence = Literal["both", "source", "target"]

# Words for an attribute value in a query: English phrase, Chinese phrase. Both are placed before the word for dog.
ATTRIBUTE_WORDS: dict[str, dict[str, tuple[str, str]]] = {
    "colour": {
        "brown": ("brown", "棕色的"),
        "black": ("black", "黑色的"),
        "white": ("white", "白色的"),
        "golden": ("golden", "金色的"),
        "grey": ("grey", "灰色的"),
        "red": ("red", "红色的"),
    },
    "pattern": {
        "plain": ("solid colour", "纯色的"),
        "spotted": ("spotted", "斑点"),
        "striped": ("striped", "有条纹的"),
        "saddled": ("saddle back", "背上有花斑的"),
        "socked": ("white paws", "白色爪子的"),
    },
    "ears": {
        "floppy": ("floppy ears", "垂着耳朵的"),
        "pointed": ("pointed ears", "尖尖耳朵的"),
        "round": ("round ears", "圆圆耳朵的"),
    },
    "tail": {
        "curled": ("curly tail", "卷着尾巴的"),
        "long": ("long tail", "长尾巴的"),
        "bushy": ("bushy tail", "蓬松尾巴的"),
        "stub": ("short tail", "短尾巴的"),
    },
    "build": {
        "sturdy": ("sturdy", "强壮的"),
        "low": ("short legs", "短腿的"),
        "tall": ("long legs", "高大的"),
    },
    "coat": {
        "smooth": ("smooth coat", "短毛的"),
        "shaggy": ("shaggy", "毛茸茸的"),
    },
}


@dataclass(frozen=True)
class Breed:
    """A category: its names, and the looks of its dogs."""

    name: str
    chinese: str
    colour: Colour
    pattern: Pattern
    ears: Ears
    tail: Tail
    build: Build
    coat: Coat
    presence: Presence = "both"
    few: bool = False  # fewer images than the selection requires

    def attributes(self) -> dict[str, str]:
        """Return the visible attributes, as in ``{"colour": "brown", ...}``."""
        return {field.name: getattr(self, field.name) for field in fields(self) if field.name in ATTRIBUTE_WORDS}


BREEDS: tuple[Breed, ...] = (
    # Hounds: low and floppy-eared, brown or golden.
    Breed("marsh hound", "沼泽猎犬", "brown", "plain", "floppy", "long", "low", "smooth"),
    Breed("prairie hound", "草原猎犬", "brown", "spotted", "floppy", "long", "low", "smooth"),
    Breed("island hound", "海岛猎犬", "golden", "plain", "floppy", "long", "low", "smooth"),
    Breed("lantern hound", "灯笼猎犬", "brown", "saddled", "floppy", "curled", "low", "smooth"),
    # Terriers: shaggy with pointed ears, sturdy or low.
    Breed("harbour terrier", "港湾梗犬", "grey", "plain", "pointed", "stub", "sturdy", "shaggy"),
    Breed("thistle terrier", "蓟花梗犬", "grey", "plain", "pointed", "bushy", "low", "shaggy"),
    Breed("orchard terrier", "果园梗犬", "white", "plain", "pointed", "stub", "sturdy", "shaggy"),
    Breed("castle terrier", "城堡梗犬", "grey", "striped", "pointed", "stub", "sturdy", "shaggy"),
    # Greyhounds: tall, smooth, long-tailed.
    Breed("desert greyhound", "沙漠灵缇", "golden", "plain", "pointed", "long", "tall", "smooth"),
    Breed("monsoon greyhound", "季风灵缇", "golden", "striped", "pointed", "long", "tall", "smooth"),
    Breed("river greyhound", "河流灵缇", "grey", "striped", "pointed", "long", "tall", "smooth"),
    Breed("canyon greyhound", "峡谷灵缇", "golden", "plain", "floppy", "long", "tall", "smooth"),
    # Mastiffs: sturdy and smooth, round-eared.
    Breed("thunder mastiff", "雷霆獒犬", "black", "plain", "round", "stub", "sturdy", "smooth"),
    Breed("volcano mastiff", "火山獒犬", "black", "socked", "round", "stub", "sturdy", "smooth"),
    Breed("abbey mastiff", "修道院獒犬", "red", "socked", "round", "stub", "sturdy", "smooth"),
    Breed("market mastiff", "集市獒犬", "brown", "plain", "round", "long", "sturdy", "smooth"),
    # Spitzes: sturdy and shaggy with curled or bushy tails.
    Breed("glacier spitz", "冰川尖嘴犬", "white", "plain", "pointed", "curled", "sturdy", "shaggy"),
    Breed("tundra spitz", "苔原尖嘴犬", "white", "saddled", "pointed", "curled", "sturdy", "shaggy"),
    Breed("comet spitz", "彗星尖嘴犬", "red", "plain", "pointed", "curled", "sturdy", "shaggy"),
    Breed("forest spitz", "森林尖嘴犬", "red", "plain", "round", "bushy", "sturdy", "shaggy"),
    # Setters: tall and shaggy with floppy ears and bushy tails.
    Breed("meadow setter", "牧场雪达犬", "red", "plain", "floppy", "bushy", "tall", "shaggy"),
    Breed("coast setter", "海岸雪达犬", "white", "spotted", "floppy", "bushy", "tall", "shaggy"),
    Breed("alpine setter", "高山雪达犬", "black", "socked", "floppy", "bushy", "tall", "shaggy"),
    Breed("lagoon setter", "泻湖雪达犬", "red", "socked", "floppy", "bushy", "tall", "shaggy"),
    # In one domain only.
    Breed("village hound", "村庄猎犬", "black", "saddled", "floppy", "stub", "low", "smooth", presence="source"),
    Breed("frost spitz", "霜冻尖嘴犬", "grey", "striped", "pointed", "curled", "low", "shaggy", "source", few=True),
    Breed("moon terrier", "月光梗犬", "white", "spotted", "round", "stub", "low", "shaggy", presence="target"),
)
