"""Cut runs of Han characters into words, by jieba.

jieba is pure Python, so threads cannot run it in parallel: many runs are cut in processes of their own. These import
only this module and jieba, so that they start within a second.
"""

import re
import threading
from collections.abc import Iterator, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import NamedTuple

import jieba

from base.console import UserError
from base.cores import CORES
from base.inputs import check_file
from base.pool import processes
from pipelines.words.normal_form import normalise_text, visible_text

MANY = 20000
CHUNK = 2_000  # runs that a process gets at once

# Marks that repeat the character before them, as in 人々. They never begin a word, as they never begin a line (UAX 14,
# class NS).
ITERATION_MARKS = "々〻"
ITERATION_MARK = re.compile(f"[{ITERATION_MARKS}]")
# word, frequency, tag; the last two may be missing, and only jieba's own tags are recognised without a frequency.
DICTIONARY_LINE = re.compile(r"(\S.*?)(?:\s+(-?[0-9]+)(?:\s+\S+)?|\s+[a-z]+)?")

_lock = threading.Lock()


class DictionaryWord(NamedTuple):
    """A line of a dictionary.

    Attributes:
        raw: the word as in the file.
        word: its normal form.
        frequency: at least 0; ``None`` if the line has none. A word of frequency 0 is never cut out.
    """

    raw: str
    word: str
    frequency: int | None


def cut_runs(runs: Sequence[str], dictionary: str | None, user_dictionary: str | None) -> list[str]:
    """Return each run's words, with a space between them.

    Args:
        runs: Han characters only.
        dictionary, user_dictionary: as for :func:`build_tokenizer`.
    """
    if len(runs) < MANY or CORES == 1:
        return _cut(runs, dictionary, user_dictionary)
    chunks = [runs[start : start + CHUNK] for start in range(0, len(runs), CHUNK)]
    cut = partial(_cut_to_text, dictionary=dictionary, user_dictionary=user_dictionary)
    return [words for text in processes().map(cut, chunks) for words in text.split("\n")]


def _cut(runs: Sequence[str], dictionary: str | None, user_dictionary: str | None) -> list[str]:
    with _lock:
        tokenizer = _tokenizer_of(dictionary, user_dictionary, (_version(dictionary), _version(user_dictionary)))
    return [" ".join(_words_of(run, tokenizer)) for run in runs]


def _version(path: str | None) -> tuple[int, int, int] | None:
    """Return what changes with a file's content; None without a file: `build_tokenizer` names one that is missing."""
    try:
        file = None if path is None else Path(path).stat()
    except FileNotFoundError:
        return None
    return file and (file.st_ino, file.st_mtime_ns, file.st_size)


def _words_of(run: str, tokenizer: jieba.Tokenizer) -> Iterator[str]:
    """Return the words of a run. Iteration marks are cut as the characters that they repeat."""
    if not ITERATION_MARK.search(run):
        return tokenizer.cut(run)
    starts, position = [], 0
    for word in tokenizer.cut(written_out(run)):
        if run[position] not in ITERATION_MARKS or not position:
            starts.append(position)
        position += len(word)
    return (run[start:end] for start, end in zip(starts, [*starts[1:], len(run)], strict=True))


def written_out(run: str) -> str:
    """Return a run with the repeated characters instead of iteration marks.

    >>> written_out("佐々木"), written_out("々木")
    ('佐佐木', '々木')
    """
    letters: list[str] = []
    for letter in run:
        letters.append(letters[-1] if letters and letter in ITERATION_MARKS else letter)
    return "".join(letters)


def _cut_to_text(runs: Sequence[str], dictionary: str | None, user_dictionary: str | None) -> str:
    """Return a line for each run: one long text travels faster than many short ones."""
    return "\n".join(_cut(runs, dictionary, user_dictionary))


@lru_cache(maxsize=1)
def _tokenizer_of(
    dictionary: str | None, user_dictionary: str | None, versions: tuple[tuple[int, int, int] | None, ...]
) -> jieba.Tokenizer:
    """Return this process's tokenizer; a new one if a file has changed."""
    return build_tokenizer(dictionary, user_dictionary)


def read_lines(path: str | None) -> list[str]:
    """Return the stripped lines of a UTF-8 file; an empty list if the path is None.

    Raises:
        UserError: the file does not exist, is not a regular file, or is not UTF-8.
    """
    if path is None:
        return []
    check_file(path)
    try:
        return [line.strip() for line in Path(path).read_text(encoding="utf-8-sig").splitlines()]
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; expected a UTF-8 file with one word per line") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 (byte {error.start}); convert it first") from None


def read_dictionary(path: str | None, needs_frequencies: bool) -> list[DictionaryWord]:
    """Return the words of a jieba dictionary: in each line a word, optionally a frequency, optionally a tag.

    Spaces or tabs separate them; a word may itself have spaces in it. Empty lines are skipped.

    Args:
        path: the file; ``None`` gives no words.
        needs_frequencies: whether every word must have a frequency.

    Raises:
        UserError: the file is missing or not UTF-8, or a frequency is negative or missing.
    """
    words = []
    for row, line in enumerate(read_lines(path), start=1):
        if not (match := DICTIONARY_LINE.fullmatch(line)):
            continue
        raw, frequency = match[1], None if match[2] is None else int(match[2])
        if frequency is None and needs_frequencies:
            raise UserError(f"{path}:{row}: no frequency: {line!r}; a line is: word, space or tab, frequency")
        if frequency is not None and frequency < 0:
            raise UserError(f"{path}:{row}: the frequency is below 0: {line!r}; 0 stands for a word never to be found")
        words.append(DictionaryWord(raw, normalise_text(visible_text(raw)), frequency))
    return words


def build_tokenizer(dictionary: str | None, user_dictionary: str | None) -> jieba.Tokenizer:
    """Return a new jieba tokenizer.

    jieba's own loading is not used: it uses a cache in the system's temporary folder and trusts the cache by date, so a
    dictionary replaced by an older file would not be noticed; and it takes a tab or a negative frequency for a part of
    the word. Words are normalised as queries are.

    Args:
        dictionary: file that replaces jieba's own dictionary.
        user_dictionary: file in addition to it.

    Raises:
        UserError: a dictionary is missing, not UTF-8, has an unusable line, or no word with a frequency.
    """
    tokenizer = jieba.Tokenizer()
    if dictionary is None:
        tokenizer.FREQ, tokenizer.total = tokenizer.gen_pfdict(tokenizer.get_dict_file())
    else:
        tokenizer.FREQ, tokenizer.total = _frequencies(read_dictionary(dictionary, needs_frequencies=True))
    tokenizer.initialized = True
    for _, word, frequency in read_dictionary(user_dictionary, needs_frequencies=False):
        if frequency is None:  # jieba computes one from the total
            _check_total(tokenizer, dictionary)
        if word:
            tokenizer.add_word(written_out(word), frequency)
    _check_total(tokenizer, dictionary)
    return tokenizer


def _check_total(tokenizer: jieba.Tokenizer, dictionary: str | None) -> None:
    if tokenizer.total <= 0:  # jieba takes its logarithm
        raise UserError(f"{dictionary}: no word with a frequency above 0; a line is: word, space, frequency")


def _frequencies(words: Sequence[DictionaryWord]) -> tuple[dict[str, int], int]:
    """Return jieba's tables: the frequency of each word, 0 for each beginning of a word; the sum of the frequencies."""
    frequencies: dict[str, int] = {}
    total = 0
    for _, word, frequency in words:
        text, number = written_out(word), frequency or 0
        frequencies[text] = number
        total += number
        for end in range(1, len(text)):
            frequencies.setdefault(text[:end], 0)
    return frequencies, total
