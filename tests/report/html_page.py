"""Reads a report's page with an independent parser."""

from html.parser import HTMLParser

HEADINGS = ("h1", "h2", "h3", "h4")


class Page(HTMLParser):
    """Collects a page's tables, headings, pictures, anchors, links, and the tags that would load other files.

    Attributes:
        tables: rows of cell texts.
        headings, levels: texts of h1 to h4, and the level of each.
        pictures: addresses of the pictures.
        ids: all anchors, in order.
        links: targets of the links.
        loaded: tags that load other files.
        tags: all tags.
    """

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tables: list[list[list[str]]] = []
        self.headings: list[str] = []
        self.levels: list[int] = []
        self.pictures: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.tags: set[str] = set()
        self._into: list[str] | None = None
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.tags.add(tag)
        if "id" in values:
            self.ids.append(values["id"] or "")
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")
            self._into = self.tables[-1][-1]
        elif tag in HEADINGS:
            self.headings.append("")
            self.levels.append(int(tag[1]))
            self._into = self.headings
        elif tag == "img":
            self.pictures.append(values["src"] or "")
        elif tag == "a":
            self.links.append(values["href"] or "")
        if tag in ("script", "link", "iframe"):
            self.loaded.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th", *HEADINGS):
            self._into = None

    def handle_data(self, data: str) -> None:
        if self._into is not None:
            self._into[-1] += data
