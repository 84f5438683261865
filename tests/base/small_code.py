"""A project of two packages, and the files that running its modules may read as code."""

from pathlib import Path

MAIN = 'if __name__ == "__main__":\n    pass\n'
FILES = {
    "jobs/__init__.py": "",
    "jobs/first.py": '"""Not other.html."""\nimport json\nfrom jobs import tools\nPAGE = "page.html"\n' + MAIN,
    "jobs/tools.py": "def late():\n    from .deep import thing\n    return thing\n",
    "jobs/deep.py": "thing = 1\n",
    "jobs/page.html": "<p>",
    "jobs/other.html": "<p>",
    "jobs/second.py": (
        "from typing import TYPE_CHECKING\nfrom net.losses import count\nimport net.words.stop\n"
        "if TYPE_CHECKING:\n    from jobs.first import PAGE\nelse:\n    from . import deep\n" + MAIN
    ),
    "jobs/late.py": "import net.base\n",
    "net/__init__.py": "from net import base\n",
    "net/base.py": "",
    "net/train.py": 'import importlib\nimportlib.import_module("jobs.deep")\nLIST = "words/en.txt"\n' + MAIN,
    "net/words/stop.py": "",
    "net/words/en.txt": "the",
    "net/losses/__init__.py": "from net.losses.count import count\n",
    "net/losses/count.py": "from ..base import *\ncount = 1\n",
}
FIRST = {"jobs/__init__.py", "jobs/first.py", "jobs/tools.py", "jobs/deep.py", "jobs/page.html"}
TRAIN = {"net/__init__.py", "net/base.py", "net/train.py", "net/words/en.txt", "jobs/__init__.py", "jobs/deep.py"}
LATE = {"jobs/__init__.py", "jobs/late.py", "net/__init__.py", "net/base.py"}
SECOND = {
    "jobs/__init__.py", "jobs/second.py", "jobs/deep.py", "net/__init__.py", "net/base.py",
    "net/losses/__init__.py", "net/losses/count.py", "net/words/stop.py",
}  # fmt: skip


def write_small_code(root: Path) -> None:
    for name, text in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
