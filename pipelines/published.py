"""What the paper measured, to stand beside our numbers and never among them.

All accuracies are percent on the test splits of Clickture-Dog (source, Acc-S) and of Stanford, Columbia and ImageNet
dogs (target, Acc-T): Tan, Yu, Zhang, Rui, Tao: "Image Recognition by Predicted User Click Feature with Multidomain
Multitask Transfer Deep Network", IEEE Transactions on Image Processing, 2019.
"""

from dataclasses import dataclass
from typing import NamedTuple

DATA = "Clickture-Dog to Stanford, Columbia and ImageNet dogs"


class Accuracies(NamedTuple):
    """A row of one of the paper's tables, percent."""

    source: float
    target: float


# Table III: TDL with the click feature only, by word embedding.
TABLE_III = {
    "FC": Accuracies(63.0, 44.2),
    "biFC": Accuracies(68.7, 54.0),
    "CONV+FC": Accuracies(68.9, 51.6),
    "CONV+biFC": Accuracies(70.3, 57.3),
}

# Table V: by tau, the weight of the position loss.
TABLE_V = {
    0.0: Accuracies(70.3, 57.3),
    0.05: Accuracies(71.5, 58.8),
    0.1: Accuracies(71.5, 58.9),
    0.15: Accuracies(70.5, 57.9),
    0.2: Accuracies(69.0, 56.3),
    0.4: Accuracies(38.6, 29.3),
    1.0: Accuracies(11.8, 7.9),
}

# Table VI: visual feature V, click feature C (C[7] linear, C_E nonlinear, C nonlinear with position loss).
TABLE_VI = {
    "V": Accuracies(76.5, 70.7),
    "C[7]": Accuracies(63.0, 44.2),
    "C_E": Accuracies(70.3, 57.3),
    "C": Accuracies(71.5, 58.9),
    "V+C[7]": Accuracies(76.4, 71.3),
    "V+C_E": Accuracies(76.6, 71.6),
    "V+C": Accuracies(77.5, 72.2),
}

# Table VII, separate heads: by lambda, the weight of click prediction.
TABLE_VII_SEPARATE = {
    0.8: Accuracies(77.0, 73.1),
    0.6: Accuracies(77.2, 73.1),
    0.4: Accuracies(77.1, 73.3),
    0.2: Accuracies(76.7, 72.3),
    0.0: Accuracies(77.0, 71.9),
    1.0: Accuracies(0.1, 71.5),
}

# Table VIII, by the names that our recipes have.
TABLE_VIII = {
    "DAN": Accuracies(77.1, 74.9),
    "DANN": Accuracies(67.9, 45.8),
    "VGGimg": Accuracies(76.5, 70.7),
    "VGGsrc": Accuracies(76.5, 72.2),
    "RACNN": Accuracies(75.9, 71.6),
    "SCDA": Accuracies(79.0, 74.8),
    "SF": Accuracies(75.2, 70.7),
    "VSE++": Accuracies(76.5, 74.3),
    "TDL7": Accuracies(76.4, 71.3),
    "TDL": Accuracies(77.5, 72.2),
    "MTTDL": Accuracies(77.1, 73.3),
    "MTMDD-VM": Accuracies(77.3, 74.7),
    "MTMDD-VM-star": Accuracies(77.7, 76.0),
}

# Table IX: MTMDD-VM's Acc-T on dogs with a source of dogs, and of another kind of object.
TABLE_IX_DOG = {"single-object": 74.7, "cross-object": 73.5}

# How the paper writes what a file name can't hold.
LABELS = {"TDL7": "TDL [7]", "MTMDD-VM-star": "MTMDD-VM*"}


def label(method: str) -> str:
    """Return a method's name as the paper prints it."""
    return LABELS.get(method, method)


@dataclass(frozen=True)
class Claim:
    """One of the paper's claims: `better` has a higher target accuracy than `worse`.

    Attributes:
        number: of the claim in the list of claims.
        says: the claim in words.
        better, worse: methods of Table VIII where our runs can tell, else rows of another table.
        published: Acc-T of better minus worse, percentage points.
        compared: whether better and worse are methods, so that our runs of both tell its sign.
    """

    number: int
    says: str
    better: str
    worse: str
    published: float
    compared: bool


def _methods(number: int, says: str, better: str, worse: str) -> Claim:
    gain = TABLE_VIII[better].target - TABLE_VIII[worse].target
    return Claim(number, says, better, worse, round(gain, 1), compared=True)


def _other(number: int, says: str, better: str, worse: str, gain: float) -> Claim:
    return Claim(number, says, better, worse, round(gain, 1), compared=False)


CLAIMS = (
    _other(
        1,
        "the nonlinear word embedding predicts better click features than the linear one (Table III)",
        "CONV+biFC",
        "FC",
        TABLE_III["CONV+biFC"].target - TABLE_III["FC"].target,
    ),
    _other(2, "the position loss helps (Table V)", "tau = 0.1", "tau = 0", TABLE_V[0.1].target - TABLE_V[0.0].target),
    _other(3, "visual and click feature together beat visual alone (Table VI)", "V+C", "V",
           TABLE_VI["V+C"].target - TABLE_VI["V"].target),
    _other(4, "multitask beats prediction alone on the source (Table VII)", "lambda = 0.4", "lambda = 1",
           TABLE_VII_SEPARATE[0.4].target - TABLE_VII_SEPARATE[1.0].target),
    _methods(5, "training both domains together beats one after the other", "MTMDD-VM", "MTTDL"),
    _methods(5, "a multitask first step beats click prediction alone", "MTTDL", "TDL"),
    _methods(5, "nonlinear embedding and position loss beat the earlier model", "TDL", "TDL7"),
    _methods(5, "together, with clicks, beats source then target without", "MTMDD-VM", "VGGsrc"),
    _methods(6, "a shared head beats separate heads when the categories agree", "MTMDD-VM-star", "MTMDD-VM"),
    _other(8, "another kind of object as source costs little (Table IX, dogs)", "single-object", "cross-object",
           TABLE_IX_DOG["single-object"] - TABLE_IX_DOG["cross-object"]),
)  # fmt: skip
