import pytest


@pytest.fixture(autouse=True)
def like_one_machine(short_grace, quiet_optuna):
    """A lost worker is noticed soon, and Optuna says nothing."""
