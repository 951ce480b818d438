"""The tables of a study file about views, separate from the code that training processes do not load."""

from typing import Annotated, Literal

from pydantic import Field

from kdsearch.config import Record


class AugmentationConfig(Record):
    """Random changes to training images."""

    crop: Literal["none", "padded", "resized"] = "padded"
    padding: Annotated[float, Field(ge=0, lt=1)] = 0.125  # of the side, at each edge, for `padded`
    scale: Annotated[float, Field(gt=0, le=1)] = 0.5  # smallest share of the area, for `resized`
    flip: bool = False
    rotation: Annotated[float, Field(ge=0, le=180)] = 0.0  # degrees, to either side
    jitter: Annotated[float, Field(ge=0, le=1)] = 0.0  # strength of brightness, contrast, saturation
    erasing: Annotated[float, Field(ge=0, le=1)] = 0.0  # probability of a blank rectangle


class ViewsConfig(Record):
    """How many views a study wants, and the disk that they may take."""

    count: Annotated[int, Field(ge=1)] = 8
    bank_gib: Annotated[float, Field(gt=0)] = 8.0
