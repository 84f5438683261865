"""Which methods beat which beyond doubt: all pairs of Table VIII's methods, corrected for their number."""

import polars as pl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from report.pages import Column, Table, with_deviation
from report.plots import GREY, SOURCE, TARGET, picture
from report.verdicts import BY_SIGN, Claimed, verdicts
from systems.mtmdd.published import label
from systems.mtmdd.report.runs import Runs
from systems.mtmdd.report.tables import accuracy, paired, with_interval

NONE = "none"


def pairs_table(runs: Runs) -> pl.DataFrame:
    """Return the difference in target accuracy of each pair of methods, the better one first, best methods first.

    Returns:
        `better`, `worse`; `difference` with its interval `low` to `high`, percentage points, paired by seed and image
        and moderated by the noise of all runs; `p` by itself, `p_holm` after Holm's correction for all pairs, and
        `decided`: whether that is below 0.05. There are no rows for a single seed, from which nothing is decided.
    """
    points = [point for point in runs.points if point.study == "methods"]
    found = {point: accuracy(runs, point, "target")["accuracy_target"] for point in points}
    ordered = sorted((point for point in points if found[point] is not None), key=lambda point: -found[point])
    rows = []
    if len(runs.seeds) > 1:
        pairs = [(one, other) for place, one in enumerate(ordered) for other in ordered[place + 1 :]]
        differences = [paired(runs, one, other) for one, other in pairs]
        judged = verdicts([Claimed(difference) for difference in differences])
        for (one, other), difference, verdict in zip(pairs, differences, judged, strict=True):
            rows.append(
                {
                    "better": one.method,
                    "worse": other.method,
                    **with_interval(difference, ("difference", "low", "high")),
                    "p": verdict.p,
                    "p_holm": verdict.corrected,
                    "decided": verdict.text != BY_SIGN[0],
                }
            )
    floats = dict.fromkeys(("difference", "low", "high", "p", "p_holm"), pl.Float64)
    return pl.DataFrame(rows, schema={"better": pl.String, "worse": pl.String, **floats, "decided": pl.Boolean})


def pairs_texts(table: pl.DataFrame, runs: Runs) -> Table:
    """Return, for each method, those that it beats beyond doubt, as texts."""
    columns = [
        Column("method", number=False, name=True), Column("Acc-T, %"),
        Column("beats, beyond doubt", number=False, sentence=True),
        Column("is beaten by", number=False, sentence=True),
    ]  # fmt: skip
    decided = table.filter("decided")
    rows = []
    for method in _methods(table):
        point = runs.find(method)
        assert point is not None
        found = accuracy(runs, point, "target")
        beaten, beating = decided.filter(better=method)["worse"], decided.filter(worse=method)["better"]
        rows.append(
            [
                label(method),
                with_deviation(found["accuracy_target"], found["deviation_target"]),
                *(", ".join(map(label, names)) or NONE for names in (beaten, beating)),
            ]
        )
    return Table(columns, rows)


def pairs_plot(table: pl.DataFrame) -> bytes:
    """Draw all differences as a matrix, row minus column; those that are decided in colour."""
    methods = _methods(table)
    places = {method: place for place, method in enumerate(methods)}

    def draw(figure: Figure) -> None:
        axes: Axes = figure.subplots()
        for row in table.iter_rows(named=True):
            one, other = places[row["better"]], places[row["worse"]]
            for y, x, value, colour in (
                (one, other, row["difference"], TARGET),
                (other, one, -row["difference"], SOURCE),
            ):
                if row["decided"]:
                    axes.add_patch(Rectangle((x - 0.47, y - 0.47), 0.94, 0.94, color=colour))
                axes.annotate(
                    f"{value:+.1f}".replace("-", "\N{MINUS SIGN}"), (x, y), ha="center", va="center", fontsize=7.5,
                    color="white" if row["decided"] else GREY,
                )  # fmt: skip
        names = [label(method) for method in methods]
        axes.set_xticks(range(len(methods)), names, rotation=45, ha="left", rotation_mode="anchor")
        axes.xaxis.tick_top()
        axes.set_yticks(range(len(methods)), names)
        axes.set_xlim(-0.6, len(methods) - 0.4)
        axes.set_ylim(len(methods) - 0.4, -0.6)
        axes.grid(visible=False)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        axes.set_aspect("equal")

    return picture(draw, 2.2 + 0.5 * len(methods), 1.6 + 0.5 * len(methods))


def _methods(table: pl.DataFrame) -> list[str]:
    """Return the methods, best first: each is the better one of its pairs with all that follow."""
    return list(dict.fromkeys([*table["better"], *table["worse"]]))
