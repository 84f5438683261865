"""The click features in Beam, element by element as in its guides: `python beam_elementwise.py LOG.tsv FOLDER`."""

import math
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import apache_beam as beam
import pyarrow as pa
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

WORD = re.compile(r"[^\W_]+")  # letters and digits: [\p{L}\p{N}]+ in the other scripts
TOP_WORDS = 1000


def parse(line: str) -> tuple[tuple[str, str], int]:
    image, query, clicks = line.split("\t")
    return (image, query), int(clicks)


def clicked_words(click: tuple[tuple[str, str], int]) -> Iterator[tuple[tuple[str, str], int]]:
    (image, query), clicks = click
    for word in set(WORD.findall(query.lower())):
        yield (image, word), clicks


def known_words(click: tuple[tuple[str, str], int], word_ids: dict[str, int]) -> Iterator[tuple[tuple[str, int], int]]:
    (image, word), clicks = click
    if word in word_ids:
        yield (image, word_ids[word]), clicks


def weighted(
    image: tuple[str, dict[str, list[tuple[int, int]]]], num_images: int, frequencies: dict[int, int]
) -> dict[str, object]:
    image_id, found = image
    entries = sorted(found["entries"])
    total = sum(clicks for _, clicks in entries)
    return {
        "image_id": image_id,
        "word_ids": [word_id for word_id, _ in entries],
        "clicks": [clicks for _, clicks in entries],
        "tfidf": [clicks / total * math.log(num_images / frequencies[word_id]) for word_id, clicks in entries],
    }


def vocabulary_rows(
    ranked: list[tuple[str, int]], num_images: int, frequencies: dict[int, int]
) -> Iterator[dict[str, object]]:
    for word_id, (word, clicks) in enumerate(ranked):
        frequency = frequencies[word_id]
        yield {
            "word_id": word_id,
            "word": word,
            "clicks": clicks,
            "document_frequency": frequency,
            "idf": math.log(num_images / frequency),
        }


def main() -> None:
    log, output = sys.argv[1], Path(sys.argv[2])
    with beam.Pipeline(runner=FnApiRunner()) as job:
        clicks = job | beam.io.ReadFromText(log) | beam.Map(parse) | "AddUpClicks" >> beam.CombinePerKey(sum)
        words = clicks | "Words" >> beam.FlatMap(clicked_words)
        ranked = (
            words
            | "ByWord" >> beam.Map(lambda click: (click[0][1], click[1]))
            | "ClicksOfWords" >> beam.CombinePerKey(sum)
            # the largest by (-clicks, word) reversed: most clicks first, ties by code point
            | beam.combiners.Top.Of(TOP_WORDS, key=lambda word: (-word[1], word[0]), reverse=True)
        )
        word_ids = ranked | "WordIds" >> beam.Map(lambda words: {word: i for i, (word, _) in enumerate(words)})
        matrix = (
            words
            | "KnownWords" >> beam.FlatMap(known_words, beam.pvalue.AsSingleton(word_ids))
            | "ClickMatrix" >> beam.CombinePerKey(sum)
        )
        frequencies = beam.pvalue.AsDict(
            matrix | "WordOfEntry" >> beam.Map(lambda entry: entry[0][1]) | beam.combiners.Count.PerElement()
        )
        images = clicks | "Images" >> beam.Map(lambda click: click[0][0]) | beam.Distinct()
        num_images = beam.pvalue.AsSingleton(images | beam.combiners.Count.Globally())
        entries = matrix | "ByImage" >> beam.Map(lambda entry: (entry[0][0], (entry[0][1], entry[1])))
        _ = (
            {"entries": entries, "images": images | "WithoutWords" >> beam.Map(lambda image: (image, None))}
            | beam.CoGroupByKey()
            | "Weighted" >> beam.Map(weighted, num_images, frequencies)
            | "WriteFeatures"
            >> beam.io.WriteToParquet(
                str(output / "click_features" / "part"),
                pa.schema(
                    {
                        "image_id": pa.string(),
                        "word_ids": pa.list_(pa.int32()),
                        "clicks": pa.list_(pa.int64()),
                        "tfidf": pa.list_(pa.float32()),
                    }
                ),
                codec="zstd",
                file_name_suffix=".parquet",
            )
        )
        _ = (
            ranked
            | "VocabularyRows" >> beam.FlatMap(vocabulary_rows, num_images, frequencies)
            | "WriteVocabulary"
            >> beam.io.WriteToParquet(
                str(output / "vocabulary.parquet"),
                pa.schema(
                    {
                        "word_id": pa.int32(),
                        "word": pa.string(),
                        "clicks": pa.int64(),
                        "document_frequency": pa.int64(),
                        "idf": pa.float64(),
                    }
                ),
                codec="zstd",
                num_shards=1,
                shard_name_template="",
            )
        )


if __name__ == "__main__":
    main()
