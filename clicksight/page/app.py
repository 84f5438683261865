"""The page's application: what browsers may ask, and how the answers are made.

| request | answer |
|---|---|
| ``GET /`` | the page |
| ``GET /models/M`` | JSON: what model M reads beside a picture: tags of it, the history of a user |
| ``POST /models/M/predict?tags=&history=`` | JSON: what model M says of the picture in the body, and similar pictures |
| ``POST /models/M/explain?kind=&name=`` | PNG: where in the picture that comes from |
| ``GET /galleries/G/search?words=&all=`` | JSON: the pictures of index G for these words |
| ``GET /galleries/G/pictures/ROW`` | JPEG: a thumbnail |

M, G and ROW are numbers: no request names a file. Pictures are worked on by as many threads as there are cores, maps by
one more, so that maps, which take a hundred times as long, don't stop the pictures.
"""

import asyncio
import io
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any, TypeVar

import jinja2
import numpy as np
import torch
from fastapi import FastAPI, HTTPException, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.trustedhost import TrustedHostMiddleware
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse, Response
from starlette.types import ASGIApp

from base.console import UserError, log
from base.cores import CORES
from base.own_page import OwnPageOnly
from clicksight.explain import KINDS, LISTS, MASKS, best_of, importance, overlaid, score_of
from clicksight.page.limits import MOST_LETTERS, Limits
from clicksight.page.shelf import Loaded, Shelf
from clicksight.pictures import Encoded, picture_of, squares_of
from clicksight.predict import shortened, split_tags
from clicksight.search import Index, Least
from model.prediction import Context, Prediction

HERE = Path(__file__).parent
FILES = {"page.css": "text/css", "page.js": "text/javascript"}
POLICY = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"  # noqa: E501
TOP, SIMILAR, FOUND = 5, 8, 24  # entries of a list; pictures
EXAMPLES = 12  # words that are offered for a search
TITLES = {
    "category": "Shows",
    "word": "People would click it for",
    "label": "Labels",
    "tag": "Tags for this user",
    "text": "Nearest texts",
}
MAP_PIXELS = 320  # least side of a shown map

Text = Annotated[str, Query(max_length=MOST_LETTERS)]
Result = TypeVar("Result")


class Work:
    """Does what takes time, in threads.

    Args:
        shelf: the models and indexes.
        masks: of an explanation.
    """

    def __init__(self, shelf: Shelf, masks: int) -> None:
        self.shelf, self.masks = shelf, masks
        self._pictures = ThreadPoolExecutor(CORES, thread_name_prefix="picture")
        self._maps = ThreadPoolExecutor(1, thread_name_prefix="map")

    async def of_picture(self, do: Callable[[], Result]) -> Result:
        """Run a function in a thread of the pictures, and return its result."""
        return await asyncio.get_running_loop().run_in_executor(self._pictures, do)

    async def of_map(self, do: Callable[[], Result]) -> Result:
        """Run a function in the thread of the maps, and return its result."""
        return await asyncio.get_running_loop().run_in_executor(self._maps, do)

    def close(self) -> None:
        """End the threads; what has not begun is not done."""
        for pool in (self._pictures, self._maps):
            pool.shutdown(wait=False, cancel_futures=True)

    def model(self, number: int) -> Loaded:
        """Return a model.

        Raises:
            HTTPException: there is none, or it can't be applied to pictures.
        """
        if not 0 <= number < len(self.shelf.models):
            raise HTTPException(404, "There is no such model")
        try:
            return self.shelf.load(number)
        except UserError as error:
            folder = str(self.shelf.models[number].folder)
            raise HTTPException(409, str(error).replace(folder, "this model")) from None

    def gallery(self, number: int) -> Index:
        """Return an index.

        Raises:
            HTTPException: there is none.
        """
        if not 0 <= number < len(self.shelf.galleries):
            raise HTTPException(404, "There is no such index")
        return self.shelf.galleries[number]

    def square(self, loaded: Loaded, body: bytes) -> torch.Tensor:
        """Return what a model sees of a picture: uint8 (1, 3, S, S).

        Raises:
            HTTPException: the body is no usable picture.
        """
        encoded = Encoded("picture", "picture", body)
        predictor = loaded.predictor
        picture = picture_of(encoded, predictor.resize, predictor.image_size, finely=predictor.finely)
        if picture.pixels is None:
            raise HTTPException(422, f"This file can't be used: {picture.reason}")
        return squares_of([picture])

    def predict(self, number: int, body: bytes, context: Context) -> dict[str, Any]:
        """Return what a model says of a picture, and the pictures of its index that people would click for the same."""
        loaded = self.model(number)
        pixels = self.square(loaded, body)
        [said] = loaded.predictor.predict(pixels, [context], TOP if loaded.cut_offs is None else None)
        if loaded.cut_offs is not None:
            said = shortened(said, loaded.cut_offs, TOP)
        place = self.shelf.gallery_of(number)
        similar: list[dict[str, Any]] = []
        if place is not None and said.click_feature is not None:
            similar = found_in(self.shelf.galleries[place], place, said.click_feature.numpy(), SIMILAR)
        judged = loaded.cut_offs is not None and not said.words
        return {"lists": lists_of(said), "number": said.number, "nothing_fits": judged, "similar": similar}

    def explain(self, number: int, body: bytes, context: Context, asked: tuple[str, str] | None) -> bytes:
        """Return the map of where a name comes from, or what the model is most sure of, as PNG."""
        loaded = self.model(number)
        pixels = self.square(loaded, body)
        try:
            kind, name = asked or best_of(loaded.predictor.predict(pixels, [context], 1)[0])
            score = score_of(loaded.predictor, kind, name, context)
        except UserError as error:
            raise HTTPException(409, str(error)) from None
        image = overlaid(pixels[0], importance(pixels[0], score, self.masks))
        times = -(-MAP_PIXELS // image.height)
        written = io.BytesIO()
        image.resize((image.width * times, image.height * times)).save(written, "PNG")
        return written.getvalue()

    def search(self, number: int, words: str, everything: bool) -> dict[str, Any]:
        """Return the pictures of an index that fit some words, and what is to be said of the words."""
        gallery = self.gallery(number)
        try:
            query = gallery.of_words(words)
        except UserError:
            return {"found": [], "notes": ["The model knows none of these words."]}
        notes = []
        if query.unknown:
            notes.append(f"Left out, as the model doesn't know them: {', '.join(query.unknown)}.")
        least = None if everything else gallery.least(query.vector)
        found = found_in(gallery, number, query.vector, FOUND, least)
        if not found and gallery.cut_offs is not None:  # an index has a picture at least
            right = gallery.cut_offs.right
            notes.append(f"Nothing fits: no picture is above the cut-offs, above which {right:.0%} are right.")
        return {"found": found, "notes": notes}


def found_in(
    gallery: Index, place: int, vector: np.ndarray, top: int, least: Least | None = None
) -> list[dict[str, Any]]:
    """Return the most similar pictures of an index, each with the address of its thumbnail."""
    return [
        {
            "name": Path(one.image).name,
            "picture": f"galleries/{place}/pictures/{one.row}",
            "cosine": round(one.cosine, 3),
        }
        for one in gallery.nearest(vector, top, least)
    ]


def lists_of(said: Prediction) -> list[dict[str, Any]]:
    """Return what a prediction says, list by list, without those that the model doesn't predict."""
    lists = []
    for kind in KINDS:
        entries = [{"name": one.name, "value": round(one.value, 4)} for one in getattr(said, LISTS[kind])]
        if entries:
            lists.append({"kind": kind, "title": TITLES[kind], "entries": entries})
    return lists


def page_of(shelf: Shelf) -> str:
    """Return the page."""
    loader = jinja2.FileSystemLoader(HERE)
    environment = jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    indexed = [shelf.gallery_of(number) for number in range(len(shelf.models))]
    systems: dict[str, list[dict[str, Any]]] = {}
    for number, model in enumerate(shelf.models):
        systems.setdefault(model.system, []).append(
            {"number": number, "title": model.title, "gallery": indexed[number]}
        )
    first = next((number for number, gallery in enumerate(indexed) if gallery is not None), 0)
    galleries = [
        {
            "number": number,
            "pictures": len(gallery.entries),
            "words": gallery.words[:EXAMPLES],
            "judged": gallery.cut_offs is not None,
        }
        for number, gallery in enumerate(shelf.galleries)
    ]
    return environment.get_template("page.html.jinja").render(systems=systems, first=first, galleries=galleries)


def create_app(
    shelf: Shelf, limits: Limits, names: Sequence[str], origins: Sequence[str], masks: int = MASKS
) -> ASGIApp:
    """Return the application.

    Args:
        shelf: the models and indexes.
        limits: what is answered at a time.
        names: hosts under which the page may be asked for.
        origins: the page's addresses, as in ``http://127.0.0.1:8000``.
        masks: of an explanation.
    """
    work = Work(shelf, masks)
    page = page_of(shelf)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        work.close()

    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, lifespan=lifespan)

    @app.exception_handler(RequestValidationError)
    async def _malformed(request: Request, error: RequestValidationError) -> JSONResponse:
        return JSONResponse({"detail": f"Not a request of this page; texts have at most {MOST_LETTERS} letters"}, 422)

    @app.exception_handler(Exception)
    async def _failed(request: Request, error: Exception) -> JSONResponse:
        log.error("%s %s failed", request.method, request.url.path, exc_info=error)
        return JSONResponse({"detail": "The server made a mistake; its log has more"}, 500)

    @app.get("/")
    async def _page() -> HTMLResponse:
        return HTMLResponse(page, headers={"Cache-Control": "no-store"})

    @app.get("/{name}")
    async def _file(name: str) -> Response:
        if name not in FILES:
            raise HTTPException(404, "There is no such page")
        return FileResponse(HERE / name, media_type=FILES[name])

    @app.get("/models/{number}")
    async def _model(request: Request, number: int) -> dict[str, Any]:
        async with limits.place(request):
            return {"reads": await work.of_picture(lambda: list(work.model(number).predictor.reads))}

    @app.post("/models/{number}/predict")
    async def _predict(request: Request, number: int, tags: Text = "", history: Text = "") -> dict[str, Any]:
        context = Context(split_tags(tags), split_tags(history))
        async with limits.place(request):
            body = await limits.body(request)
            return await work.of_picture(lambda: work.predict(number, body, context))

    @app.post("/models/{number}/explain")
    async def _explain(
        request: Request, number: int, kind: Text = "", name: Text = "", tags: Text = "", history: Text = ""
    ) -> Response:
        if kind and kind not in KINDS:
            raise HTTPException(422, f"kind is one of {', '.join(KINDS)}")
        context, asked = Context(split_tags(tags), split_tags(history)), (kind, name) if kind else None
        async with limits.place(request):
            body = await limits.body(request)
            png = await work.of_map(lambda: work.explain(number, body, context, asked))
        return Response(png, media_type="image/png", headers={"Cache-Control": "no-store"})

    @app.get("/galleries/{number}/search")
    async def _search(
        request: Request, number: int, words: Text, everything: Annotated[bool, Query(alias="all")] = False
    ) -> dict[str, Any]:
        async with limits.place(request):
            return await work.of_picture(lambda: work.search(number, words, everything))

    @app.get("/galleries/{number}/pictures/{row}")
    async def _thumbnail(number: int, row: int) -> Response:
        thumbnail = await work.of_picture(lambda: work.gallery(number).entries.thumbnail(row))
        if thumbnail is None:
            raise HTTPException(404, "There is no such picture")
        return Response(thumbnail, media_type="image/jpeg")

    return TrustedHostMiddleware(OwnPageOnly(app, origins, POLICY), allowed_hosts=list(names), www_redirect=False)
