import pytest

from kdsearch.models.student import StudentConfig


@pytest.fixture
def config():
    return StudentConfig(
        family="dwsep",
        options={"kernel": 3},
        width=8,
        growth=1.5,
        depths=(2, 1),
        strides=(1, 2, 2),
        downsampling="stride",
        activation="relu",
        classes=5,
        mean=(0.4, 0.5, 0.6),
        std=(0.2, 0.3, 0.1),
    )
