"""Make category names comparable: data sets spell the same category in their own ways."""

import re
import unicodedata
from collections.abc import Collection, Iterable

SYNSET = re.compile(r"n\d{8}[-_ ]")  # n02085620-Chihuahua, as in Stanford Dogs and ImageNet
NUMBER = re.compile(r"\d{1,4}\.")  # 001.Black_footed_Albatross, as in CUB-200-2011
GAP = re.compile(r"[\s_-]+")


def normalise_category(name: str) -> str:
    """Return a category's name in lower case, with single spaces between words and without a data set's prefix.

    >>> normalise_category("n02085620-Chihuahua"), normalise_category("001.Black_footed_Albatross")
    ('chihuahua', 'black footed albatross')

    Args:
        name: as written in a label file or as the name of a folder.

    Returns:
        The normalised name; it may be empty.
    """
    text = unicodedata.normalize("NFC", name).strip()
    for prefix in (SYNSET, NUMBER):
        text = prefix.sub("", text, count=1) if prefix.match(text) else text
    return GAP.sub(" ", text).strip().lower()


class Aliases:
    """Replaces names of categories by others; both are compared after :func:`normalise_category`.

    Args:
        pairs: (name, name to use instead).

    Raises:
        ValueError: a name has two replacements, or a replacement is itself replaced.
    """

    def __init__(self, pairs: Iterable[tuple[str, str]] = ()) -> None:
        self._instead: dict[str, str] = {}
        for name, instead in ((normalise_category(a), normalise_category(b)) for a, b in pairs):
            if name == instead:  # two spellings that agree once normalised
                continue
            if self._instead.setdefault(name, instead) != instead:
                raise ValueError(f"{name!r} is to become both {self._instead[name]!r} and {instead!r}; keep one")
        for name, instead in self._instead.items():
            if instead in self._instead:
                raise ValueError(
                    f"{name!r} is to become {instead!r}, which is to become {self._instead[instead]!r}; name the last"
                )
        self._idle = set(self._instead)

    def category(self, name: str) -> str:
        """Return the category of a name from a label file or a folder."""
        category = normalise_category(name)
        self._idle.discard(category)
        return self._instead.get(category, category)

    def idle(self) -> list[str]:
        """Return the names that :meth:`category` has not been called with so far."""
        return sorted(self._idle)


def singulars(name: str) -> list[str]:
    """Return the possible singulars of a name whose last word may be an English plural; the likeliest first.

    >>> singulars("cairn terriers"), singulars("grey wolves"), singulars("ox")
    (['cairn terrier'], ['grey wolve', 'grey wolv', 'grey wolf', 'grey wolfe'], [])
    """
    rules = (("s", ("",)), ("es", ("",)), ("ies", ("y",)), ("ves", ("f", "fe")))
    return [
        name.removesuffix(ending) + singular
        for ending, replacements in rules
        if name.endswith(ending) and len(name.rpartition(" ")[2]) > len(ending) + 1
        for singular in replacements
    ]


def matching_plurals(names: Collection[str], others: Collection[str]) -> dict[str, str]:
    """Return which names of one domain are plurals of the other domain's names.

    Only names that the other domain lacks are replaced, and only by a name that it has. So ``grass`` or ``bus`` never
    loses its s, whatever :func:`singulars` returns for it. Irregular plurals need an alias.

    >>> matching_plurals({"cairn terriers", "grass", "geese"}, {"cairn terrier", "goose"})
    {'cairn terriers': 'cairn terrier'}
    """
    return {
        name: singular
        for name in sorted(set(names) - set(others))
        for singular in [next((one for one in singulars(name) if one in others), "")]
        if singular
    }
