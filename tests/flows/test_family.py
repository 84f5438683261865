import os
import subprocess

import psutil
import pytest
from family import commands, family, listening


def test_a_process_that_ends_while_it_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    short = subprocess.Popen(["sleep", "60"])
    found = family(os.getpid())
    assert short.pid in {process.pid for process in found}
    short.kill()
    short.wait()
    monkeypatch.setattr(psutil.Process, "children", lambda self, recursive: found[1:])
    assert short.pid not in {process.pid for process, _ in commands(os.getpid())}
    listening(os.getpid())
