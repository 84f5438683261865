"""Warn of entries in the user's lists of words that do nothing.

A list is written by hand or copied from another program, and an entry that no query can contain has no effect that
anybody would see. So every such entry is named when a command starts.
"""

from collections.abc import Sequence

import polars as pl
import pyarrow as pa

from base.console import log, named
from pipelines.words.han import ITERATION_MARKS, DictionaryWord, read_dictionary, read_lines
from pipelines.words.segmentation import OTHER_RUN, SegmentParams, segmenter_of

# What a word of a dictionary may be: any word without Han, one Han character, or characters that jieba joins.
JOINED = r"\x{4E00}-\x{9FD5}"
POSSIBLE = rf"\A(?:{OTHER_RUN}|[\p{{Han}}&&[\p{{L}}\p{{N}}]]|[{JOINED}][{JOINED}{ITERATION_MARKS}]*)\z"


def warn_of_idle_entries(params: SegmentParams) -> None:
    """Log a warning for each kind of entry in the lists of section ``segment`` that can't have the effect intended.

    Raises:
        UserError: a list cannot be used; see :class:`~pipelines.words.segmentation.Segmenter`.
    """
    _warn_of_stop_words(params)
    for path, is_additional in ((params.dictionary, False), (params.user_dictionary, True)):
        _warn_of_dictionary(path, is_additional, params)


def _warn_of_stop_words(params: SegmentParams) -> None:
    lines = [line for line in read_lines(params.stop_words) if line]
    words = segmenter_of(params).split(pa.array(lines, pa.string())).to_list()
    idle = [line for line, found in zip(lines, words, strict=True) if not found]
    lists = [line for line, found in zip(lines, words, strict=True) if found and ("\t" in line or "," in line)]
    if idle:
        log.warning(
            "%s: %d of %d stop words can never match, because no word has their signs: %s",
            params.stop_words, len(idle), len(lines), named(idle),
        )  # fmt: skip
    if lists:
        log.warning(
            "%s: %d of %d lines have a comma or a tab and match only where all of their words follow each other; write "
            "one stop word per line: %s",
            params.stop_words, len(lists), len(lines), named(lists),
        )  # fmt: skip


def _warn_of_dictionary(path: str | None, is_additional: bool, params: SegmentParams) -> None:
    entries = [entry for entry in read_dictionary(path, not is_additional) if entry.frequency != 0]
    words = pl.Series([entry.word for entry in entries], dtype=pl.String)
    is_possible = words.str.contains(POSSIBLE).to_list()
    mixed = [entry.raw for entry, possible in zip(entries, is_possible, strict=True) if not possible]
    if mixed:
        log.warning(
            "%s: %d of %d words can never be found, because jieba joins only Han characters from U+4E00 to U+9FD5: %s",
            path, len(mixed), len(entries), named(mixed),
        )  # fmt: skip
    others = [entry for entry, possible in zip(entries, is_possible, strict=True) if possible]
    if is_additional and (cut := _cut_apart(others, params)):
        log.warning(
            "%s: %d of %d words are never found, because jieba prefers to cut them, even alone; leave out their "
            "frequencies, so that jieba chooses sufficient ones: %s",
            path, len(cut), len(entries), named(cut),
        )  # fmt: skip


def _cut_apart(entries: Sequence[DictionaryWord], params: SegmentParams) -> list[str]:
    """Return the words that are cut even if a query has nothing else."""
    words = segmenter_of(params).split(pa.array([entry.word for entry in entries], pa.string())).to_list()
    return [entry.raw for entry, found in zip(entries, words, strict=True) if found != [entry.word]]
