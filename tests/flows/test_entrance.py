import io
from contextlib import ExitStack
from pathlib import Path

import pytest
from prefect.settings import (
    PREFECT_API_AUTH_STRING,
    PREFECT_HOME,
    PREFECT_SERVER_API_AUTH_STRING,
    temporary_settings,
)
from served import until

from flows.serve import show_entrance
from flows.server.entrance import can_open_browser, entrance, open_browser, password_line

SECRET = 'me:a"<b>'
SCREEN = {"DISPLAY": ":0"}


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Replace xdg-open; return the file to which it writes its command line."""
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "xdg-open").write_text(f"#!/bin/sh\necho noise; tr '\\0' '\\n' < /proc/$$/cmdline > {tmp_path}/opened\n")
    (tools / "xdg-open").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:/usr/bin:/bin")
    return tmp_path / "opened"


def test_a_terminal_shows_the_password_and_a_log_where_it_is() -> None:
    assert password_line(Terminal(), SECRET, "FILE") == f"Its password: {SECRET}\n"
    assert password_line(io.StringIO(), SECRET, "FILE") == "Its password is in FILE\n"


def test_neither_a_password_nor_a_path_controls_the_terminal() -> None:
    assert password_line(Terminal(), "me:\x1b[2J\u202ehush", "FILE") == "Its password: me:\\x1b[2J\\u202ehush\n"
    assert password_line(io.StringIO(), SECRET, Path("a\x07\nb")) == "Its password is in a\\x07\\nb\n"


@pytest.mark.parametrize(
    ("environment", "output", "expected"),
    [
        (SCREEN, Terminal(), True),
        ({"WAYLAND_DISPLAY": "wayland-0"}, Terminal(), True),
        ({}, Terminal(), False),
        (SCREEN, io.StringIO(), False),  # the output of a service, or a file
        ({**SCREEN, "SSH_CONNECTION": "1.2.3.4 1 5.6.7.8 22"}, Terminal(), False),
        ({**SCREEN, "CI": "true"}, Terminal(), False),
    ],
)
@pytest.mark.usefixtures("opened")
def test_a_browser_opens_only_where_a_person_sits(
    environment: dict[str, str], output: io.StringIO, expected: bool
) -> None:
    assert can_open_browser(environment, output) is expected


def test_without_an_opener_none_opens(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert not can_open_browser(SCREEN, Terminal())
    open_browser(tmp_path)  # nothing happens


def test_the_file_holds_the_password_and_goes(tmp_path: Path) -> None:
    with entrance(tmp_path, "http://127.0.0.1:1", SECRET) as file:
        text = file.read_text()
        assert 'action="http://127.0.0.1:1/enter"' in text
        assert 'name="password" value="me:a&quot;&lt;b&gt;"' in text
        assert file.stat().st_mode & 0o777 == 0o600
    assert not file.exists()


@pytest.mark.parametrize(("may_open", "chosen"), [(True, None), (False, None), (False, SECRET)])
def test_serving_says_how_to_get_in(
    tmp_path: Path, opened: Path, monkeypatch: pytest.MonkeyPatch, may_open: bool, chosen: str | None
) -> None:
    monkeypatch.setenv("DISPLAY", ":0")
    for name in ("CI", "SSH_CONNECTION"):
        monkeypatch.delenv(name, raising=False)
    settings = {
        PREFECT_HOME: tmp_path, PREFECT_API_AUTH_STRING: SECRET, PREFECT_SERVER_API_AUTH_STRING: chosen
    }  # fmt: skip
    for output in (Terminal(), io.StringIO()):
        monkeypatch.setattr("sys.stdout", output)
        with temporary_settings(settings), ExitStack() as exit_stack:
            show_entrance("http://127.0.0.1:1", exit_stack, may_open)
            if output.isatty():
                assert output.getvalue() == f"Its password: {SECRET}\n"
                if may_open:
                    command = until(lambda: opened.exists() and opened.read_text(), pause=0.02)
                    # The command line has only the file's path, because every user may read command lines.
                    assert command.splitlines()[1:] == [
                        str(opened.with_name("tools") / "xdg-open"),
                        f"{tmp_path}/open.html",
                    ]
                    opened.unlink()
            else:
                source = "PREFECT_SERVER_API_AUTH_STRING" if chosen else tmp_path / "password"
                assert output.getvalue() == f"Its password is in {source}\n"
    assert not opened.exists()
