"""English sentences about a picture: each is true of it, and none is a complete description.

A sentence names the animal, mostly with some of its visible features. Sometimes it also states what the animal does,
what it has, where it is, what is behind it and how light it is.
"""

from collections.abc import Mapping

import numpy as np

from pipelines.toy.facts import View
from pipelines.toy.streams import pick

ADJECTIVE_ORDER = ("build", "legs", "coat", "head", "pattern", "colour")
ADJECTIVES: Mapping[tuple[str, str], tuple[str, ...]] = {
    ("build", "sturdy"): ("sturdy", "stocky"),
    ("build", "low"): ("short-legged", "low"),
    ("build", "tall"): ("long-legged", "tall"),
    ("legs", "low"): ("short-legged",),
    ("legs", "tall"): ("long-legged",),
    ("coat", "smooth"): ("smooth-haired", "short-haired"),
    ("coat", "shaggy"): ("shaggy", "fluffy"),
    ("head", "crested"): ("crested",),
    ("pattern", "spotted"): ("spotted",),
    ("pattern", "striped"): ("striped",),
}
FEATURES: Mapping[tuple[str, str], tuple[str, ...]] = {
    ("pattern", "spotted"): ("spots",),
    ("pattern", "striped"): ("stripes",),
    ("pattern", "saddled"): ("a saddle on its back", "a patch across its back"),
    ("pattern", "socked"): ("white paws", "white paws and a white chest"),
    ("pattern", "capped"): ("a cap on its head", "a cap"),
    ("pattern", "barred"): ("white bars on its wings", "white wing bars"),
    ("ears", "floppy"): ("floppy ears", "hanging ears"),
    ("ears", "pointed"): ("pointed ears", "pricked ears"),
    ("ears", "round"): ("round ears",),
    ("tail", "curled"): ("a curly tail", "a curled tail"),
    ("tail", "long"): ("a long tail",),
    ("tail", "bushy"): ("a bushy tail",),
    ("tail", "stub"): ("a short tail", "a stubby tail"),
    ("tail", "forked"): ("a forked tail",),
    ("tail", "fanned"): ("a fan-shaped tail", "a fanned tail"),
    ("build", "low"): ("short legs",),
    ("build", "tall"): ("long legs",),
    ("legs", "low"): ("short legs",),
    ("legs", "tall"): ("long legs",),
    ("coat", "smooth"): ("a smooth coat",),
    ("coat", "shaggy"): ("shaggy fur",),
    ("beak", "short"): ("a short beak",),
    ("beak", "long"): ("a long beak",),
    ("beak", "hooked"): ("a hooked beak",),
    ("head", "crested"): ("a crest", "a crest on its head"),
}
EXTRAS: Mapping[str, tuple[str, ...]] = {  # after the animal
    "collar": ("with a {} collar", "wearing a {} collar"),
    "scarf": ("in a {} scarf", "wearing a {} scarf"),
    "ball": ("with a {} ball", "next to a {} ball"),
    "berry": ("with a {} berry in its beak", "with a {} berry"),
    "worm": ("with a worm in its beak", "with a worm"),
}
# What an animal does: finite verbs, then participles.
POSES: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "standing": (("stands", "is standing", "is standing still"), ("standing", "standing still")),
    "running": (("runs", "is running", "is dashing"), ("running", "racing")),
    "sniffing": (("sniffs", "is sniffing about", "has its nose down"), ("sniffing", "sniffing about")),
    "flying": (("flies", "is flying", "is flapping its wings"), ("flying", "in flight")),
    "pecking": (("pecks", "is pecking", "bends down to peck"), ("pecking", "looking for food")),
}
# Where the animal is: at rest, on the move, in the air; all phrases of a scene mean the same place.
PLACES: Mapping[str, tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]] = {
    "grass": (("on the grass", "in a meadow"), ("across the grass", "across a meadow"), ("over the grass",)),
    "beach": (("on the beach", "on a sandy beach"), ("along the beach", "across the sand"), ("over the beach",)),
    "snow": (("in the snow", "on snowy ground"), ("through the snow", "across the snow"), ("over the snow",)),
    "street": (("in the street", "on a street"), ("down the street", "along a street"), ("over the street",)),
    "rug": (("on a rug", "on the carpet"), ("across a rug", "over the carpet"), ("above a rug",)),
    "wooden floor": (
        ("on a wooden floor", "on the floorboards"),
        ("across a wooden floor", "over the floorboards"),
        ("above a wooden floor",),
    ),
    "tiles": (
        ("on a tiled floor", "on the tiles"),
        ("across a tiled floor", "over the tiles"),
        ("above a tiled floor",),
    ),
}
MOVES = {"running": 1}  # index into a scene's PLACES by pose; 0 for other poses, 2 in the air
THINGS: Mapping[str, tuple[str, str]] = {  # one, several
    "tree": ("a tree", "trees"),
    "house": ("a house", "houses"),
    "sail": ("a sailing boat", "sailing boats"),
    "wall picture": ("a picture on the wall", "pictures on the wall"),
    "sofa": ("a sofa", "sofas"),
}
LIGHTS: Mapping[str, tuple[str, ...]] = {
    "sunny": ("on a sunny day", "in the sunshine"),
    "cloudy": ("on a cloudy day", "on a dull day"),
    "bright": ("in a bright room", "in bright light"),
    "dim": ("in a dim room", "in dim light"),
}
OFF_TOPIC = (
    "Happy birthday to my sister!",
    "Taken with my new camera.",
    "More pictures on my blog.",
    "Call me if you want to buy it.",
    "We had a lovely holiday this year.",
    "Sorry for the bad quality.",
    "The second one of the series.",
)
STYLES = ("clause", "fragment", "there is", "scene first", "features", "things first", "photo")
STYLE_SHARES = (0.3, 0.22, 0.12, 0.1, 0.12, 0.07, 0.07)


def write_english(view: View, noun: str, stream: np.random.Generator) -> str:
    """Write one sentence about the visible parts of a picture.

    Args:
        view: of the picture.
        noun: the general word for the animals, as in "dog".
        stream: random numbers.
    """
    style = str(stream.choice(STYLES, p=STYLE_SHARES))
    if style == "features":
        return describe(view, noun, stream)
    subject = name_animal(view, noun, stream)
    doing, participle = (pick(words, stream) for words in POSES[view.look.pose])
    if style == "things first" and view.things:
        at = place(view, stream, at_rest=True)
        return f"{capitalise(things(view, stream))} behind {subject}{maybe(at, 0.6, stream)}."
    tail = maybe(background(view, stream), 0.3, stream) + maybe(light(view, stream), 0.35, stream)
    if style == "photo":
        what = pick(("A photo of", "A picture of", "Snapshot of"), stream)
        return f"{what} {subject}{maybe(place(view, stream, at_rest=True), 0.7, stream)}{tail}"
    if style == "there is" or (style == "fragment" and stream.random() < 0.2):
        at = place(view, stream, at_rest=True)
        return f"There is {subject} {at}{tail}." if style == "there is" else f"{subject} {at}{tail}"
    at = place(view, stream, at_rest=False)
    if style == "scene first":
        first = light(view, stream)
        return capitalise(f"{first}, {subject} {doing} {at}." if first else f"{at}, {subject} {doing}.")
    if style == "fragment":
        words = f"{subject} {participle} {at}{tail}"
        return pick((words, capitalise(words), f"{capitalise(words)}."), stream)
    return capitalise(f"{subject} {doing} {at}{tail}.")


def name_animal(view: View, noun: str, stream: np.random.Generator) -> str:
    """Return the animal with its article, up to three adjectives, up to two features, and sometimes what it has."""
    attributes = view.animal.attributes()
    adjectives: list[str] = []
    mentioned: set[str] = set()
    for group in ADJECTIVE_ORDER:
        value = attributes.get(group, "")
        words = (value,) if group == "colour" else ADJECTIVES.get((group, value))
        if words and stream.random() < (0.65 if group == "colour" else 0.18):
            adjectives.append(pick(words, stream))
            mentioned.add(group)
    named = " ".join([*adjectives[-3:], kind_of(view, noun, stream)])
    text = f"{'an' if named[0] in 'aeiou' else 'a'} {named}"
    with_ = features(view, 1 + int(stream.integers(2)), mentioned, stream) if stream.random() < 0.25 else []
    if with_:
        text += f" with {' and '.join(with_)}"
    elif view.look.extra in EXTRAS and stream.random() < 0.6:
        text += " " + pick(EXTRAS[view.look.extra], stream).format(view.extra_colour)
    return text


def kind_of(view: View, noun: str, stream: np.random.Generator) -> str:
    """Return a word for the animal: mostly the general noun, otherwise its kin or its category."""
    return str(stream.choice((noun, view.animal.name.split()[-1], view.animal.name), p=(0.55, 0.2, 0.25)))


def features(view: View, number: int, mentioned: set[str], stream: np.random.Generator) -> list[str]:
    """Return up to `number` features not mentioned yet, as in "a long tail"; those of the pattern come last."""
    keys = [key for key in view.animal.attributes().items() if key in FEATURES and key[0] not in mentioned]
    chosen = [keys[int(n)] for n in stream.permutation(len(keys))[:number]]
    chosen.sort(key=lambda key: key[0] == "pattern")
    return [pick(FEATURES[key], stream) for key in chosen]


def describe(view: View, noun: str, stream: np.random.Generator) -> str:
    """Write a sentence about the animal's features, or about what it wears."""
    kind = kind_of(view, noun, stream)
    if view.look.extra in ("collar", "scarf") and stream.random() < 0.5:
        return f"{pick(('The', 'This'), stream)} {kind} is wearing a {view.extra_colour} {view.look.extra}."
    has = features(view, 2, set(), stream)
    colour = view.animal.attributes()["colour"]
    if stream.random() < 0.5:
        return f"{pick(('The', 'This'), stream)} {kind} is {colour} and has {has[0]}."
    return f"{pick(('A', 'This'), stream)} {colour} {kind} has {' and '.join(has)}."


def place(view: View, stream: np.random.Generator, at_rest: bool) -> str:
    """Return where the animal is, as in "on the grass": mostly on its branch, if it has one, otherwise the scene.

    Args:
        view: of the picture.
        stream: random numbers.
        at_rest: whether the sentence has no verb for what the animal does, so that "down the street" would be wrong.
    """
    flies = view.look.pose == "flying"
    if view.look.extra == "branch" and stream.random() < 0.7:
        return "above a branch" if flies else "on a branch"
    return pick(PLACES[view.look.scene][2 if flies else 0 if at_rest else MOVES.get(view.look.pose, 0)], stream)


def things(view: View, stream: np.random.Generator) -> str:
    """Return one of the kinds of things that can be seen."""
    kind = pick(sorted(view.things), stream)
    return THINGS[kind][view.things[kind] > 1]


def background(view: View, stream: np.random.Generator) -> str:
    """Return what is behind the animal, as in "in front of trees"; an empty text if there is nothing."""
    if not view.things:
        return ""
    named = things(view, stream)
    if "on the wall" in named:
        return f"with {named}"
    return pick((f"in front of {named}", f"with {named} in the background", f"with {named} behind it"), stream)


def light(view: View, stream: np.random.Generator) -> str:
    """Return how light it is, as in "on a sunny day"; an empty text if the light has no name."""
    return pick(LIGHTS[view.light], stream) if view.light else ""


def maybe(text: str, share: float, stream: np.random.Generator) -> str:
    """Return a space and the text with probability `share`, otherwise an empty text."""
    return f" {text}" if text and stream.random() < share else ""


def capitalise(text: str) -> str:
    """Return a text with its first letter as a capital."""
    return text[0].upper() + text[1:]
