"""Labels from clicks, as `pipelines.label_from_clicks` writes them."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq


def write_labels(rows: list[dict], folder: Path) -> None:
    fields = [("image_id", pa.string()), ("clicks", pa.int64()), ("categories", pa.list_(pa.string())),
              ("shares", pa.list_(pa.float32()))]  # fmt: skip
    folder.mkdir()
    pq.write_table(pa.Table.from_pylist(rows, pa.schema(fields)), folder / "part-00000.parquet")
