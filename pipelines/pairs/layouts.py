"""Where image-text pairs come from: the parameters of a data set, and its pieces in each layout."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator

from base.console import UserError
from base.params import Params
from pipelines.pairs.captions import Texts
from pipelines.pairs.data_sets import DOMAINS, ingested_pieces, raw_pieces
from pipelines.pairs.records import Piece
from pipelines.pairs.tables import COLUMNS, table_pieces
from pipelines.pairs.wikipedia import wikipedia_pieces


class PairsParams(Params):
    """A set of image-text pairs: where it is and how it is laid out. A key for other layouts has no effect."""

    pairs: str = Field(description="the table, or the data set's folder")
    layout: Literal["table", "wikipedia", "raw", "ingested"] = Field(
        description="table: a Parquet, TSV or JSON Lines file; wikipedia: of Rasiwasia et al.; raw: a click data set"
        " with captions.tsv; ingested: an ingested click data set; docs/image_text_pairs.md"
    )
    columns: dict[str, str] = Field(
        default={}, description=f"table: its names of {', '.join(COLUMNS)}, where they are others"
    )
    images: str | None = Field(
        default=None, description="table: the folder of the images that its column names; null: the table's own folder"
    )
    domain: Literal["source", "target", "all"] = Field(
        default="all", description="raw, ingested: whose images are taken"
    )
    captions: str | None = Field(
        default=None,
        description="raw, ingested: table of captions; null: captions.tsv of raw data, and the clicks of ingested data",
    )
    languages: list[str] | None = Field(
        default=None, description="raw, ingested: languages of captions that are taken; null: all"
    )
    most_texts: int | None = Field(
        default=None, description="raw, ingested: captions or queries of an image at most; null: all", ge=1
    )

    @field_validator("columns")
    @classmethod
    def _check_columns(cls, columns: dict[str, str]) -> dict[str, str]:
        if unknown := sorted(set(columns) - set(COLUMNS)):
            raise ValueError(f"{unknown[0]!r} is none of {', '.join(COLUMNS)}")
        return columns


@dataclass(frozen=True)
class PairSet:
    """A set of pairs that has been found and not yet been read.

    Attributes:
        name: where it is, for errors.
        pieces: its parts.
        texts: what became of captions or clicks; None if the pairs bring their texts.
    """

    name: str
    pieces: Sequence[Piece]
    texts: Texts | None = field(default=None)


def find_pairs(params: PairsParams) -> PairSet:
    """Return the set that the parameters describe.

    Raises:
        UserError: it is not there or does not have the layout; the message names the file.
    """
    path = Path(params.pairs)
    if not path.exists():
        raise UserError(f"{path}: no such file or folder; expected image-text pairs in the layout {params.layout}")
    if params.layout == "table":
        return PairSet(params.pairs, table_pieces(path, params.columns, Path(params.images) if params.images else None))
    if params.layout == "wikipedia":
        return PairSet(params.pairs, wikipedia_pieces(path))
    domains = DOMAINS if params.domain == "all" else (params.domain,)
    captions = Path(params.captions) if params.captions else None
    read = raw_pieces if params.layout == "raw" else ingested_pieces
    pieces, texts = read(path, domains, captions, params.languages, params.most_texts)
    return PairSet(params.pairs, pieces, texts)
