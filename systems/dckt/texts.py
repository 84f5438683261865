"""The texts of a trained run's target pairs, in its model folder: among them it finds texts for a picture."""

from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa

from base.artifacts import read_tables, write_table
from base.console import UserError, log
from base.schemas import INDEXED
from model.folder import TEXTS
from model.frozen_features import as_lists
from systems.dckt.features import PairFeatures
from systems.dckt.trained import TargetModel


def read_texts(domain: Path) -> dict[str, str] | None:
    """Return the texts of a domain's pairs by id; None, with a warning: the domain has features, but no texts."""
    folder = domain / "ingested" / "texts"
    if not folder.is_dir():
        log.warning("%s: no such folder; the model will find no texts for pictures", folder)
        return None
    table = read_tables(folder, ["image_id", "query"])
    return dict(zip(table["image_id"].to_pylist(), table["query"].to_pylist(), strict=True))


def write_texts(folder: Path, pairs: PairFeatures, texts: Mapping[str, str]) -> None:
    """Write texts with their codes by a trained run into its model folder: schemas.INDEXED, rows by id.

    Of equal texts the first is written. Texts without a word that the encoder knows, whose features are zeros, are
    left out. White space within a text becomes a single space.

    Args:
        folder: the model folder.
        pairs: whose texts are written; ordered by id.
        texts: by id of a pair.

    Raises:
        UserError: a pair has no text.
    """
    rows: dict[str, int] = {}
    for row, name in enumerate(pairs.ids):
        if name not in texts:
            raise UserError(f"the pair {name!r} has features, but no text; run the stages before this one again")
        if pairs.texts[row].any():
            rows.setdefault(" ".join(texts[name].split()), row)
    codes = TargetModel(folder).text_codes(pairs.texts[list(rows.values())])
    ids = [pairs.ids[row] for row in rows.values()]
    columns = [pa.array(ids, pa.string()), pa.array(rows, pa.string()), as_lists(codes)]
    write_table(pa.Table.from_arrays(columns, schema=INDEXED), folder / TEXTS)
