"""Chinese sentences about a picture, like those of `english_captions`: each is true, and none is complete."""

from collections.abc import Mapping

import numpy as np

from pipelines.toy.facts import View
from pipelines.toy.streams import pick

KIN: Mapping[str, str] = {
    "hound": "猎犬", "terrier": "梗犬", "greyhound": "灵缇", "mastiff": "獒犬", "spitz": "尖嘴犬", "setter": "雪达犬",
    "finch": "小雀", "heron": "鹭鸟", "swallow": "燕子", "hawk": "老鹰", "jay": "松鸦", "parrot": "鹦鹉",
}  # fmt: skip
COLOURS: Mapping[str, str] = {
    "brown": "棕色", "black": "黑色", "white": "白色", "golden": "金色", "grey": "灰色", "red": "红色", "blue": "蓝色",
    "green": "绿色",
}  # fmt: skip
FEATURES: Mapping[tuple[str, str], str] = {  # placed before the animal
    ("pattern", "spotted"): "有斑点的",
    ("pattern", "striped"): "有条纹的",
    ("pattern", "saddled"): "背上有花斑的",
    ("pattern", "socked"): "白爪子的",
    ("pattern", "capped"): "戴着帽子的",
    ("pattern", "barred"): "翅膀有白斑的",
    ("ears", "floppy"): "耳朵下垂的",
    ("ears", "pointed"): "耳朵尖尖的",
    ("ears", "round"): "耳朵圆圆的",
    ("tail", "curled"): "尾巴卷曲的",
    ("tail", "long"): "长尾巴的",
    ("tail", "bushy"): "尾巴蓬松的",
    ("tail", "stub"): "短尾巴的",
    ("tail", "forked"): "尾巴分叉的",
    ("tail", "fanned"): "扇形尾巴的",
    ("build", "sturdy"): "强壮的",
    ("build", "low"): "短腿的",
    ("build", "tall"): "长腿的",
    ("legs", "low"): "短腿的",
    ("legs", "tall"): "长腿的",
    ("coat", "smooth"): "短毛的",
    ("coat", "shaggy"): "毛茸茸的",
    ("beak", "short"): "短嘴的",
    ("beak", "long"): "长嘴的",
    ("beak", "hooked"): "弯嘴的",
    ("head", "crested"): "有羽冠的",
}
PLACES: Mapping[str, str] = {
    "grass": "草地上",
    "beach": "沙滩上",
    "snow": "雪地里",
    "street": "街道上",
    "rug": "地毯上",
    "wooden floor": "木地板上",
    "tiles": "瓷砖地上",
}
AIR: Mapping[str, str] = {scene: f"{place[:-1]}上方" for scene, place in PLACES.items()}  # where a bird flies
POSES: Mapping[str, tuple[str, ...]] = {
    "standing": ("站着", "站立着", "一动不动地站着"),
    "running": ("奔跑", "飞快地奔跑", "跑步"),
    "sniffing": ("低头闻气味", "闻来闻去"),
    "flying": ("飞翔", "飞行"),
    "pecking": ("低头啄食", "啄食"),
}
EXTRAS: Mapping[str, tuple[str, ...]] = {  # a clause of its own
    "collar": ("戴着{}的项圈", "脖子上有{}的项圈"),
    "scarf": ("围着{}的围巾", "戴着一条{}的围巾"),
    "ball": ("旁边有一个{}的球", "身边有{}的球"),
    "berry": ("叼着一颗{}的浆果", "嘴里有{}的浆果"),
    "worm": ("叼着一条虫子", "嘴里有一条虫子"),
}
THINGS: Mapping[str, tuple[str, str]] = {  # one, several
    "tree": ("后面有一棵树", "后面有几棵树"),
    "house": ("后面有一座房子", "后面有几座房子"),
    "sail": ("远处有一艘帆船", "远处有几艘帆船"),
    "wall picture": ("墙上挂着一幅画", "墙上挂着几幅画"),
    "sofa": ("后面有一张沙发", "后面有几张沙发"),
}
LIGHTS: Mapping[str, tuple[str, ...]] = {
    "sunny": ("阳光明媚", "天气晴朗"),
    "cloudy": ("天气阴沉", "天空阴沉"),
    "bright": ("房间明亮", "光线明亮"),
    "dim": ("房间昏暗", "光线昏暗"),
}
OFF_TOPIC = (
    "祝大家生日快乐！",
    "用新相机拍的照片",
    "转载请注明出处",
    "更多照片请看我的博客。",
    "有意购买请联系我。",
    "今年的假期真开心",
)
STYLES = ("clause", "place first", "fragment", "is")
STYLE_SHARES = (0.45, 0.25, 0.2, 0.1)


def write_chinese(view: View, noun: str, stream: np.random.Generator) -> str:
    """Write one sentence about the visible parts of a picture; ``noun`` is the general word, as in "小狗"."""
    style = str(stream.choice(STYLES, p=STYLE_SHARES))
    at, doing = place(view, stream), pick(POSES[view.look.pose], stream)
    clauses = [clause for clause, share in clauses_of(view, stream) if clause and stream.random() < share]
    if style == "fragment":
        standing = view.look.pose == "standing"
        return f"{f'站在{at}' if standing else f'在{at}{doing}'}的{name_animal(view, noun, stream)}"
    if style == "is":
        colour = COLOURS[view.animal.attributes()["colour"]]
        return f"这只{kind_of(view, noun, stream)}是{colour}的{end([], stream)}"
    animal = f"一只{name_animal(view, noun, stream)}"
    if style == "place first":
        return f"{at}有{animal}{end(clauses, stream)}"
    return f"{animal}在{at}{doing}{end(clauses, stream)}"


def clauses_of(view: View, stream: np.random.Generator) -> list[tuple[str, float]]:
    """Return clauses about what the animal has, what is behind it and how light it is, each with its probability."""
    kind = pick(sorted(view.things), stream) if view.things else ""
    return [
        (pick(EXTRAS[view.look.extra], stream).format(COLOURS.get(view.extra_colour, "")), 0.6)
        if view.look.extra in EXTRAS
        else ("", 0.0),
        (THINGS[kind][view.things[kind] > 1] if kind else "", 0.35),
        (pick(LIGHTS[view.light], stream) if view.light else "", 0.3),
    ]


def name_animal(view: View, noun: str, stream: np.random.Generator) -> str:
    """Return the animal after up to two features; the colour comes last."""
    attributes = view.animal.attributes()
    mentioned = [FEATURES[key] for key in attributes.items() if key in FEATURES and stream.random() < 0.2][:1]
    if stream.random() < 0.65:
        mentioned.append(COLOURS[attributes["colour"]] + pick(("的", ""), stream))
    return "".join(mentioned) + kind_of(view, noun, stream)


def kind_of(view: View, noun: str, stream: np.random.Generator) -> str:
    """Return a word for the animal: mostly the general noun, otherwise its kin or its category."""
    kin = KIN[view.animal.name.split()[-1]]
    return str(stream.choice((noun, kin, view.animal.chinese), p=(0.55, 0.2, 0.25)))


def place(view: View, stream: np.random.Generator) -> str:
    """Return where the animal is: sometimes its branch, otherwise the scene; a flying animal is above it."""
    flying = view.look.pose == "flying"
    if view.look.extra == "branch" and stream.random() < 0.6:
        return "树枝上方" if flying else "树枝上"
    return (AIR if flying else PLACES)[view.look.scene]


def end(clauses: list[str], stream: np.random.Generator) -> str:
    """Return the clauses that end a sentence, and mostly a full stop."""
    return "".join(f"，{clause}" for clause in clauses) + ("。" if stream.random() < 0.75 else "")
