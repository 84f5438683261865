"""Parameters of a ConvNet and of the images that go into it."""

from pydantic import Field, model_validator

from base.params import Params


class BackboneParams(Params):
    """A ConvNet, its start weights, and the size of its images; a system adds its own parameters."""

    backbone: str = Field(
        description="plain (this project's small ConvNet), efficientnet_lite0, or a torchvision name, as vgg19;"
        " model/nets/backbones.py"
    )
    weights: str = Field(
        description="none, download (torchvision's ImageNet weights), or the path of a .safetensors file"
    )
    image_size: int = Field(description="side of the square crop the ConvNet sees, pixels", ge=16, le=1024)
    resize: int = Field(description="shorter side of the whole image before cropping, pixels", ge=16, le=2048)
    frozen_blocks: int | None = Field(
        None,
        description="blocks next to the image (of the ConvNet's list of layers, activations and poolings included) that"
        " keep their start weights and statistics, for little data or slow machines; null: none",
        ge=1,
    )
    frozen_statistics: bool | None = Field(
        None,
        description="whether the ConvNet's batch normalisation keeps the statistics of its start weights instead of"
        " measuring each batch's, which are noisy where batches and maps are small; null: no",
    )

    @model_validator(mode="after")
    def _crop_fits(self) -> "BackboneParams":
        if self.resize < self.image_size:
            raise ValueError(f"resize ({self.resize}) must be at least image_size ({self.image_size})")
        return self
