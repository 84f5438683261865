"""The noise filter's part of the report: what became of the images of each data set.

    python -m systems.cleaning.report --preparation data/cleaning/preparation --output data/cleaning/report

In: the preparation page of each of the parameter file's `data_sets`, with its tables and plots.
Out: ``part.json``, which `report.index` puts on the page of all systems.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from base.artifacts import whole_directory
from base.console import stage
from base.params import DEFAULT_PATH, read_data_sets
from report.sections import Part, not_run, part_of, write_part
from systems.cleaning.preparation import totals_texts

SYSTEM, TITLE = "cleaning", "Preparation of the images"
TEMPLATE = Path(__file__).with_name("report.html.jinja")


def part(preparation: Path, data_sets: Sequence[str]) -> Part:
    """Return the part of the page.

    Args:
        preparation: a folder with the preparation page of each data set.
        data_sets: their names.
    """
    if not data_sets:
        return not_run(SYSTEM, TITLE, "data_sets is empty.")
    sections = [(f"{SYSTEM}-{number}", name) for number, name in enumerate(data_sets)]
    shown = [
        {
            "name": name,
            "anchor": anchor,
            "totals": totals_texts(pl.read_csv(preparation / name / "steps.csv")),
            "page": (preparation / name / "index.html").as_posix(),
        }
        for name, (anchor, _) in zip(data_sets, sections, strict=True)
    ]
    pictures = {name: (preparation / name / "steps.png").read_bytes() for name in data_sets}
    return part_of(SYSTEM, TITLE, sections, TEMPLATE, pictures, data_sets=shown)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the stage."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preparation", type=Path, required=True, help="folder with a page for each data set")
    parser.add_argument("--output", type=Path, required=True, help="folder to write")
    parser.add_argument("--params", type=Path, default=DEFAULT_PATH, help="parameter file (default: %(default)s)")
    arguments = parser.parse_args(argv)
    with stage("report cleaning") as closing:
        data_sets = list(read_data_sets(arguments.params))
        with whole_directory(arguments.output) as folder:
            write_part(part(arguments.preparation, data_sets), folder)
        closing.counts["data sets"] = len(data_sets)
        closing.wrote[str(arguments.output)] = "the noise filter's part of the report"
        closing.next_command = "dvc repro report"


if __name__ == "__main__":
    main()
