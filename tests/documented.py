"""The commands that documents show, taken out of their code blocks."""

import re
import shlex
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
DOCUMENTS = ["README.md", *(f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md")))]
BLOCK = re.compile(r"^ *```bash\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)


class Command(NamedTuple):
    """A command as a shell would start it.

    Attributes:
        words: the program and its arguments.
        read: the file at its standard input; empty: none.
    """

    words: tuple[str, ...]
    read: str = ""

    def __str__(self) -> str:
        return shlex.join(self.words)


def commands_of(document: str) -> list[Command]:
    """Return the commands in a document's blocks of bash, in order; comments are left out."""
    text = (ROOT / document).read_text(encoding="utf-8")
    return [command for block in BLOCK.findall(text) for line in _lines(block) for command in _split(line)]


def programs_of(document: str) -> list[str]:
    """Return the programs in a document's blocks of Python."""
    text = (ROOT / document).read_text(encoding="utf-8")
    return re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def examples_of(docstring: str) -> list[Command]:
    """Return the commands of ours in a docstring, whose lines are indented by four spaces."""
    lines = _lines("\n".join(re.findall(r"^ {4}(.*)$", docstring, re.MULTILINE)))
    return [command for line in lines if line.startswith(("clicksight ", "python -m ")) for command in _split(line)]


def _lines(block: str) -> list[str]:
    """Return the lines of a block, those that go on joined: by a backslash, or in quotation marks."""
    found, waiting = list[str](), ""
    for line in re.sub(r"\\\n\s*", " ", block).splitlines():
        waiting += line
        try:
            _words(waiting)
        except ValueError:  # an open quotation mark
            waiting += "\n"
            continue
        found.append(waiting)
        waiting = ""
    assert not waiting, f"an open quotation mark: {block}"
    return found


def _words(line: str) -> list[str]:
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    return list(lexer)


def _split(line: str) -> list[Command]:
    """Return the commands of a line: joined by &&, perhaps with a file at standard input or output, nothing else."""
    found, words, read = list[Command](), list[str](), ""
    tokens = iter([*_words(line), "&&"])
    for token in tokens:
        if token == "&&":
            found += [Command(tuple(words), read)] if words else []
            words, read = [], ""
        elif token == "<":
            read = next(tokens)
        elif token == ">":
            next(tokens)
        else:
            assert not set(token) & set("|>;") or len(token) > 2, f"{line}: a shell would have to run this"
            words.append(token)
    return found
