"""What the page offers: trained models, opened when they are asked for, and indexes of pictures."""

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from threading import Lock

from base.console import UserError, log
from clicksight.cut_offs import FILE as CUT_OFFS
from clicksight.cut_offs import CutOffs
from clicksight.models import has_predictor, load_model
from clicksight.search import Index
from model.folder import model_digest, read_run
from model.prediction import Predictor

MOST_LOADED = 8  # models in memory
BYTES = 4  # of an entry of a click feature
MOST_HELD = 500_000_000  # bytes of an index's click features in memory


@dataclass(frozen=True)
class Model:
    """A model folder.

    Attributes:
        folder: its path.
        system: the name of its folder in `systems`.
        title: run and seed, for people.
    """

    folder: Path
    system: str
    title: str

    @cached_property
    def digest(self) -> str:
        """The digest of its files."""
        return model_digest(self.folder)


@dataclass(frozen=True)
class Loaded:
    """A model in memory, with the cut-offs of its words if there are any."""

    predictor: Predictor
    cut_offs: CutOffs | None


@dataclass
class Shelf:
    """Models and indexes, each named by its place.

    Attributes:
        models: in the order of the page; at least one.
        galleries: indexes with thumbnails.
    """

    models: Sequence[Model]
    galleries: Sequence[Index]
    _loaded: "OrderedDict[int, Loaded]" = field(default_factory=OrderedDict, repr=False)
    _lock: Lock = field(default_factory=Lock, repr=False)

    def load(self, number: int) -> Loaded:
        """Return a model; of those that were asked for last, some stay in memory.

        Raises:
            UserError: it can't be applied to pictures.
        """
        with self._lock:  # two requests must not load one model twice
            if number not in self._loaded:
                model = self.models[number]
                file = model.folder / CUT_OFFS
                cut_offs = CutOffs.read(file, model.digest) if file.exists() else None
                self._loaded[number] = Loaded(load_model(model.folder), cut_offs)
                while len(self._loaded) > MOST_LOADED:
                    self._loaded.popitem(last=False)
            self._loaded.move_to_end(number)
            return self._loaded[number]

    def gallery_of(self, number: int) -> int | None:
        """Return the place of the index that a model made, None if there is none."""
        if not self.galleries:  # a digest reads all of a model's weights
            return None
        digest = self.models[number].digest
        return next((place for place, one in enumerate(self.galleries) if one.digest == digest), None)


def find_models(places: Iterable[Path]) -> list[Model]:
    """Return the models of systems that can be applied to pictures, sorted by system, run and seed.

    Args:
        places: model folders, and folders with model folders anywhere below.

    Raises:
        UserError: a place doesn't exist, or has no such model.
    """
    found = {}
    for place in places:
        if not place.is_dir():
            raise UserError(f"{place}: no such folder; name a model folder, or one with model folders below it")
        for folder in sorted(_model_folders(place)):
            run = read_run(folder)
            system = run.get("system")
            if not isinstance(system, str) or not has_predictor(system):
                log.info("%s: not shown, models of %s are not applied to pictures", folder, system or "no system")
                continue
            seed = int(run["seed"]) if "seed" in run else 0
            name = folder.parent.name if folder.name == f"seed-{seed}" else folder.name
            found[folder.resolve()] = ((system, name, seed), Model(folder, system, f"{name}, seed {seed}"))
        if not found:
            raise UserError(f"{place}: no trained model below it; `make repro` trains the toy's, into data")
    return [model for _, model in sorted(found.values(), key=lambda pair: pair[0])]


def _model_folders(place: Path) -> Iterator[Path]:
    yield from (path.parent for path in place.rglob("run.json"))


def find_galleries(places: Iterable[Path]) -> list[Index]:
    """Return the indexes in some folders; the click features of small ones are read into memory.

    Raises:
        UserError: a folder is no index, or has no thumbnails.
    """
    found = []
    for place in places:
        index = Index.read(place)
        if index.entries.thumbnail(0) is None:
            raise UserError(f"{place}: has no thumbnails; make it by clicksight index without --no-thumbnails")
        if not index.is_approximate and BYTES * len(index.entries) * len(index.words) <= MOST_HELD:
            index.entries.hold()
        found.append(index)
    return found
