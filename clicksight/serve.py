"""Serve a page to try trained models: drop a picture and see what it shows, type words and see pictures.

    clicksight serve data
    clicksight serve data/mtmdd/models/MTMDD-VM-star --pictures holiday/ 'data/sets/toy/ingested/images/*.parquet'
    clicksight serve data --index pictures.index --port 9000

In: model folders, or folders with model folders anywhere below, and indexes of pictures (`clicksight index`) for the
search and for similar pictures. With --pictures the command makes an index of these pictures itself, by the model --by
or the first that predicts clicks, and keeps it in --keep for the next time. It doesn't notice that pictures below the
same names have changed: delete the kept index then.

The page answers on this machine alone, until Ctrl-C. It writes nothing and keeps no picture; requests name no files,
and are limited in size, rate and number (`clicksight.page.limits`). With --host others can use it: it has no password.
"""

import argparse
import asyncio
import hashlib
import json
import socket
import warnings
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import torch
import uvicorn
from PIL import Image

from base.console import UserError, log, stage
from base.own_page import NAMES
from clicksight import index
from clicksight.explain import MASKS
from clicksight.page.app import create_app
from clicksight.page.limits import RATE, Limits
from clicksight.page.shelf import Model, Shelf, find_galleries, find_models
from model.folder import model_digest

PORT = 8000
KEPT = Path(".state/page")
CONNECTIONS = 256
ON_THIS_MACHINE = ("127.0.0.1", "localhost", "::1")


def click_model(models: Sequence[Model], wanted: Path | None = None) -> Model:
    """Return the model that makes an index: the wanted one, or the first that predicts clicks.

    Raises:
        UserError: the wanted one is not among them, or none predicts clicks.
    """
    if wanted is not None:
        models = [model for model in models if model.folder.resolve() == wanted.resolve()]
        if not models:
            raise UserError(f"--by {wanted}: not one of the models; name it among them, too")
    shelf = Shelf(models, [])
    for number, model in enumerate(models):
        try:
            if shelf.load(number).predictor.words:
                return model
        except UserError:
            continue
    raise UserError(f"{wanted or 'every model'}: predicts no clicks; name a run of mtmdd with a click branch")


def index_of(model: Model, pictures: Sequence[str], kept: Path) -> Path:
    """Return the folder of a model's index of some pictures; it is made if it isn't kept.

    Raises:
        UserError: no picture can be used.
    """
    made_of = json.dumps([model_digest(model.folder), [str(Path(name).absolute()) for name in pictures]])
    folder = kept / f"{hashlib.blake2b(made_of.encode(), digest_size=8).hexdigest()}.index"
    if not folder.is_dir():
        log.info("an index of the pictures by %s, kept in %s", model.title, folder)
        index.main([str(model.folder), *pictures, "--output", str(folder)])
    return folder


def listening(host: str, port: int) -> socket.socket:
    """Return a socket that listens.

    Raises:
        UserError: the address can't be used.
    """
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        raise UserError(f"{host}, port {port}: {error.strerror or error}; give another by --host or --port") from None


def build_parser() -> argparse.ArgumentParser:
    """Return the command's parser."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", type=Path, help="model folders, or folders with such below them")
    parser.add_argument("--index", nargs="+", type=Path, default=[], metavar="DIR", help="of clicksight index")
    parser.add_argument("--pictures", nargs="+", default=[], help="to be indexed, as clicksight index takes them")
    parser.add_argument("--by", type=Path, metavar="MODEL", help="the model that makes the index of --pictures")
    parser.add_argument("--keep", type=Path, default=KEPT, help="folder of the indexes of --pictures (%(default)s)")
    parser.add_argument("--port", type=int, default=PORT, help="0: any free one (default: %(default)s)")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen at (default: this machine alone)")
    parser.add_argument("--name", nargs="+", default=[], help="other names under which browsers reach this machine")
    parser.add_argument("--rate", default=RATE, help="requests of one address (default: %(default)s)")
    parser.add_argument("--masks", type=int, default=MASKS, help="looks at a picture for a map (default: %(default)s)")
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command."""
    arguments = build_parser().parse_args(argv)
    warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # such a picture is refused with a reason
    with stage("serve"):
        if arguments.masks < 2:
            raise UserError(f"--masks {arguments.masks}: at least 2 expected")
        try:
            limits = Limits(arguments.rate)
        except ValueError:
            raise UserError(f"--rate {arguments.rate}: a number and a time expected, as in {RATE}") from None
        models = find_models(arguments.models)
        indexes = list(arguments.index)
        if arguments.pictures:
            indexes.append(index_of(click_model(models, arguments.by), arguments.pictures, arguments.keep))
        shelf = Shelf(models, find_galleries(indexes))
        torch.set_num_threads(1)  # pictures are worked on side by side
        listener = listening(arguments.host, arguments.port)
        names = [*NAMES, *([] if arguments.host in ON_THIS_MACHINE else [arguments.host]), *arguments.name]
        port = listener.getsockname()[1]
        app = create_app(shelf, limits, names, [f"http://{name}:{port}" for name in names], arguments.masks)
        if arguments.host not in ON_THIS_MACHINE:
            log.warning("whoever reaches this machine can use the page; it has no password")
        log.info("models: %d, indexes: %d; http://%s:%d (Ctrl-C ends it)", len(models), len(indexes), names[0], port)
        config = uvicorn.Config(app, log_level="warning", limit_concurrency=CONNECTIONS, server_header=False)
        with suppress(KeyboardInterrupt):  # uvicorn ends what runs, and raises it again
            asyncio.run(uvicorn.Server(config).serve(sockets=[listener]))


if __name__ == "__main__":
    main()
