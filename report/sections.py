"""A system's part of the report page; the system's report stage writes it beside its tables and pictures.

`report.index` joins the parts of all systems on one page. A part is HTML with embedded pictures, so it needs no other
file. The part of a system that was not run gives the reason.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from base.artifacts import read_json, write_json
from base.console import UserError
from report.pages import render

FILE = "part.json"


@dataclass(frozen=True)
class Part:
    """A system's part of the page.

    Attributes:
        name: the system's name.
        title: the part's title.
        sections: anchor and title of each section, for the page's table of contents.
        html: the part, beginning with its heading.
    """

    name: str
    title: str
    sections: Sequence[tuple[str, str]]
    html: str


def part_of(
    name: str,
    title: str,
    sections: Sequence[tuple[str, str]],
    template: Path,
    pictures: Mapping[str, bytes],
    **content: Any,
) -> Part:
    """Return a part whose HTML is a filled template.

    Args:
        name: the system's name.
        title: the part's title.
        sections: anchor and title of each section; the template has an element with the anchor as id.
        template: the template file; it may import from report/page_parts.html.jinja.
        pictures: PNG bytes by name, which are embedded in the page.
        content: the other variables of the template.
    """
    return Part(name, title, sections, render(pictures, template, title=title, **content))


def not_run(name: str, title: str, why: str) -> Part:
    """Return the part of a system that was not run, with the reason."""
    html = render({}, Path(__file__).with_name("not_run.html.jinja"), name=name, title=title, why=why)
    return Part(name, title, [], html)


def write_part(part: Part, folder: Path) -> None:
    """Write a part into a report stage's folder."""
    write_json(asdict(part), folder / FILE)


def read_part(folder: Path) -> Part:
    """Read the part that a report stage wrote.

    Raises:
        FileNotFoundError: the folder has no part.
        UserError: the file is damaged or not a part.
    """
    content = read_json(folder / FILE)
    try:
        return TypeAdapter(Part).validate_python(content)
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, problem['loc']))!r}: {problem['msg']}" for problem in error.errors(include_url=False)
        )
        raise UserError(f"{folder / FILE}: not as a report stage writes it ({problems}); rerun that stage") from None
