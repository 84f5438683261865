"""VSE++ as click predictor: TDL whose predictor learns by the hardest negatives of a batch.

    python -m systems.mtmdd.baselines.vse --recipe data/mtmdd/recipes/VSE++.json --seed 0 ...

The options are those of `systems.mtmdd.train`, which runs this command for a recipe of VSE++.

Faghri et al., "VSE++: improving visual-semantic embeddings with hard negatives" (BMVC 2018): an image is closer to its
own text than to the hardest other text of the batch, and so is the text to its image, by a margin of 0.2. As in the
MTMDD-VM paper (section IV-C) this replaces the click loss of TDL's first step: same ConvNet, same nonlinear word
embedding, same second step. Epochs of the first step are ranked as in the authors' code, by the sum of the recalls at
1, 5 and 10 of both directions on the validation images: the loss itself rises there while the predictions still get
better, because its hardest negatives are those of all validation images.

Not followed: a joint space with a learned encoder of texts (a GRU over the words of a caption). A text is here the
click feature v itself, which has no order of words, and the space is that of v, so that the image's place in it is a
prediction v^ of its clicks. Optimiser and augmentation are those of all methods.
"""

from collections.abc import Mapping

import numpy as np

from model.losses.hardest_negative import HardestNegativeLoss
from model.measures.accuracy import relevant_at_k
from model.measures.retrieval import unit_rows
from model.training.task import Validation
from systems.mtmdd.config import Domain
from systems.mtmdd.measures import Outcome
from systems.mtmdd.task import PhaseTask
from systems.mtmdd.train import main

RECALLS = "sum of recalls"
RECALLED_AT = (1, 5, 10)


class VseTask(PhaseTask):
    """A phase whose click loss is that of the hardest negatives."""

    own_click_loss = HardestNegativeLoss()

    def measured(self, outcome: Outcome, domain: Domain) -> dict[str, float]:
        """Return the usual values; for a phase with the click loss also the sum of the recalls."""
        values = super().measured(outcome, domain)
        if "own" in values:
            assert outcome.clicks is not None
            assert outcome.prediction.clicks is not None
            values[RECALLS] = sum_of_recalls(outcome.prediction.clicks.numpy(), outcome.clicks.numpy())
        return values

    def ranked(self, domain: Domain, measured: Mapping[str, float], values: Mapping[str, float]) -> Validation:
        """Rank by the sum of the recalls, if the phase has the click loss."""
        if RECALLS not in measured:
            return super().ranked(domain, measured, values)
        chosen_by = f"{domain} validation {RECALLS}"
        return Validation(values, [measured[RECALLS], -measured["own"]], chosen_by, measured[RECALLS])


def sum_of_recalls(images: np.ndarray, texts: np.ndarray) -> float:
    """Return the recalls at 1, 5 and 10, percent, of each image's own text and of each text's own image, added up.

    Images without clicks have no text, and are left out; 0 if none is left.

    Shape:
        images, texts: (n, K), v^ and v
    """
    has_text = texts.any(axis=1)
    scores = unit_rows(images[has_text]) @ unit_rows(texts[has_text]).T
    own = np.eye(len(scores), dtype=bool)
    found = [relevant_at_k(table, own, k).sum() for table in (scores, scores.T) for k in RECALLED_AT]
    return round(100 * float(sum(found)) / max(len(scores), 1), 4)


task_of = VseTask

if __name__ == "__main__":
    main(command="systems.mtmdd.baselines.vse", kind=task_of)
