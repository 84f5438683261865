import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from dvc_projects import ROOT, is_alive
from prefect.settings import PREFECT_API_AUTH_STRING, temporary_settings
from served import until

from flows.processes import Processes, guarded


def read(file: Path) -> int:
    return int(until(lambda: file.exists() and file.read_text().strip(), pause=0.02))


def test_a_command_ends_with_its_code_and_its_last_lines(tmp_path: Path) -> None:
    lines: list[str] = []
    code, tail = Processes(tmp_path).run(["sh", "-c", "seq 50; exit 9"], {}, lines.append)
    assert code == 9
    assert lines == [str(number) for number in range(1, 51)]
    assert list(tail) == lines[-40:]


def test_a_command_that_a_signal_ended_says_which(tmp_path: Path) -> None:
    assert Processes(tmp_path).run(["sh", "-c", "kill -SEGV $$"], {}, print)[0] == -signal.SIGSEGV


def test_a_child_in_a_session_of_its_own_holds_nothing_up_and_ends(tmp_path: Path) -> None:
    command = "setsid sh -c 'echo $$ > pid; exec sleep 300' & until [ -s pid ]; do sleep 0.02; done"
    assert Processes(tmp_path).run(["sh", "-c", command], {}, print)[0] == 0
    assert not is_alive(read(tmp_path / "pid"))


def test_a_killed_parent_takes_the_whole_tree_with_it(tmp_path: Path) -> None:
    parent = (
        "import pathlib; from flows.processes import Processes; Processes(pathlib.Path.cwd()).run("
        "['sh', '-c', 'echo $$ > pid; (setsid sleep 300 & echo $! > far); sleep 300'], {}, print)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", parent], cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    pids = [read(tmp_path / name) for name in ("pid", "far")]
    assert all(map(is_alive, pids))
    process.kill()
    process.wait()
    until(lambda: not any(map(is_alive, pids)))


def test_a_command_has_the_files_it_is_to_have_and_no_others(tmp_path: Path) -> None:
    with (tmp_path / "kept").open("w") as kept, (tmp_path / "other").open("w") as other:
        process = subprocess.Popen(
            guarded(["sh", "-c", "readlink /proc/$$/fd/*"], keep=[kept.fileno()]),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True,
            pass_fds=[kept.fileno(), other.fileno()],
        )  # fmt: skip
        assert process.stdout is not None
        files = process.stdout.read()
        process.communicate()
    assert str(tmp_path / "kept") in files
    assert str(tmp_path / "other") not in files


def test_ctrl_c_comes_first_and_leaves_time_to_tidy_up(tmp_path: Path) -> None:
    (tmp_path / "tidy.py").write_text(
        "import pathlib, time\n"
        "try:\n    pathlib.Path('pid').write_text('1'); time.sleep(300)\n"
        "except KeyboardInterrupt:\n    time.sleep(0.3); pathlib.Path('tidied').touch()\n"
    )
    process = subprocess.Popen(
        guarded([sys.executable, "tidy.py"]), cwd=tmp_path, stdin=subprocess.PIPE, start_new_session=True
    )
    read(tmp_path / "pid")
    assert process.stdin is not None
    process.stdin.close()
    assert process.wait(timeout=180) == 0
    assert (tmp_path / "tidied").exists()


def test_secrets_are_blotted_out_of_every_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_TOKEN", "abcdefgh")
    monkeypatch.setenv("SIGNING_KEY", "-----BEGIN\nMIIEvQIBADAN\nBgkqhkiG9w0B\n-----END")
    monkeypatch.setenv("HTTPS_PROXY", "http://me:hush-0815@proxy:3128")
    lines: list[str] = []
    command = 'echo x${API_TOKEN}y; echo "$SIGNING_KEY"; echo $HTTPS_PROXY me hush-0815; printf "abc\rhush-0815\r"'
    # The server's password is in no environment variable.
    with temporary_settings({PREFECT_API_AUTH_STRING: "clicksight:drowssap"}):
        processes = Processes(tmp_path)
    _, tail = processes.run(["sh", "-c", f"{command}; echo drowssap"], {}, lines.append)
    assert lines == list(tail) == ["x***y", *["***"] * 4, "*** me ***", "abc", "***", "***"]
