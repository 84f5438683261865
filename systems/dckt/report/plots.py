"""The report's plots: MAP over alpha (the paper's Fig. 4), and over the iterations of the transfer."""

from collections.abc import Mapping, Sequence

import polars as pl
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, MaxNLocator, NullLocator

from report.intervals import Interval
from report.plots import GREY, METHODS, TARGET, picture


def alpha_plot(alphas: Sequence[float], values: Sequence[Interval], before: float | None) -> bytes:
    """Draw the mean MAP of both directions over alpha, with 95 % intervals.

    Args:
        alphas: ascending.
        values: for each of them, percent.
        before: the MAP before the transfer, a line; None: not run.
    """

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        places = range(len(alphas))  # the paper's values are not evenly spaced
        means = [value.mean for value in values]
        reach = [[value.mean - value.low for value in values], [value.high - value.mean for value in values]]
        axes.errorbar(places, means, yerr=reach, fmt="o-", color=TARGET, linewidth=2, elinewidth=1.2, capsize=2)
        if before is not None:
            axes.axhline(before, color=GREY, linestyle="--", linewidth=1.2)
            axes.annotate("before the transfer", (places[-1], before), (0, 4), textcoords="offset points",
                          ha="right", fontsize=8, color=GREY)  # fmt: skip
        axes.set_xticks(places, [f"{alpha:g}" for alpha in alphas])
        axes.set_xlabel("alpha")
        axes.set_ylabel("MAP on the target's test pairs, %")
        axes.grid(axis="x", visible=False)

    return picture(draw, 6.5, 3.7)


def iterations_plot(tables: Mapping[str, pl.DataFrame]) -> bytes:
    """Draw each run's validation MAP over the iterations, and the number of target pairs it was trained on.

    Args:
        tables: from `Results.iterations`, by run; means over seeds are drawn.
    """

    def draw(figure: Figure) -> None:
        above, below = figure.subplots(2, 1, sharex=True, height_ratios=[2, 1])
        last = 0
        for number, (run, table) in enumerate(tables.items()):
            colour = METHODS[number % len(METHODS)]
            means = table.group_by("iteration").agg(pl.col("map", "chosen").mean()).sort("iteration")
            above.plot(means["iteration"], means["map"], "o-", color=colour, linewidth=1.8, markersize=4, label=run)
            drawn = means.drop_nulls("chosen")
            below.plot(drawn["iteration"], drawn["chosen"], "o-", color=colour, linewidth=1.8, markersize=4)
            last = max(last, int(means["iteration"].to_numpy().max()))
        above.set_ylabel("validation MAP, %")
        above.yaxis.set_major_locator(MaxNLocator(6))
        below.set_ylabel("target pairs")
        below.set_ylim(bottom=0)
        below.set_xlabel("iteration (0: before the transfer)")
        below.xaxis.set_major_locator(FixedLocator(range(0, last + 1, max(1, last // 10))))
        below.xaxis.set_minor_locator(NullLocator())
        figure.legend(loc="outside upper left", ncols=4)

    return picture(draw, 7.5, 5.2)
