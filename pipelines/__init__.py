"""Data jobs: from a raw click log and raw images, or the drawn toy data set, to Parquet click features and splits."""

import gc
import logging
import sys
from collections.abc import Collection
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec

# Importing Beam, Arrow and Polars creates half a million objects that stay alive. With Python's default threshold the
# garbage collector would scan them again and again, which takes 0.6 s of every command.
gc.set_threshold(100_000, 20, 100)

# On import, Beam warns that Google's BigQuery client is missing. No job here uses BigQuery.
logging.getLogger().addFilter(lambda record: "apitools not found" not in record.getMessage())


class _OfOtherPrograms(MetaPathFinder):
    """Hides from Beam's import the libraries that it imports wherever they are installed and that no job here uses.

    They are a third of a command's imports: pandas for data frames, PyMongo (with bson) for MongoDB, and Boto3 for S3.
    Arrow, too, imports pandas if it finds it, once, at the first value that it converts. After Beam's import all of
    them can be imported as ever.
    """

    has_asked_arrow = False

    def __init__(self, names: Collection[str]) -> None:
        self.names = names

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        """Raise if the import of Beam is under way; leave everything else to the next finder."""
        beam = sys.modules.get("apache_beam")
        if name not in self.names or not getattr(getattr(beam, "__spec__", None), "_initializing", False):
            return None
        if name == "pandas" and not self.has_asked_arrow and "pyarrow" in sys.modules:
            self.has_asked_arrow = True  # first, because Arrow's own import of pandas comes here too
            sys.modules["pyarrow"].array([0])
        raise ModuleNotFoundError(f"no job needs {name}", name=name)


if sys.argv[:1] == ["-m"]:  # Python is about to run a module of this package: no test and no notebook is affected
    needs_s3 = any("s3:" in argument for argument in sys.argv)
    sys.meta_path.insert(0, _OfOtherPrograms({"pandas", "bson", "pymongo"} | (set() if needs_s3 else {"boto3"})))
    logging.getLogger("apache_beam.io.mongodbio").disabled = True  # it warns that bson is missing
