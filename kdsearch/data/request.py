"""The table [data] of a study file."""

from typing import Annotated

from pydantic import Field

from kdsearch.config import Record


class DataConfig(Record):
    """The image set, its size, and how to make a validation split if it has none."""

    name: str = "digits"  # digits, a torchvision data set by its class name, or folder
    path: str | None = None  # where the files lie (--data)
    image_size: Annotated[int | None, Field(ge=4)] = None  # pixels a side; none: native, 128 for folders
    validation: Annotated[float, Field(gt=0, lt=1)] = 0.2  # share of the training split, held out
    train_images: Annotated[int | None, Field(ge=2)] = None  # a stratified part of the training split only
    skip_corrupt: bool = False
    allow_duplicates: bool = False  # between given training and validation splits
