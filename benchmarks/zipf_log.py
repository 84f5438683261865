"""Draw a Zipf-distributed click log of any size: `python benchmarks/zipf_log.py --rows 1_000_000 --output log.tsv`.

Defaults: n rows, n/23 images, a pool of n/2 queries, 60,000 words, 1 to 6 words a query. Words, queries and images are
each drawn by rank with weight 1/(rank + 10)^s; clicks are heavy-tailed (log-normal, at least 1). The same seed gives
the same bytes.
"""

import argparse
from pathlib import Path

import numpy as np
import polars as pl

SYLLABLES = [consonant + vowel for consonant in "bcdfghjklmnprstvwz" for vowel in "aeiou"]
CHINESE = "图片高清大全可爱小狗金毛犬哈士奇泰迪白色黑色棕色斑点搞笑壁纸头像宠物训练价格怎么养幼犬公园草地睡觉奔跑"


def invent_words(num_words: int, generator: np.random.Generator) -> list[str]:
    """Return distinct words of two to five syllables, in an order that is independent of their spelling."""
    words: dict[str, None] = {}
    while len(words) < num_words:
        length = int(generator.integers(2, 6))
        words["".join(generator.choice(SYLLABLES, length))] = None
    return list(words)


def by_rank(size: int, number: int, exponent: float, generator: np.random.Generator) -> np.ndarray:
    """Draw `number` indices below `size`, the small ones most often."""
    weights = 1.0 / (np.arange(size) + 10.0) ** exponent
    cumulative = np.cumsum(weights / weights.sum())
    return np.searchsorted(cumulative, generator.random(number), side="right").clip(max=size - 1).astype(np.int64)


def query_pool(num_queries: int, num_words: int, chinese: bool, generator: np.random.Generator) -> pl.Series:
    """Return the pool of queries: 1 to 6 words each, or Chinese phrases of 4 to 16 characters."""
    if chinese:
        characters = np.array(list(CHINESE))
        lengths = generator.integers(4, 17, num_queries)
        text = characters[by_rank(len(characters), int(lengths.sum()), 0.6, generator)]
        ends = np.cumsum(lengths)
        return pl.Series(
            ["".join(text[end - length : end]) for end, length in zip(ends.tolist(), lengths.tolist(), strict=True)]
        )
    words = pl.Series(invent_words(num_words, generator))
    lengths = generator.integers(1, 7, num_queries)
    columns = []
    for position in range(6):
        chosen = words.gather(by_rank(num_words, num_queries, 1.0, generator))
        columns.append(pl.select(pl.when(pl.lit(pl.Series(lengths > position))).then(pl.lit(chosen))).to_series())
    frame = pl.DataFrame({str(position): column for position, column in enumerate(columns)})
    return frame.select(pl.concat_str(pl.all(), separator=" ", ignore_nulls=True)).to_series()


def write_log(
    path: Path,
    rows: int,
    seed: int = 0,
    chinese: bool = False,
    piece: int = 2_000_000,
    images: int | None = None,
    queries: int | None = None,
) -> None:
    """Write the log, `piece` rows at a time."""
    generator = np.random.default_rng(seed)
    num_images = images or max(rows // 23, 1)
    pool = query_pool(queries or max(rows // 2, 1), 60_000, chinese, generator)
    order = generator.permutation(len(pool))  # a query's popularity is independent of its words
    with path.open("wb") as file:
        for start in range(0, rows, piece):
            number = min(piece, rows - start)
            chosen = pool.gather(order[by_rank(len(pool), number, 0.7, generator)])
            image_numbers = by_rank(num_images, number, 0.4, generator)
            clicks = np.floor(generator.lognormal(0.5, 1.2, number)).astype(np.int64) + 1
            frame = pl.DataFrame({"image": image_numbers, "query": chosen, "clicks": clicks})
            hexadecimal = pl.format("img{}", pl.col("image") * 2_654_435_761 % 4_294_967_296)
            frame.select(hexadecimal, "query", "clicks").write_csv(
                file, separator="\t", include_header=False, quote_style="never"
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--images", type=int, help="default: a 23rd of the rows")
    parser.add_argument("--queries", type=int, help="size of the pool; default: half of the rows")
    parser.add_argument("--chinese", action="store_true", help="Chinese phrases instead of invented words")
    arguments = parser.parse_args()
    write_log(
        arguments.output,
        arguments.rows,
        arguments.seed,
        arguments.chinese,
        images=arguments.images,
        queries=arguments.queries,
    )


if __name__ == "__main__":
    main()
