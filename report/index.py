"""Writes the report: one page with the parts of all systems.

    python -m report.index --systems data/mtmdd/report --output data/report

In: the folders that the systems' report stages have written. Out: `index.html`, which needs no other file.
Tables as CSV and pictures as PNG stay in the systems' folders.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from base.artifacts import whole_directory
from base.console import UserError, stage
from report.pages import render
from report.sections import Part, read_part

TEMPLATE = Path(__file__).with_name("index.html.jinja")
TITLE = "What clicks and tags say about pictures"


def page(parts: Sequence[Part]) -> str:
    """Return the page's HTML.

    Raises:
        UserError: two parts have the same anchor, so a link could lead to the wrong part.
    """
    parts_by_anchor: dict[str, str] = {}
    for part in parts:
        for anchor in (part.name, *(anchor for anchor, _ in part.sections)):
            if anchor in parts_by_anchor:
                raise UserError(
                    f"the anchor {anchor!r} is in two parts of the page, {parts_by_anchor[anchor]!r} and "
                    f"{part.title!r}; rename it in one of the two"
                )
            parts_by_anchor[anchor] = part.title
    return render({}, TEMPLATE, title=TITLE, parts=parts)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the stage."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--systems", type=Path, nargs="+", required=True, help="folders of the systems' reports")
    parser.add_argument("--output", type=Path, required=True, help="folder to write")
    arguments = parser.parse_args(argv)
    with stage("report") as closing:
        parts = [read_part(folder) for folder in arguments.systems]
        with whole_directory(arguments.output) as folder:
            (folder / "index.html").write_text(page(parts), encoding="utf-8")
        closing.counts["systems"] = len(parts)
        closing.wrote[str(arguments.output)] = f"a page of {len(parts)} systems"
        closing.next_command = f"open {arguments.output}/index.html"


if __name__ == "__main__":
    main()
