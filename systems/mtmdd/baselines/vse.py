"""VSE++ as click predictor: TDL whose predictor learns by the hardest negatives of a batch.

    python -m systems.mtmdd.baselines.vse --recipe data/mtmdd/recipes/VSE++.json --seed 0 ...

The options are those of `systems.mtmdd.train`, which runs this command for a recipe of VSE++.

Faghri et al., "VSE++: improving visual-semantic embeddings with hard negatives" (BMVC 2018): an image is closer to its
own text than to the hardest other text of the batch, and so is the text to its image, by a margin of 0.2. As in the
MTMDD-VM paper (section IV-C) this replaces the click loss of TDL's first step: same ConvNet, same nonlinear word
embedding, same second step.

Not followed: a joint space with a learned encoder of texts (a GRU over the words of a caption). A text is here the
click feature v itself, which has no order of words, and the space is that of v, so that the image's place in it is a
prediction v^ of its clicks. Optimiser and augmentation are those of all methods.
"""

from model.losses.hardest_negative import HardestNegativeLoss
from systems.mtmdd.task import PhaseTask
from systems.mtmdd.train import main


class VseTask(PhaseTask):
    """A phase whose click loss is that of the hardest negatives."""

    own_click_loss = HardestNegativeLoss()


task_of = VseTask

if __name__ == "__main__":
    main(command="systems.mtmdd.baselines.vse", kind=task_of)
