"""Labels from clicks computed in another way: words by plain Python and jieba, votes by DuckDB's SQL."""

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache

import duckdb
import jieba
import polars as pl
from click_oracles import HAN, WORD

from benchmarks.peers.duckdb_labels import label

Row = tuple[str, str, int]
Labels = dict[str, tuple[str | None, float, float, int, int, list[str]]]
SPELLED = {"grey": "gray", "colour": "color"}


def cut(text: str, tokenizer: jieba.Tokenizer) -> list[str]:
    """Segment one text of a script without combining marks."""
    words: list[str] = []
    for run in WORD.findall(text.casefold()):
        for part in filter(None, HAN.split(run)):
            words += tokenizer.lcut(part) if HAN.match(part) else [part]
    return list(dict.fromkeys(words))


def with_plural(word: str) -> list[str]:
    """Return an English word's regular plurals or singulars, and none of any other word."""
    if not re.fullmatch("[a-z]{3,}", word):
        return []
    if re.search("[^sui]s$", word):
        return [word[:-1]]
    if re.search("(s|x|z|ch|sh)$", word):
        return [word + "es", *([] if word.endswith("s") else [word + "s"])]
    return [word + "s", *([word + "es"] if word.endswith("o") else [])]


def taken_for(name_words: Iterable[Sequence[str]]) -> dict[str, set[str]]:
    """Return the words of names for which a word of a query is taken."""
    exact: dict[str, set[str]] = {}
    joined: dict[str, set[str]] = {}
    for words in name_words:
        for word in words:
            for form in [word, *(british for british, american in SPELLED.items() if american == word)]:
                exact.setdefault(form, set()).add(word)
        for start in range(len(words)):
            for end in range(start + 2, len(words) + 1):
                joined.setdefault("".join(words[start:end]), set()).update(words[start:end])
    numbers: dict[str, set[str]] = {}
    for form, words_of_form in (*exact.items(), *joined.items()):
        for other in with_plural(form):
            numbers.setdefault(other, set()).update(words_of_form)
    return {**numbers, **joined, **exact}


@lru_cache(maxsize=1)
def cut_names(names: tuple[str, ...]) -> tuple[dict[str, list[str]], jieba.Tokenizer]:
    """Return the words of names, and a tokenizer that knows the names and their words."""
    tokenizer = jieba.Tokenizer()
    words_of_name = {name: [SPELLED.get(word, word) for word in cut(name, tokenizer)] for name in names}
    for run in sorted({run for name in names for run in HAN.findall(name)} | set().union(*words_of_name.values())):
        if HAN.fullmatch(run) and len(run) > 1:
            tokenizer.add_word(run)
    return words_of_name, tokenizer


def labels_by_sql(rows: Sequence[Row], names: dict[str, str], least_reliability: float) -> Labels:
    """Return image -> (category, share, margin, clicks, queries, categories).

    Args:
        rows: of the log.
        names: each name's category.
        least_reliability: as in the command.
    """
    words_of_name, tokenizer = cut_names(tuple(names))
    forms = taken_for(words_of_name.values())
    texts = {query for _, query, _ in rows}
    query_words = {(text, word) for text in texts for form in cut(text, tokenizer) for word in forms.get(form, ())}
    tables = {
        "log": pl.DataFrame(list(rows), schema=["image", "query", "clicks"], orient="row")
        .group_by("image", "query")
        .agg(pl.col("clicks").sum()),
        "query_words": pl.DataFrame(sorted(query_words), schema={"query": pl.String, "word": pl.String}, orient="row"),
        "name_words": pl.DataFrame(
            [(name, names[name], word) for name, words in words_of_name.items() for word in words],
            schema=["name", "category", "word"],
            orient="row",
        ),
    }
    with duckdb.connect() as database:
        for name, table in tables.items():
            database.register(name, table.to_arrow())
        label(database, least_reliability)
        found = database.execute(
            "SELECT image_id, category, share, margin, clicks, queries, coalesce(categories, []) FROM labels"
        ).fetchall()
    return {row[0]: row[1:] for row in found}


def labels_in(table: pl.DataFrame) -> Labels:
    """Return the labels of a table in the same form."""
    rows = table.select("image_id", "category", "share", "margin", "clicks", "queries", "categories").rows()
    assert len({row[0] for row in rows}) == len(rows)
    return {row[0]: row[1:] for row in rows}


def differences(found: Labels, expected: Labels) -> list[tuple]:
    """Return the images whose labels differ: floats by more than rounding."""
    assert found.keys() == expected.keys()
    return [
        (image, found[image], label)
        for image, label in expected.items()
        if (found[image][0], *found[image][3:]) != (label[0], *label[3:])
        or any(abs(found[image][n] - label[n]) > 1e-12 for n in (1, 2))
    ]
