"""A page served by a thread, with a model that knows colours; its index has three pictures and no file of anybody."""

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import torch
import uvicorn
from click_pictures import Colours, click_model, write_cut_offs, write_pictures
from torch import nn

from base.own_page import NAMES
from clicksight import index
from clicksight.page import shelf
from clicksight.page.app import create_app
from clicksight.page.limits import Limits
from clicksight.page.shelf import Model, Shelf, find_galleries
from clicksight.serve import listening
from model.prediction import RecogniserPredictor

RATE = "100000/minute"
CATEGORIES = ["red <b>thing</b>", "green thing", "blue thing"]


class Strongest(nn.Module):
    """Logits by the means of red, green and blue."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return 8 * images.float().mean(dim=(2, 3)) / 255


def model_folder(folder: Path, system: str = "mtmdd", seed: int = 0) -> Path:
    """Write a model folder that can't be loaded, but has a digest."""
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(f'{{"system": "{system}", "seed": {seed}}}')
    return folder


def make_shelf(root: Path, patch: pytest.MonkeyPatch, cut_offs: bool = False) -> Shelf:
    """Return a shelf of two models and an index that the first has made.

    The first says categories and words, the second reads a history and says nothing.
    """
    first, second = model_folder(root / "RUN/seed-0"), model_folder(root / "OTHER/seed-3", seed=3)
    words = click_model()
    both = RecogniserPredictor(
        "mtmdd", "RUN", 0, (20, 16), (Strongest(), CATEGORIES), (Colours(), words.words), torch.device("cpu")
    )
    silent = RecogniserPredictor("mtmdd", "OTHER", 3, (20, 16), None, None, torch.device("cpu"))
    silent.reads = ("history",)
    loaded = {first: both, second: silent}
    patch.setattr(index, "load_model", loaded.__getitem__)
    patch.setattr(shelf, "load_model", loaded.__getitem__)
    write_pictures(root / "pictures")
    given = []
    if cut_offs:  # only pure colours fit; nothing says what fits dog and night
        write_cut_offs(root / "cut_offs.parquet", first, [0.9, 0.99, 0.9, None, None])
        given = ["--cut-offs", str(root / "cut_offs.parquet")]
    index.main([str(first), str(root / "pictures"), "--output", str(root / "pictures.index"), *given])
    models = [Model(first, "mtmdd", "RUN, seed 0"), Model(second, "mtmdd", "OTHER, seed 3")]
    return Shelf(models, find_galleries([root / "pictures.index"]))


def asking(address: str, at_once: int = 10) -> httpx.Client:
    """Return a client of a page."""
    limits = httpx.Limits(max_connections=at_once)
    return httpx.Client(base_url=address, timeout=120, trust_env=False, limits=limits)


@contextmanager
def served(shown: Shelf, limits: Limits | None = None, masks: int = 30) -> Iterator[str]:
    """Serve a page; yield its address."""
    listener = listening("127.0.0.1", 0)
    port = listener.getsockname()[1]
    app = create_app(shown, limits or Limits(RATE), NAMES, [f"http://{name}:{port}" for name in NAMES], masks)
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="on"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        until = time.monotonic() + 30
        while not server.started:
            assert time.monotonic() < until
            assert thread.is_alive()
            time.sleep(0.01)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(30)
        listener.close()


@contextmanager
def served_example(folder: Path) -> Iterator[str]:
    """Serve the page of :func:`make_shelf`, made in a folder; yield its address."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["test"])
        with served(make_shelf(folder, patch)) as found:
            yield found
