"""Read the facts out of the toy's captions, by words that are listed here and not taken from their generator."""

import re
from functools import cache

import jieba

Found = set[tuple[str, str]]

COLOURS = {
    "brown": "棕色", "black": "黑色", "white": "白色", "golden": "金色", "grey": "灰色", "red": "红色", "blue": "蓝色",
    "green": "绿色",
}  # fmt: skip
ENGLISH = {
    "scene": {
        "grass": "grass|meadow", "beach": "beach|sandy?", "snow": "snowy?", "street": "street", "rug": "rug|carpet",
        "wooden floor": "wooden floor|floorboards", "tiles": "tiles|tiled floor",
    },
    "pose": {
        "standing": "standing|stands", "running": "running|runs|dashing|racing",
        "sniffing": "sniffing|sniffs|nose down", "flying": "flying|flies|in flight|flapping",
        "pecking": "pecking|pecks?|looking for food",
    },
    "light": {
        "sunny": "sunny|sunshine", "cloudy": "cloudy|dull", "bright": "bright (?:room|light)",
        "dim": "dim (?:room|light)",
    },
    "extra": {name: name for name in ("collar", "scarf", "ball", "berry", "worm", "branch")},
    "thing": {
        "tree": "a tree", "house": "a house", "sail": "a sailing boat", "wall picture": "a picture on the wall",
        "sofa": "a sofa",
    },
    "things": {"tree": "trees", "house": "houses", "sail": "sailing boats"},
    "ears": {"floppy": "(?:floppy|hanging) ears", "pointed": "(?:pointed|pricked) ears", "round": "round ears"},
    "tail": {
        "curled": "cur(?:ly|led) tail", "long": "long tail", "bushy": "bushy tail", "stub": "(?:short|stubby) tail",
        "forked": "forked tail", "fanned": "(?:fan-shaped|fanned) tail",
    },
    "build": {"sturdy": "sturdy|stocky", "low": "low|short-legged|short legs", "tall": "tall|long-legged|long legs"},
    "legs": {"low": "short-legged|short legs", "tall": "long-legged|long legs"},
    "coat": {"smooth": "(?:smooth|short)-haired|smooth coat", "shaggy": "shaggy|fluffy"},
    "beak": {"short": "short beak", "long": "long beak", "hooked": "hooked beak"},
    "head": {"crested": "crest|crested"},
    "pattern": {
        "spotted": "spots|spotted", "striped": "stripes|striped", "saddled": "saddle|patch", "socked": "white paws",
        "capped": "cap", "barred": "white bars|white wing bars",
    },
}  # fmt: skip
CHINESE = {  # words as jieba cuts them
    "scene": {
        "草地": "grass", "沙滩": "beach", "雪地": "snow", "街道": "street", "地毯": "rug", "木地板": "wooden floor",
        "瓷砖": "tiles",
    },
    "pose": {
        "站": "standing", "站立": "standing", "奔跑": "running", "跑步": "running", "气味": "sniffing",
        "闻来闻去": "sniffing", "飞翔": "flying", "飞行": "flying", "啄食": "pecking",
    },
    "light": {"阳光明媚": "sunny", "天气晴朗": "sunny", "阴沉": "cloudy", "明亮": "bright", "昏暗": "dim"},
    "extra": {"项圈": "collar", "围巾": "scarf", "球": "ball", "浆果": "berry", "虫子": "worm", "树枝": "branch"},
    "thing": {"一棵树": "tree"},
    "things": {"几棵": "tree", "几座": "house", "几艘": "sail"},
    "any things": {"房子": "house", "帆船": "sail", "沙发": "sofa", "画": "wall picture", "树": "tree"},
    "coat": {"毛茸茸": "shaggy", "短毛": "smooth"},
    "pattern": {"斑点": "spotted", "有条纹": "striped", "花斑": "saddled", "帽子": "capped", "白斑": "barred"},
    "ears": {"下垂": "floppy", "耳朵尖": "pointed"},
    "tail": {"卷曲": "curled", "长尾巴": "long", "蓬松": "bushy", "分叉": "forked", "扇形": "fanned"},
    "beak": {"短嘴": "short", "长嘴": "long"},
    "head": {"羽冠": "crested"},
}  # fmt: skip


def attributes_of(found: Found, groups: set[str]) -> Found:
    """Keep the facts in groups that the animals have: "short legs" are a build of dogs, but legs of birds."""
    return {(group, value) for group, value in found if group in groups or group not in ("build", "legs")}


def read_english(sentence: str, names: set[str]) -> Found:
    """Return the facts in an English sentence; ``names`` are the categories' names."""
    text = sentence.lower()
    found = set()
    for name in names:
        if re.search(rf"\b{name}\b", text):
            found.add(("creature", name))
            text = text.replace(name, "animal")
        if re.search(rf"\b{name.split()[-1]}\b", text):
            found.add(("kin", name.split()[-1]))
    for match in re.finditer("(red|blue|green) (collar|scarf|ball|berry)", text):
        found.add(("extra colour", match[1]))
        text = text.replace(match[0], match[2])
    for group, values in ENGLISH.items():
        found |= {(group, value) for value, words in values.items() if re.search(rf"\b(?:{words})\b", text)}
    plain = re.sub(r"white (?:paws|chest|bars|wing bars)", "", text)
    return found | {("colour", colour) for colour in COLOURS if re.search(rf"\b{colour}\b", plain)}


@cache
def cut(sentence: str) -> tuple[str, ...]:
    """Return the words of a Chinese sentence."""
    return tuple(jieba.lcut(sentence))


def read_chinese(sentence: str, names: dict[str, str]) -> Found:
    """Return the facts in a Chinese sentence; ``names`` maps the categories' Chinese names to the English ones."""
    found = set()
    for chinese, english in names.items():
        if chinese in sentence:
            found.add(("creature", english))
            sentence = sentence.replace(chinese, "动物")
    words = cut(sentence)
    for group, values in CHINESE.items():
        found |= {(group, value) for word, value in values.items() if word in words}
    english = {chinese: colour for colour, chinese in COLOURS.items()}
    for index, word in enumerate(words):
        if word in english:
            follows = [other for other in words[index + 1 : index + 3] if other != "的"][:1]
            of_extra = follows and follows[0] in CHINESE["extra"]
            found.add(("extra colour" if of_extra else "colour", english[word]))
    return found
