from datetime import timedelta
from types import SimpleNamespace

import pytest

from base.console import UserError
from model.training import ranks
from model.training.ranks import check_shared, lost_processes_reported, patience

MESSAGES = [
    "[/pytorch/third_party/gloo/gloo/transport/tcp/pair.cc:545] Read error [127.0.0.1]:41122: Connection reset by peer."
    " This is typically caused by a remote worker hanging.",
    "[/pytorch/third_party/gloo/gloo/transport/tcp/pair.cc:538] Connection closed by peer [10.0.0.2]:40318",
    "[/pytorch/third_party/gloo/gloo/transport/tcp/unbound_buffer.cc:78] Timed out waiting 1800000ms for recv",
    "NCCL error in: ProcessGroupNCCL.cpp:2251, remote process exited or there was a network error, NCCL version 2.21.5",
]


def processes(monkeypatch, number: int) -> None:
    state = SimpleNamespace(num_processes=number, process_index=number - 1)
    monkeypatch.setattr(ranks, "training_processes", lambda: state)


@pytest.mark.parametrize("message", MESSAGES)
def test_errors_about_other_processes_are_user_errors(monkeypatch, message):
    processes(monkeypatch, 2)
    said = r"another process of this training has ended or doesn't answer \("
    with pytest.raises(UserError, match=said) as raised, lost_processes_reported():
        raise RuntimeError(message)
    assert "pair.cc" not in str(raised.value)
    assert "typically" not in str(raised.value)


def test_other_errors_stay_as_they_are(monkeypatch):
    processes(monkeypatch, 2)
    with pytest.raises(RuntimeError, match="shapes differ"), lost_processes_reported():
        raise RuntimeError("shapes differ")
    processes(monkeypatch, 1)
    with pytest.raises(RuntimeError, match="Connection closed"), lost_processes_reported():
        raise RuntimeError(MESSAGES[1])


def test_a_folder_that_is_not_shared_is_an_error_for_all(tmp_path, monkeypatch):
    processes(monkeypatch, 2)
    monkeypatch.setattr(ranks, "SEEN_AFTER_S", 0.0)
    there, lacking = tmp_path / "there", tmp_path / "lacking"
    there.mkdir()
    monkeypatch.setattr(ranks, "gather_object", lambda mine: mine)
    check_shared(there)
    with pytest.raises(UserError, match=rf"as process 1 on .*: {lacking}; all need the same current folder"):
        check_shared(lacking)
    monkeypatch.setattr(ranks, "gather_object", lambda mine: ["process 0 on other: /x", *mine])
    with pytest.raises(UserError, match=r"as process 0 on other: /x; all need"):
        check_shared(there)


def test_patience_is_a_number_of_seconds(monkeypatch):
    monkeypatch.delenv(ranks.PATIENCE, raising=False)
    assert patience() == timedelta(minutes=30)
    monkeypatch.setenv(ranks.PATIENCE, "20")
    assert patience() == timedelta(seconds=20)
    for wrong in ("0", "-3", "soon", ""):
        monkeypatch.setenv(ranks.PATIENCE, wrong)
        with pytest.raises(UserError, match=rf"{ranks.PATIENCE} = {wrong}: expected a number of seconds"):
            patience()
