"""The projector from vision width to language width: `mlp2x_gelu` (Linear, exact GELU, Linear), published names 0 and 2."""

from torch import nn


class Projector(nn.Sequential):
    """[..., Dv] -> [..., D], for each token."""

    def __init__(self, vision_width: int, width: int) -> None:
        super().__init__(nn.Linear(vision_width, width), nn.GELU(), nn.Linear(width, width))
        self.vision_width = vision_width
