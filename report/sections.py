"""What a system brings to the report: a part of the page, which its report stage writes beside its tables and pictures.

`report.index` joins the parts of all systems on one page. A part is HTML that needs nothing beside it: pictures are in
it. A system that was not run says so in its part.
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
        name: of the system.
        title: of the part.
        sections: anchor and title of each, for the page's list of contents.
        html: the part, from its heading on.
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
        name: of the system.
        title: of the part.
        sections: anchor and title of each; the template has an element of that id.
        template: its file; may import from report/page_parts.html.jinja.
        pictures: PNG bytes by name; they become part of the page.
        content: what else the template names.
    """
    return Part(name, title, sections, render(pictures, template, title=title, **content))


def not_run(name: str, title: str, why: str) -> Part:
    """Return the part of a system that was not run, which says why."""
    html = render({}, Path(__file__).with_name("not_run.html.jinja"), name=name, title=title, why=why)
    return Part(name, title, [], html)


def write_part(part: Part, folder: Path) -> None:
    """Write a part into a report stage's folder."""
    write_json(asdict(part), folder / FILE)


def read_part(folder: Path) -> Part:
    """Read the part that a report stage wrote.

    Raises:
        UserError: there is none, or it is not one.
    """
    content = read_json(folder / FILE)
    try:
        return TypeAdapter(Part).validate_python(content)
    except ValidationError as error:
        places = "; ".join(
            f"{'.'.join(map(str, problem['loc']))!r}: {problem['msg']}" for problem in error.errors(include_url=False)
        )
        raise UserError(f"{folder / FILE}: not as a report stage writes it ({places}); run that stage again") from None
