"""Cut runs of Han characters into words, by jieba.

jieba is pure Python, so threads cannot run it in parallel: many runs are cut in processes of their own. These import
only this module and jieba, so that they start within a second.
"""

import threading
from collections.abc import Sequence
from functools import lru_cache, partial
from pathlib import Path

import jieba

from base.console import UserError
from base.cores import CORES
from base.inputs import check_file
from base.pool import processes

MANY = 20000
CHUNK = 2_000  # runs that a process gets at once

_lock = threading.Lock()


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
    files = [None if path is None else Path(path).stat() for path in (dictionary, user_dictionary)]
    versions = tuple(file and (file.st_ino, file.st_mtime_ns, file.st_size) for file in files)
    with _lock:
        tokenizer = _tokenizer_of(dictionary, user_dictionary, versions)
    return [" ".join(tokenizer.cut(run)) for run in runs]


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


def build_tokenizer(dictionary: str | None, user_dictionary: str | None) -> jieba.Tokenizer:
    """Return a new jieba tokenizer.

    Its dictionary is read directly: jieba's own loading uses a cache in the system's temporary folder and trusts the
    cache by date, so a dictionary replaced by an older file would not be noticed.

    Args:
        dictionary: file that replaces jieba's own dictionary.
        user_dictionary: file in addition to it.

    Raises:
        UserError: a dictionary is missing, not UTF-8, has a line that jieba cannot read, or no word with a frequency.
    """
    for path in (dictionary, user_dictionary):
        read_lines(path)
    tokenizer = jieba.Tokenizer(dictionary)
    try:
        tokenizer.FREQ, tokenizer.total = tokenizer.gen_pfdict(tokenizer.get_dict_file())
        tokenizer.initialized = True
        if user_dictionary is not None:
            tokenizer.load_userdict(user_dictionary)
    except ValueError as error:
        raise UserError(f"{dictionary or user_dictionary}: not a jieba dictionary: {error}") from None
    if tokenizer.total <= 0:  # jieba takes its logarithm
        raise UserError(f"{dictionary}: no word with a frequency above 0; a line is: word, space, frequency")
    return tokenizer
