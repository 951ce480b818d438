"""What every family promises, by being in the dict."""

import inspect
from itertools import product

import pytest
import torch
from torch import Tensor, nn

from kdsearch.config import Choices, default_search
from kdsearch.models.families import FAMILIES
from kdsearch.models.measure import count_parameters


def all_options():
    for name, family in FAMILIES.items():
        fields = family.config.model_fields
        searched = {key: default_search(field) for key, field in fields.items()}
        values = {
            key: search.values if isinstance(search, Choices) else (fields[key].default,)
            for key, search in searched.items()
        }
        for chosen in product(*values.values()):
            yield pytest.param((name, dict(zip(values, chosen, strict=True))), id=f"{name}-{chosen}")


@pytest.fixture(params=all_options())
def options(request):
    return request.param


@pytest.fixture
def multiple(options):
    name, chosen = options
    return FAMILIES[name].multiple(FAMILIES[name].config(**chosen))


@pytest.fixture
def block(options, multiple):
    """Makes a block for so many times `multiple` channels."""
    name, chosen = options

    def make(c_in, c_out, stride, activation=nn.ReLU):
        return FAMILIES[name].block(c_in * multiple, c_out * multiple, stride, activation, **chosen)

    return make


@pytest.mark.parametrize(("size", "stride"), [(8, 1), (8, 2), (7, 1), (7, 2), (2, 2), (1, 1)])
def test_a_block_maps_c_in_to_c_out_and_divides_the_size_rounding_up(block, multiple, size, stride):
    made = block(3, 10, stride)(torch.rand(2, 3 * multiple, size, size))
    assert made.shape == (2, 10 * multiple, -(-size // stride), -(-size // stride))


@pytest.mark.parametrize("stride", [1, 2])
def test_more_channels_never_mean_fewer_parameters(block, options, stride):
    if options[0] in {"shuffle", "xception", "convnext", "mixed", "recurrent"} and stride == 1:
        pytest.skip("as many channels out as in need fewer parameters")

    def count(c_in, c_out):
        with torch.device("meta"):
            return count_parameters(block(c_in, c_out, stride))

    for c_in, c_out in product((1, 2, 3, 7, 16, 31), repeat=2):
        assert count(c_in, c_out) <= min(count(c_in + 1, c_out), count(c_in, c_out + 1))


def test_every_parameter_gets_a_gradient(block, multiple):
    made = block(3, 6, 2)
    made(torch.rand(4, 3 * multiple, 8, 8)).square().sum().backward()
    assert all(parameter.grad is not None for parameter in made.parameters())


def test_a_block_keeps_channels_last(block, multiple):
    made = block(4, 12, 1).to(memory_format=torch.channels_last)
    images = torch.rand(2, 4 * multiple, 8, 8).contiguous(memory_format=torch.channels_last)
    assert made(images).is_contiguous(memory_format=torch.channels_last)


def test_a_block_uses_the_activation_it_is_given(block):
    layers = block(4, 6, 1, nn.SiLU).named_modules()
    made = [type(layer) for path, layer in layers if not path.startswith("gate")]  # whose own is the paper's
    assert nn.SiLU in made
    assert nn.ReLU not in made


@pytest.mark.parametrize("name", FAMILIES)
def test_the_source_of_a_block_runs_with_torch_alone(name):
    family = FAMILIES[name]
    scope = {"torch": torch, "Tensor": Tensor, "nn": nn}
    exec(inspect.getsource(family.block), scope)
    options = family.config().model_dump()
    ours = family.block(8, 16, 2, nn.ReLU, **options)
    copied = scope[family.block.__name__](8, 16, 2, nn.ReLU, **options)
    copied.load_state_dict(ours.state_dict())
    images = torch.rand(2, 8, 8, 8)
    assert torch.equal(copied(images), ours(images))


@pytest.mark.parametrize("name", FAMILIES)
def test_the_options_of_a_family_are_the_blocks_own(name):
    keywords = inspect.signature(FAMILIES[name].block).parameters.values()
    own = {keyword.name for keyword in keywords if keyword.kind is keyword.KEYWORD_ONLY}
    assert own == FAMILIES[name].config.model_fields.keys()
