"""The words with which users tag the toys' pictures: for each topic, the things to be seen, and words for each."""

from collections.abc import Mapping

from pipelines.toy import chinese_captions
from pipelines.toy.chinese_captions import COLOURS, KIN
from pipelines.toy.facts import View

Words = tuple[str, ...]  # words with the same meaning

PETS: Mapping[str, tuple[Words, Words]] = {
    "dog": (("pet", "puppy"), ("宠物",)),
    "bird": (("wildlife", "birding"), ("野生动物",)),
}
SKIN = {"dog": ("fur", "coat"), "bird": ("feathers", "plumage")}
SHAPES: Mapping[tuple[str, str], Words] = {
    ("pattern", "spotted"): ("spots", "spotted"),
    ("pattern", "striped"): ("stripes", "striped"),
    ("pattern", "saddled"): ("saddle back",),
    ("pattern", "socked"): ("white paws",),
    ("pattern", "capped"): ("cap", "capped"),
    ("pattern", "barred"): ("white wings", "wing bars"),
    ("ears", "floppy"): ("floppy ears",),
    ("ears", "pointed"): ("pointed ears", "pointy ears"),
    ("ears", "round"): ("round ears",),
    ("tail", "curled"): ("curly tail",),
    ("tail", "long"): ("long tail",),
    ("tail", "bushy"): ("bushy tail", "fluffy tail"),
    ("tail", "stub"): ("short tail",),
    ("tail", "forked"): ("forked tail",),
    ("tail", "fanned"): ("fan tail",),
    ("build", "sturdy"): ("strong", "sturdy"),
    ("build", "low"): ("short legs",),
    ("build", "tall"): ("long legs",),
    ("legs", "low"): ("short legs",),
    ("legs", "tall"): ("long legs",),
    ("coat", "shaggy"): ("fluffy", "shaggy"),
    ("coat", "smooth"): ("short hair",),
    ("beak", "short"): ("short beak",),
    ("beak", "long"): ("long beak",),
    ("beak", "hooked"): ("hooked beak",),
    ("head", "crested"): ("crest", "crested"),
}
PLACES: Mapping[str, tuple[Words, Words]] = {  # English, Chinese; for scenes, things, and all scenes of a domain
    "grass": (("grass", "meadow", "green grass"), ("草地",)),
    "beach": (("beach", "sand", "sandy beach"), ("沙滩", "海边")),
    "snow": (("snow", "snow scene"), ("雪", "雪地")),
    "street": (("street", "street scene"), ("街道", "街拍")),
    "rug": (("rug", "carpet"), ("地毯",)),
    "wooden floor": (("wooden floor", "floorboard", "wood"), ("木地板",)),
    "tiles": (("tile", "tiled floor"), ("瓷砖",)),
    "tree": (("tree",), ("树",)),
    "house": (("house", "building"), ("房子",)),
    "sail": (("boat", "sail"), ("帆船",)),
    "sofa": (("sofa", "couch"), ("沙发",)),
    "wall picture": (("picture", "wall art"), ("画",)),
    "source": (("outdoors", "outside"), ("户外",)),
    "target": (("indoors", "at home"), ("室内",)),
}
ACTIONS: Mapping[str, tuple[Words, Words]] = {
    "standing": (("standing",), ("站立",)),
    "running": (("running", "run"), ("奔跑",)),
    "sniffing": (("sniffing", "nose down"), ("闻",)),
    "flying": (("flying", "in flight"), ("飞翔",)),
    "pecking": (("pecking", "feeding"), ("啄食",)),
    "collar": (("collar",), ("项圈",)),
    "scarf": (("scarf",), ("围巾",)),
    "ball": (("ball", "toy"), ("球",)),
    "berry": (("berry",), ("浆果",)),
    "worm": (("worm",), ("虫子",)),
    "branch": (("branch",), ("树枝",)),
}
MOODS: Mapping[str, tuple[Words, Words]] = {  # the feelings that a pose, a scene or a light causes
    "standing": (("calm", "quiet"), ("安静",)),
    "running": (("happy", "fun"), ("快乐",)),
    "sniffing": (("curious",), ("好奇",)),
    "flying": (("freedom", "free"), ("自由",)),
    "pecking": (("hungry",), ("饿",)),
    "grass": (("peaceful", "spring"), ("春天",)),
    "beach": (("summer", "holiday"), ("夏天", "假期")),
    "snow": (("cold", "winter"), ("冬天", "寒冷")),
    "street": (("busy", "city life"), ("城市",)),
    "rug": (("homely", "sweet home"), ("温馨",)),
    "wooden floor": (("homely", "sweet home"), ("温馨",)),
    "tiles": (("clean", "tidy"), ("干净",)),
    "sunny": (("sunshine", "bright day"), ("阳光",)),
    "cloudy": (("gloomy", "grey day"), ("阴天",)),
    "bright": (("cheerful",), ("明亮",)),
    "dim": (("moody", "cosy"), ("昏暗",)),
}


def tag_words(view: View, topic: str, language: str, nouns: tuple[str, str]) -> list[Words]:
    """Return the words for each visible thing of a topic, the most prominent thing first.

    Args:
        view: of the picture.
        topic: one of `users.TOPICS` except "own".
        language: en or zh.
        nouns: the general word for the animals, in English and in Chinese.
    """
    is_chinese = language == "zh"
    if topic == "creature":
        name, kin = view.animal.name, view.animal.name.split()[-1]
        any_of_them = nouns[is_chinese], *PETS[nouns[0]][is_chinese]
        return [(view.animal.chinese,), (KIN[kin],), any_of_them] if is_chinese else [(name,), (kin,), any_of_them]
    if topic == "colour":
        return colours(view, is_chinese, nouns[0])
    if topic == "shape":
        keys = [key for key in view.animal.attributes().items() if key in SHAPES]
        return [(chinese_captions.FEATURES[key].rstrip("的"),) if is_chinese else SHAPES[key] for key in keys]
    tables = {
        "place": (PLACES, (view.look.scene, *sorted(view.things), view.domain)),
        "action": (ACTIONS, (view.look.pose, view.look.extra)),
        "mood": (MOODS, (view.look.pose, view.look.scene, view.light)),
    }
    table, seen = tables[topic]
    return [table[name][is_chinese] for name in seen if name in table]


def colours(view: View, is_chinese: bool, noun: str) -> list[Words]:
    """Return the animal's colour twice, so that it is twice as likely, then its pattern and the colour of its extra."""
    attributes = view.animal.attributes()
    colour, pattern = attributes["colour"], ("pattern", attributes["pattern"])
    skin = SKIN[noun]
    words: list[Words] = [
        (COLOURS[colour],) if is_chinese else (colour, f"{colour} {skin[0]}", f"{colour} {skin[1]}", f"{colour} {noun}")
    ]
    words *= 2
    if pattern in SHAPES:
        words.append((chinese_captions.FEATURES[pattern].rstrip("的"),) if is_chinese else SHAPES[pattern])
    if view.extra_colour:
        extra = view.look.extra
        words.append(
            (COLOURS[view.extra_colour],) if is_chinese else (view.extra_colour, f"{view.extra_colour} {extra}")
        )
    return words
