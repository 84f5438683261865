"""Keep the copies of an image in one split, with the categories' shares as close as whole groups allow.

A group of copies (`pipelines.ingest.duplicates`) may lie in several categories, as where one of two labels is wrong.
Each group is assigned as a whole, the largest first; then the other images fill what is left of the sizes that each
category's splits should have (`pipelines.splits.split.split_sizes`):

1. A group goes to the split where it exceeds these sizes least, in images, summed over the group's categories. Among
   equal splits it goes to the one that its first image has without groups, so that few images move, or else to the
   first.
2. If a category has only as many groups and single images left as splits without an image, its group must go to one of
   these. So a category with three different images has one in each split (of several categories that a group belongs
   to, as many as possible).
3. What groups exceed, the other splits lack, in proportion to their sizes.

If no group leaves its category, a split has at most G - 1 images more than its size, where G is the number of images of
the largest group, and at most 2 (G - 1) fewer. Without groups, the split is that of `split_sizes` and the hash alone.
"""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

import polars as pl

DOMAINS = ("source", "target")
SPLITS = ("train", "validation", "test")
NO_GROUPS = pl.DataFrame(schema={"domain": pl.String, "image_id": pl.String, "group": pl.String})
Sizes = dict[str, int]  # images by split


def groups_of_copies(duplicates: pl.DataFrame) -> pl.DataFrame:
    """Return the images that have copies in their own domain: `domain`, `image_id`, `group`.

    Args:
        duplicates: the columns of `schemas.DUPLICATES`.
    """
    return duplicates.filter(pl.col("group").is_not_null()).select("domain", "image_id", "group")


def assign_groups(
    groups: Sequence[Mapping[str, int]],
    preferred: Sequence[str],
    singles: Mapping[str, int],
    sizes: Mapping[str, Sizes],
) -> tuple[list[str], dict[str, Sizes]]:
    """Assign groups of copies to splits.

    Args:
        groups: for each group, its number of images by category; largest first.
        preferred: for each group, the split to prefer among equally good ones.
        singles: number of images without copies, by category.
        sizes: the sizes that each category's splits should have, by category.

    Returns:
        The split of each group, and the number of single images of each split, by category.
    """
    filled = {category: dict.fromkeys(SPLITS, 0) for category in sizes}
    units = dict(singles)
    for group in groups:
        for category in group:
            units[category] = units.get(category, 0) + 1
    found = []
    for group, favourite in zip(groups, preferred, strict=True):

        def cost(split: str, group: Mapping[str, int] = group, favourite: str = favourite) -> tuple[int, int, bool]:
            blocked = exceeded = 0
            for category, number in group.items():
                empty = [other for other in SPLITS if not filled[category][other]]
                blocked += units[category] <= len(empty) and split not in empty
                room = max(sizes[category][split] - filled[category][split], 0)
                exceeded += max(number - room, 0)
            return blocked, exceeded, split != favourite

        chosen = min(SPLITS, key=cost)
        found.append(chosen)
        for category, number in group.items():
            filled[category][chosen] += number
            units[category] -= 1
    left = {category: fill_up(filled[category], singles.get(category, 0), sizes[category]) for category in sizes}
    return found, left


def fill_up(filled: Sizes, singles: int, sizes: Sizes) -> Sizes:
    """Return how many single images each split of a category gets.

    Args:
        filled: images that groups have brought.
        singles: number of single images.
        sizes: the sizes without groups, which add up to the number of all images of the category.
    """
    reached = {split: max(sizes[split], filled[split]) for split in SPLITS}
    for _ in range(sum(reached.values()) - sum(filled.values()) - singles):
        # the split that is fullest for its size; a single image of an otherwise empty split is taken last
        fullest = max(
            (split for split in SPLITS if reached[split] > filled[split]),
            key=lambda split: (reached[split] > 1, Fraction(reached[split], sizes[split])),
        )
        reached[fullest] -= 1
    return {split: reached[split] - filled[split] for split in SPLITS}


def describe_copies(
    selected: pl.DataFrame, groups: pl.DataFrame, splits: Mapping[int, tuple[pl.DataFrame, pl.DataFrame]]
) -> dict[str, Any]:
    """Count the groups of copies among the selected images, and what keeping them together changes.

    Args:
        selected: the columns of `schemas.SELECTED`.
        groups: all images with copies in their own domain (:func:`groups_of_copies`).
        splits: by seed, the split and the split that the images would have without groups.

    Returns:
        By domain, `groups`, `images` in them, `largest` (images), `several_categories` (groups that lie in more than
        one), and by seed `moved` (images of any kind whose split is another one than without groups) and `divided`
        (groups that lie in more than one split).
    """
    members = selected.join(groups, on=["domain", "image_id"], how="inner")
    members = members.filter(pl.len().over("domain", "group") > 1)
    found: dict[str, Any] = {}
    for domain in DOMAINS:
        mine = members.filter(pl.col("domain") == domain)
        sizes = mine.group_by("group").agg(pl.len(), pl.col("category").n_unique().alias("categories"))
        found[domain] = {
            "groups": len(sizes),
            "images": len(mine),
            "largest": int(sizes["len"].max() or 0),  # type: ignore[arg-type]
            "several_categories": int((sizes["categories"] > 1).sum()),
            "seeds": {},
        }
        for seed, (split, plain) in splits.items():
            both = split.join(plain, on=["domain", "image_id"], suffix="_plain").filter(pl.col("domain") == domain)
            spread = mine.join(split, on=["domain", "image_id"]).group_by("group").agg(pl.col("split").n_unique())
            found[domain]["seeds"][str(seed)] = {
                "moved": int((both["split"] != both["split_plain"]).sum()),
                "divided": int((spread["split"] > 1).sum()),
            }
    return found
