"""What vocabulary and click features say of themselves: the key-value metadata of their Parquet files.

    python -c "import pyarrow.parquet as pq; print(pq.read_schema('features/vocabulary.parquet').metadata)"

Every key begins with ``clicksight.``; data/README.md lists them. There is no time, path or machine among the values, so
equal rows still give equal bytes. The stages and the one command that does their work write the same.
"""

import hashlib
import json
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from base.artifacts import reading
from base.console import UserError
from base.schemas import CLICK_FEATURES_VERSION
from base.stores import Location, source
from pipelines.words.segmentation import SegmentParams

PREFIX = "clicksight."
FORMULA = "tfidf_ij = clicks_ij / sum_j clicks_ij * idf_j; idf_j = ln(n / document_frequency_j)"
NOT_STATED = "not stated"
# The version of the rules by which a row's text gives an image id and words. Raise it when the same row gives others.
RULES = 2
SEGMENT_KEY = f"{PREFIX}segment"  # of the shards of queries: the digest of the options that cut them
OTHER_WORDS = "words of another module"  # stands for this digest where queries were not cut by pipelines.words.segment


def segment_options(params: SegmentParams) -> dict[str, Any]:
    """Return the options that decide on a query's words; files that they name are replaced by their SHA-256."""
    files = {"stop_words", "dictionary", "user_dictionary"}
    named = {
        name: file_digest(Path(value)) if name in files and value is not None else value
        for name, value in params.model_dump().items()
    }
    return {**named, "version_of_rules": RULES, **{name: version(name) for name in ("jieba", "simplemma")}}


def file_digest(path: Location) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()  # type: ignore[arg-type]  # both can be read


def digest_of(options: Mapping[str, Any]) -> str:
    """Return the SHA-256 of some options, in any order."""
    return hashlib.sha256(json.dumps(options, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def about_features(segment: str, top_words: int, fit_on: str, licence: str | None) -> dict[str, str]:
    """Return the metadata of vocabulary and features, but the number of images, which the job counts.

    Args:
        segment: the digest of :func:`segment_options`.
        top_words: K.
        fit_on: as in section ``vocabulary``.
        licence: of the features, as the caller states it; ``None``: none is stated.

    Raises:
        UserError: the licence is empty, or more than one line.
    """
    if licence is not None and (not licence.strip() or not licence.isprintable()):
        raise UserError(f"--licence {licence!r}: name a licence on one line, as in CC-BY-4.0, or leave the option out")
    return {
        "schema_version": str(CLICK_FEATURES_VERSION),
        "formula": FORMULA,
        "top_words": str(top_words),
        "parameters": digest_of({"segment": segment, "top_words": top_words, "fit_on": fit_on}),
        "licence": licence or NOT_STATED,
    }


def as_metadata(about: Mapping[str, str], module: str) -> dict[str, str]:
    """Return the entries of a file's metadata.

    Args:
        about: values by name without prefix.
        module: that computed the file's rows.
    """
    made_by = f"{module}, clicksight {version('clicksight')}"
    return {f"{PREFIX}{name}": value for name, value in {**about, "made_by": made_by}.items()}


def from_metadata(metadata: Mapping[bytes, bytes] | None) -> dict[str, str]:
    """Return this project's entries of a schema's metadata, without prefix; none of a file from before there were."""
    found = {name.decode(): value.decode() for name, value in (metadata or {}).items()}
    return {name.removeprefix(PREFIX): value for name, value in found.items() if name.startswith(PREFIX)}


def read_about(path: Location) -> dict[str, str]:
    """Return this project's entries of a Parquet file's metadata.

    Raises:
        UserError: the file is damaged.
    """
    with reading(path):
        return from_metadata(pq.read_schema(source(path)).metadata)


def check_version(about: Mapping[str, str], path: Location) -> None:
    """Check that a file's schema is this version's; files from before versions were written have the first.

    Raises:
        UserError: it is of another version.
    """
    found = about.get("schema_version", "1")
    if found != str(CLICK_FEATURES_VERSION):
        raise UserError(
            f"{path}: has schema version {found}, this is version {CLICK_FEATURES_VERSION} (metadata "
            f"{PREFIX}schema_version); build anew from all logs"
        )
