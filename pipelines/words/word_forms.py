"""The forms in which a word of a category's name is recognised in queries: number, spelling, joined words.

A form is *exact* (the word itself, without its accents, in British or American spelling), *joined* (several words of a
name written as one) or the other *number* of one of these (plural or singular). Forms are made from the names, never
from the log. A name's word that queries split in two, as in ``cat bird`` for ``catbird``, is no form: ``red head`` is
not the duck ``redhead``. Give such a spelling as an alias.
"""

import re
import unicodedata
from collections.abc import Iterable, Sequence

from pipelines.ingest.categories import singulars

# Words whose British (first) and American spelling differ, as names of things in pictures have them.
SPELLINGS = (
    "grey gray, colour color, coloured colored, harbour harbor, parlour parlor, armour armor, neighbour neighbor, "
    "armoured armored, favourite favorite, flavour flavor, odour odor, centre center, theatre theater, fibre fiber, "
    "sabre saber, mitre miter, metre meter, tyre tire, pyjamas pajamas, plough plow, moustache mustache, "
    "doughnut donut, aeroplane airplane, aluminium aluminum, sulphur sulfur, jewellery jewelry, catalogue catalog, "
    "cheque check, programme program, storey story, kerb curb, mould mold, moulded molded, smoulder smolder, "
    "woollen woolen, travelling traveling, traveller traveler, labelled labeled, yoghurt yogurt, chilli chili, "
    "whisky whiskey, draught draft, axe ax, licence license, marvellous marvelous, paediatric pediatric"
)
IRREGULAR = (
    "goose geese, mouse mice, louse lice, man men, woman women, child children, foot feet, tooth teeth, ox oxen, "
    "die dice, cactus cacti, octopus octopi, hippopotamus hippopotami, fungus fungi, alga algae, larva larvae, "
    "nucleus nuclei, bacterium bacteria, person people"
)
ENGLISH = re.compile(r"[a-z]{3,}")
SHORTEST = 3  # letters of a singular


def _pairs(text: str) -> list[tuple[str, str]]:
    return [(first, second) for first, second in (pair.split() for pair in text.split(", "))]


AMERICAN = dict(_pairs(SPELLINGS))
OTHER_SPELLING = {**AMERICAN, **{second: first for first, second in _pairs(SPELLINGS)}}
OTHER_NUMBER = {**dict(_pairs(IRREGULAR)), **{second: first for first, second in _pairs(IRREGULAR)}}


def without_accents(word: str) -> str:
    """Return a word without the accents of its Latin letters.

    >>> without_accents("frisé"), without_accents("й")
    ('frise', 'й')
    """
    letters: list[str] = []
    is_latin = False
    for letter in unicodedata.normalize("NFD", word):
        is_mark = unicodedata.category(letter).startswith("M")
        is_latin = is_latin if is_mark else unicodedata.name(letter, "").startswith("LATIN")
        if not (is_mark and is_latin):
            letters.append(letter)
    return unicodedata.normalize("NFC", "".join(letters))


def standard_spelling(word: str) -> str:
    """Return the spelling under which words of names are equal.

    >>> standard_spelling("grey"), standard_spelling("frisé")
    ('gray', 'frise')
    """
    plain = without_accents(word)
    return AMERICAN.get(plain, plain)


def exact_forms(word: str) -> list[str]:
    """Return the spellings of a word without accents, its standard one first.

    >>> exact_forms("grey")
    ['gray', 'grey']
    """
    standard = standard_spelling(word)
    return [standard, *([OTHER_SPELLING[standard]] if standard in OTHER_SPELLING else [])]


def number_forms(word: str) -> list[str]:
    """Return the possible plurals and singulars of an English word, and none of any other word.

    >>> number_forms("fox"), number_forms("puppies"), number_forms("wolf"), number_forms("geese"), number_forms("grass")
    (['foxes', 'foxs'], ['puppie', 'puppi', 'puppy'], ['wolfs', 'wolves'], ['goose'], ['grasses'])
    """
    if not ENGLISH.fullmatch(word):
        return []
    tail = next((tail for tail in ("man", "men", "woman", "women") if word.endswith(tail) and word != tail), "")
    if word in OTHER_NUMBER or tail:  # fisherman, fishermen
        return [OTHER_NUMBER.get(word) or word.removesuffix(tail) + OTHER_NUMBER[tail]]
    if word.endswith("s") and not word.endswith(("ss", "us", "is")):
        return [one for one in singulars(word) if len(one) >= SHORTEST] or [word + "es"]
    if word.endswith(("s", "x", "z", "ch", "sh")):  # finchs is a common misspelling
        return [word + "es", *([] if word.endswith("s") else [word + "s"])]
    if re.search(r"[^aeiou]y$", word):
        return [word[:-1] + "ies", word + "s"]
    if word.endswith("f"):
        return [word + "s", word[:-1] + "ves"]
    if word.endswith("fe"):
        return [word + "s", word[:-2] + "ves"]
    return [word + "s", *([word + "es"] if word.endswith("o") else [])]


def joined_words(words: Sequence[str]) -> Iterable[tuple[str, tuple[str, ...]]]:
    """Yield each run of two and more adjacent words of a name as one word, and the words.

    >>> list(joined_words(["red", "wing", "bird"]))  # doctest: +NORMALIZE_WHITESPACE
    [('redwing', ('red', 'wing')), ('redwingbird', ('red', 'wing', 'bird')), ('wingbird', ('wing', 'bird'))]
    """
    for start in range(len(words)):
        for end in range(start + 2, len(words) + 1):
            yield "".join(words[start:end]), tuple(words[start:end])
