"""The preparation page's plot: the fate of each category's images."""

from collections.abc import Sequence

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, StrMethodFormatter

from report.plots import METHODS, SOURCE, TARGET, picture

PARTS = {
    "images_selected": ("selected", TARGET),
    "over_the_cap": ("over the cap", "#8fc1e3"),
    "left_out": ("kept, but the category is left out", METHODS[1]),
    "duplicates": ("dropped as duplicates of the target", METHODS[3]),
    "dropped": ("dropped by the noise filter", SOURCE),
}
MOST_NAMES = 60  # more category names below the bars would be unreadable


def steps_plot(steps: pl.DataFrame) -> bytes:
    """Draw a panel per domain with a bar per category, whose parts add up to the images ingested.

    Args:
        steps: from `systems.cleaning.preparation.steps_table`.
    """
    panels = [(domain, rows) for (domain,), rows in steps.group_by("domain", maintain_order=True)]
    most = max(len(rows) for _, rows in panels)
    parts = [name for name in PARTS if steps[name].sum()]  # a part without any image stays out of the legend

    def draw(figure: Figure) -> None:
        axes: list[Axes] = list(figure.subplots(len(panels), 1, squeeze=False)[:, 0])
        for panel, (domain, rows) in zip(axes, panels, strict=True):
            _draw_panel(panel, domain, parts, rows.sort("images_ingested", "category", descending=[True, False]))
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper left", ncols=5)

    names = most <= MOST_NAMES
    return picture(draw, 10.5 if names else 12.0, 0.5 + (3.4 if names else 2.4) * len(panels))


def _draw_panel(panel: Axes, domain: str, parts: Sequence[str], rows: pl.DataFrame) -> None:
    named = len(rows) <= MOST_NAMES
    below = [0] * len(rows)
    for name in parts:
        label, colour = PARTS[name]
        panel.bar(range(len(rows)), rows[name], bottom=below, color=colour, width=0.82 if named else 1.0, label=label)
        below = [low + height for low, height in zip(below, rows[name], strict=True)]
    panel.set_title(f"{domain} domain")
    panel.set_ylabel("images")
    panel.set_ylim(0, 1.06 * max(below))
    panel.yaxis.set_major_locator(MaxNLocator(5, integer=True, steps=[1, 2, 5, 10]))
    panel.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    panel.grid(axis="x", visible=False)
    panel.margins(x=0.01)
    if named:
        panel.set_xticks(range(len(rows)), rows["category"].to_list(), rotation=90, fontsize=7.5)
        panel.tick_params(axis="x", length=0)
    else:
        panel.set_xlabel("categories, the largest first")
