"""Named augmentation policies, built from torchvision's transforms (v2)."""

from collections.abc import Sequence

import torch
from torchvision.transforms import InterpolationMode, v2

from tellapart.data.images import Resize
from tellapart.data.pipelines import Pipeline, as_pipeline
from tellapart.training import config

_BICUBIC = InterpolationMode.BICUBIC


def policy(name: config.Augment, image_size: int) -> Pipeline:
    """Return a named policy for pictures that are already resized to a square.

    Parameters
    ----------
    name
        - ``"none"``: the picture as it is.
        - ``"light"``: mirrored left to right, in half of the cases.
        - ``"standard"``: a random part of 70 to 100 % of the area (aspect 4:5 to 5:4) scaled to the full
          square, mirrored left to right in half of the cases, brightness and contrast changed by up to
          20 %. For photographs of most kinds.
        - ``"strong"``: a random part of 50 to 100 % of the area, any of the square's eight rotations and
          reflections, brightness, contrast and saturation changed by up to 30 %, and in a quarter of the
          cases a random rectangle of 2 to 15 % of the area erased (Zhong et al., AAAI 2020). For pictures
          without an upright: skin, cells, satellite views.
    image_size
        Edge in pixels of the pictures that come in and go out.
    """
    return as_pipeline(v2.Compose(_transforms(name, image_size)))


def pipeline_for(augment: config.Augment | Sequence[config.Pipeline], resize: Resize) -> Pipeline:
    """Return the pipeline of a configuration, after trying it on one picture.

    Several pipelines are applied one after another. A pipeline of the user's may change the shape:
    training scales the result to the network's square again.

    Raises
    ------
    ConfigError
        If a pipeline does not return a picture.
    """
    if isinstance(augment, str):
        return policy(augment, resize.size)
    pipeline = as_pipeline(*augment)
    grey = torch.full((resize.size, resize.size, 3), 127, dtype=torch.uint8)
    pipeline.seeded(grey.numpy(), 0)
    return pipeline


def _transforms(name: config.Augment, image_size: int) -> list[torch.nn.Module]:
    mirror = v2.RandomHorizontalFlip()
    if name == "none":
        return [v2.Identity()]
    if name == "light":
        return [mirror]
    if name == "standard":
        crop = v2.RandomResizedCrop(
            image_size, scale=(0.7, 1.0), ratio=(4 / 5, 5 / 4), interpolation=_BICUBIC
        )
        return [crop, mirror, v2.ColorJitter(brightness=0.2, contrast=0.2)]
    return [
        v2.RandomResizedCrop(image_size, scale=(0.5, 1.0), ratio=(4 / 5, 5 / 4), interpolation=_BICUBIC),
        mirror,
        v2.RandomVerticalFlip(),
        # A quarter turn of a square moves pixels without interpolating them.
        v2.RandomApply([v2.RandomRotation((90, 90))]),
        v2.ColorJitter(brightness=0.3, contrast=0.3, saturation=0.3),
        v2.RandomErasing(p=0.25, scale=(0.02, 0.15), value=127),
    ]
