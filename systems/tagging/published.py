"""The published numbers of Tables VII and VIII, percent: precision, recall and accuracy at 3, 5 and 10 tags."""

from typing import NamedTuple


class Published(NamedTuple):
    """A row: values at k = 3, 5 and 10."""

    precision: tuple[int, int, int]
    recall: tuple[int, int, int]
    accuracy: tuple[int, int, int]

    def at(self, measure: str, k: int) -> int | None:
        """Return a value; None if there is none at this k."""
        values: tuple[int, int, int] = getattr(self, measure)
        return values[(3, 5, 10).index(k)] if k in (3, 5, 10) else None


# Table VII prints A6's recall at 5 below that at 3, which is impossible: the other values give about 20.
YFCC100M = {
    "A1": Published((11, 10, 8), (5, 7, 12), (28, 37, 52)),
    "A2": Published((18, 15, 11), (7, 10, 14), (40, 46, 56)),
    "A3": Published((34, 29, 22), (15, 21, 30), (63, 72, 82)),
    "A4": Published((31, 26, 19), (14, 19, 28), (60, 69, 79)),
    "A5": Published((43, 36, 26), (19, 26, 37), (75, 81, 88)),
    "A6": Published((46, 39, 28), (30, 28, 39), (77, 84, 90)),
}
NUS_WIDE = {
    "A1": Published((9, 8, 7), (3, 5, 10), (22, 28, 40)),
    "A2": Published((20, 17, 13), (11, 15, 21), (41, 51, 62)),
    "A3": Published((17, 14, 11), (9, 13, 19), (39, 47, 58)),
    "A4": Published((18, 14, 10), (11, 14, 20), (42, 50, 60)),
    "A5": Published((46, 39, 25), (33, 40, 50), (82, 86, 91)),
    "A6": Published((66, 52, 35), (48, 58, 70), (95, 97, 98)),
}
