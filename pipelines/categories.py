"""Category names, made comparable: data sets spell the same category in their own ways."""

import re
import unicodedata

SYNSET = re.compile(r"n\d{8}[-_ ]")  # n02085620-Chihuahua, as in Stanford Dogs and ImageNet
NUMBER = re.compile(r"\d{1,4}\.")  # 001.Black_footed_Albatross, as in CUB-200-2011
GAP = re.compile(r"[\s_-]+")


def normalise_category(name: str) -> str:
    """Return a category's name in lower case, words parted by single spaces, without a data set's prefix.

    >>> normalise_category("n02085620-Chihuahua"), normalise_category("001.Black_footed_Albatross")
    ('chihuahua', 'black footed albatross')

    Args:
        name: as it stands in a label file or as a folder's name.

    Returns:
        The name; empty when nothing is left of it.
    """
    text = unicodedata.normalize("NFC", name).strip()
    for prefix in (SYNSET, NUMBER):
        text = prefix.sub("", text, count=1) if prefix.match(text) else text
    return GAP.sub(" ", text).strip().lower()
