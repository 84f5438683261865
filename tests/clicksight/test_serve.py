"""`clicksight serve` finds models, makes an index of pictures once, and serves both until it is stopped."""

import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from click_pictures import COLOURS, write_pictures
from training_runs import train_methods

from clicksight import serve

ROOT = Path(__file__).parents[2]
ADDRESS = re.compile(r"http://127\.0\.0\.1:\d+")


@pytest.fixture(scope="module")
def models(tmp_path_factory, tiny_data, network_params, objective_params, train_params) -> Path:
    params = train_params.model_copy(update={"epochs": 1})
    folder = tmp_path_factory.mktemp("models")
    train_methods(folder, ("VGGsrc", "MTMDD-VM"), tiny_data, network_params, objective_params, params)
    return folder


@contextmanager
def serving(folder: Path, *arguments: str) -> Iterator[tuple[str, subprocess.Popen[str], Path]]:
    """Serve in a folder; yield the page's address, the process, and the file of what it says."""
    said = folder / "said.txt"
    with said.open("w") as output:
        command = [sys.executable, "-m", "clicksight.serve", *arguments, "--port=0"]
        process = subprocess.Popen(command, cwd=folder, env={"PYTHONPATH": str(ROOT)}, stderr=output, text=True)
        try:
            until = time.monotonic() + 60
            while not (found := ADDRESS.search(said.read_text())):
                assert process.poll() is None, said.read_text()
                assert time.monotonic() < until, said.read_text()
                time.sleep(0.05)
            yield found[0], process, said
        finally:
            process.kill()
            process.wait(30)


@pytest.mark.slow
def test_it_serves_models_and_pictures_until_it_is_stopped_and_keeps_the_index(models: Path, tmp_path: Path) -> None:
    write_pictures(tmp_path / "pictures")
    for time_ in ("first", "second"):
        with serving(tmp_path, str(models), "--pictures", "pictures") as (address, process, said):
            with httpx.Client(base_url=address, trust_env=False, timeout=30) as client:
                assert all(name in client.get("/").text for name in ("MTMDD-VM", "VGGsrc", "3 pictures"))
                picture = (tmp_path / "pictures/red.png").read_bytes()
                answers = [client.post(f"/models/{number}/predict", content=picture).json() for number in (0, 1)]
                assert [[one["kind"] for one in answer["lists"]][:1] for answer in answers] == [["category"]] * 2
                # the first model predicts clicks, so the index is its own
                assert sorted(one["name"] for one in answers[0]["similar"]) == [
                    f"{name}.png" for name in sorted(COLOURS)
                ]
                assert answers[1]["similar"] == []
                assert client.get(f"{address.replace('127.0.0.1', 'localhost')}/").status_code == 200
            process.send_signal(signal.SIGINT)
            process.wait(30)
            assert "Traceback" not in said.read_text()
            assert ("index: wrote" in said.read_text()) == (time_ == "first")
    assert len(list((tmp_path / ".state/page").iterdir())) == 1


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["{models}", "--rate=often"], "--rate often: a number and a time expected, as in 600/minute"),
        (["{models}", "--masks=1"], "--masks 1: at least 2 expected"),
        (["none"], "none: no such folder"),
        (["{models}", "--index", "none"], "none: not an index"),
        (["{models}/VGGsrc", "--pictures", "{models}"], "every model: predicts no clicks; name a run of mtmdd"),
        (["{models}", "--by={models}/VGGsrc", "--pictures", "{models}"], "VGGsrc: predicts no clicks; name a run of"),
        (["{models}/VGGsrc", "--by={models}/MTMDD-VM", "--pictures", "{models}"], "MTMDD-VM: not one of the models"),
        (["{models}", "--host=192.0.2.1"], "192.0.2.1, port 8000: "),
    ],
)
def test_what_cannot_be_served_is_said(models: Path, monkeypatch, caplog, arguments: list[str], text: str) -> None:
    monkeypatch.setattr(sys, "argv", ["clicksight serve"])
    with pytest.raises(SystemExit) as left:
        serve.main([one.format(models=models) for one in arguments])
    assert left.value.code == 2
    assert text in caplog.text


def test_a_port_in_use_is_said(models: Path, monkeypatch, caplog) -> None:
    monkeypatch.setattr(sys, "argv", ["clicksight serve"])
    with serve.listening("127.0.0.1", 0) as taken, pytest.raises(SystemExit):
        serve.main([str(models), f"--port={taken.getsockname()[1]}"])
    assert "Address already in use" in caplog.text
