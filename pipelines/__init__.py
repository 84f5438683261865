"""Data jobs: from a raw click log and raw images, or the drawn toy data set, to Parquet click features and splits."""

import gc
import logging
import sys
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec

# Importing Beam, Arrow and Polars creates half a million objects that stay alive. With Python's default threshold the
# garbage collector would scan them again and again, which takes 0.6 s of every command.
gc.set_threshold(100_000, 20, 100)

# On import, Beam warns that Google's BigQuery client is missing. No job here uses BigQuery.
logging.getLogger().addFilter(lambda record: "apitools not found" not in record.getMessage())


class _WithoutPandas(MetaPathFinder):
    """Hides pandas from Beam's and Arrow's imports.

    Both import pandas wherever it is installed, which takes a quarter of a command's fixed seconds, and use it only for
    data frames, which no job has. Arrow looks for it once, at the first value that it converts.
    """

    has_asked_arrow = False

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        """Raise if the import of Beam is under way; leave everything else to the next finder."""
        beam = sys.modules.get("apache_beam")
        if name != "pandas" or not getattr(getattr(beam, "__spec__", None), "_initializing", False):
            return None
        if not self.has_asked_arrow and "pyarrow" in sys.modules:
            self.has_asked_arrow = True  # first, because Arrow's own import of pandas comes here too
            sys.modules["pyarrow"].array([0])
        raise ModuleNotFoundError("no job needs pandas", name=name)


if sys.argv[:1] == ["-m"]:  # Python is about to run a module of this package: no test and no notebook is affected
    sys.meta_path.insert(0, _WithoutPandas())
