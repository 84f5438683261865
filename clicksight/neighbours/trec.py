"""Judgements of relevance as TREC has them: ``qrels.txt`` with ``topic 0 picture clicks``, and ``topics.tsv``.

A topic is a word of the click features, or a query of a log; a picture is relevant by its clicks. Topics and pictures
are percent-encoded where they have white space, quotes or ``%``, because the format has no quotes; ``topics.tsv`` has
each topic and its text on one line. Rows are in the order of the shards; a topic may be in several.
"""

from pathlib import Path

from clicksight.neighbours.items import Source, one_line
from clicksight.neighbours.tokens import token


def write(source: Source, folder: Path) -> dict[str, int]:
    """Fill the folder; return counts."""
    counts = {"judgements": 0, "topics": 0}
    topics: set[str] = set()  # the texts, without the pictures
    with (
        (folder / "qrels.txt").open("w", encoding="utf-8", newline="\n") as judgements,
        (folder / "topics.tsv").open("w", encoding="utf-8", newline="\n") as listed,
    ):
        for rows in source.judgements():
            for image_id, clicks, text in rows.iter_rows():
                judgements.write(f"{token(text)} 0 {token(image_id)} {clicks}\n")
                if text not in topics:
                    topics.add(text)
                    listed.write(f"{token(text)}\t{one_line(text)}\n")
            counts["judgements"] += len(rows)
    counts["topics"] = len(topics)
    return counts
