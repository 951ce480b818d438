"""The kernel size: the option that most blocks have, many of them as their only one."""

from typing import Annotated, Literal

from kdsearch.config import Choices, Record

Kernel = Annotated[Literal[3, 5, 7], Choices.of(3, 5)]


class KernelConfig(Record):
    kernel: Kernel = 3
