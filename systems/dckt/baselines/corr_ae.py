"""Corr-AE: an autoencoder per medium, whose codes of a pair come together."""

from torch import Tensor
from torch.nn import functional

from systems.dckt.baselines.config import CorrAEParams, NetworkParams
from systems.dckt.baselines.fitted import Fitted
from systems.dckt.baselines.networks import PairNetwork, Sizes, fit_networks, mlp
from systems.dckt.features import Views


class CorrAE(PairNetwork):
    """Two autoencoders.

    Args:
        sizes: of the features.
        params: of encoders and decoders.
        correspondence: alpha.
    """

    def __init__(self, sizes: Sizes, params: NetworkParams, correspondence: float) -> None:
        super().__init__(sizes, params, params.codes)
        self.correspondence = correspondence
        self.image_decoder = mlp(params.codes, params, sizes.images)
        self.text_decoder = mlp(params.codes, params, sizes.texts)

    def loss(self, images: Tensor, texts: Tensor, category: Tensor, progress: float) -> Tensor:
        r"""Return (1 - alpha) (image error + text error) + alpha mean (code - code)^2.

        An error is the mean square of all standardised features.
        """
        image_codes, text_codes = self.codes_of_images(images), self.codes_of_texts(texts)
        errors = functional.mse_loss(self.image_decoder(image_codes), self.image_inputs(images))
        errors = errors + functional.mse_loss(self.text_decoder(text_codes), self.text_inputs(texts))
        apart = functional.mse_loss(image_codes, text_codes)
        return (1 - self.correspondence) * errors + self.correspondence * apart


def fit_corr_ae(params: CorrAEParams, networks: NetworkParams, train: Views, validation: Views, seed: int) -> Fitted:
    """Fit the correspondence autoencoder; alpha, learning rate and epoch have the best validation MAP.

    Reference: Feng, Wang, Li, "Cross-modal retrieval with correspondence autoencoder" (ACM Multimedia 2014), eq. 3 to
    5, the basic of its three models. There restricted Boltzmann machines are trained first, and squared errors are sums
    over features; here features are frozen, and errors are means, so alpha has another scale.
    """
    sizes = Sizes.of(train)
    candidates = (
        ({"correspondence": alpha}, lambda alpha=alpha: CorrAE(sizes, networks, alpha))
        for alpha in params.correspondences
    )
    return fit_networks(candidates, train, validation, networks, seed)
