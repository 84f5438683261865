"""Read the names of the categories that are looked for in a log: the categories themselves, and their aliases."""

from pathlib import Path
from typing import NamedTuple

import pyarrow.compute as pc

from base.artifacts import read_tables
from base.console import UserError, named
from base.inputs import is_file
from pipelines.ingest.categories import normalise_category
from pipelines.ingest.image_catalogue import alias_pairs
from pipelines.words.han import read_lines

NAMES_TSV = "names.tsv"  # of a raw data set


class Name(NamedTuple):
    """A name of a category.

    Attributes:
        text: the name, normalised.
        category: the category; also its first name.
    """

    text: str
    category: str


def read_names(categories: Path, aliases: Path | None = None) -> list[Name]:
    """Return all names, sorted by category, the category itself first, then by text.

    Args:
        categories: a UTF-8 text with one name in each line; or a Parquet file, or a folder of them, with a column
            category, as ``ingested/images``. Names are normalised as those of a data set's categories.
        aliases: lines ``alias <TAB> category``, or a folder that may have such a file ``names.tsv``.

    Raises:
        UserError: a file is missing or unusable, no category is named, one is named twice, an alias is of no category
            or is that of two, or is the name of another category.
    """
    found = _read_categories(categories)
    names = {Name(category, category) for category in found}
    category_of = {category: category for category in found}
    for text, category in _read_aliases(aliases):
        if category not in category_of or category_of[category] != category:
            raise UserError(
                f"{aliases}: {text!r} is to be a name of {category!r}, which {categories} does not list; correct one "
                "of them, or leave the alias out"
            )
        if category_of.setdefault(text, category) != category:
            raise UserError(f"{aliases}: {text!r} is a name of both {category_of[text]!r} and {category!r}; keep one")
        names.add(Name(text, category))
    return sorted(names, key=lambda name: (name.category, name.text != name.category, name.text))


def _read_categories(path: Path) -> list[str]:
    """Return the normalised names of a list of categories, in code-point order."""
    is_table = path.is_dir() or path.suffix == ".parquet"
    if is_table:
        column = read_tables(path, columns=None if path.is_file() else ["category"])
        if "category" not in column.column_names:
            raise UserError(f"{path}: lacks the column category; it has {', '.join(column.column_names)}")
        lines = pc.unique(column["category"].drop_null()).to_pylist()
    elif is_file(path):
        lines = [line for line in read_lines(str(path)) if line]
    else:
        raise UserError(f"{path}: no such list of categories; expected a text with one name in each line")
    categories = [normalise_category(line) for line in lines]
    if empty := [line for line, category in zip(lines, categories, strict=True) if not category]:
        raise UserError(f"{path}: {empty[0]!r} is no name of a category; remove it")
    if not categories:
        raise UserError(f"{path}: names no category; expected one name in each line")
    if not is_table and len(set(categories)) < len(categories):
        twice = sorted({category for category in categories if categories.count(category) > 1})
        raise UserError(f"{path}: named more than once: {named(twice)}; two categories can't have one name")
    return sorted(set(categories))


def _read_aliases(path: Path | None) -> list[tuple[str, str]]:
    """Return pairs of an alias and its category, both normalised."""
    if path is None:
        return []
    if path.is_dir():
        path = path / NAMES_TSV
        if not is_file(path):
            return []
    elif not is_file(path):
        raise UserError(f"{path}: no such file; expected lines: alias, tab, category")
    return [(normalise_category(alias), normalise_category(category)) for alias, category in alias_pairs(path)]
