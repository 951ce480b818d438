import pytest
import torch
from pydantic import ValidationError

from kdsearch.models.measure import count_macs, parameters_of
from kdsearch.models.published import PUBLISHED, PublishedConfig
from kdsearch.models.student import build_student, read_config, student_outputs, student_shapes

PARAMETERS = {
    "s0-first": (11, 56_235),
    "s0-second": (11, 50_283),
    "mobilenet": (11, 256_779),
    "s4": (10, 98_954),
    "vgg16-depthwise": (11, 63_133_483),
    "vgg11-bn": (11, 61_662_987),
}
SMALL = [name for name in PUBLISHED if not name.startswith("vgg")]


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_student_has_the_published_parameters(name):
    classes, parameters = PARAMETERS[name]
    assert parameters_of(PublishedConfig(network=name, classes=classes)) == parameters


def test_the_student_of_s4_has_the_published_multiply_adds():
    assert count_macs(build_student(PublishedConfig(network="s4", classes=10)), 28) == 2_220_032


@pytest.mark.parametrize("name", PUBLISHED)
def test_its_smallest_image_is_the_smallest_that_it_can_read(name):
    with torch.device("meta"):
        student = build_student(PublishedConfig(network=name, classes=5)).eval()
        smallest = PUBLISHED[name].smallest
        assert student(torch.rand(2, 3, smallest, smallest)).shape == (2, 5)
        with pytest.raises(RuntimeError):
            student(torch.rand(2, 3, smallest - 1, smallest - 1))


@pytest.mark.parametrize("name", SMALL)
def test_its_outputs_have_the_shapes_that_losses_are_told(name):
    config = PublishedConfig(network=name, classes=5)
    student = build_student(config).eval()
    images = torch.rand(2, 3, 128, 128)
    outputs, shapes = student_outputs(student, images), student_shapes(config)
    assert outputs.logits.shape == (2, shapes.classes)
    assert outputs.embedding.shape == (2, shapes.embedding)
    assert {layer: (hint.shape[1],) for layer, hint in outputs.hints.items()} == shapes.hints
    assert torch.equal(student(images), outputs.logits)


def test_its_images_are_normalised_inside():
    config = PublishedConfig(network="s4", classes=5, mean=(0.1, 0.2, 0.3), std=(0.5, 0.6, 0.7))
    student, images = build_student(config).eval(), torch.rand(2, 3, 28, 28)
    plain = build_student(config.model_copy(update={"mean": (0.0,) * 3, "std": (1.0,) * 3})).eval()
    buffers = plain.state_dict()
    plain.load_state_dict({**student.state_dict(), "mean": buffers["mean"], "std": buffers["std"]})
    normalised = (images - torch.tensor(config.mean).view(3, 1, 1)) / torch.tensor(config.std).view(3, 1, 1)
    torch.testing.assert_close(student(images), plain(normalised))


def test_its_config_survives_being_stored():
    config = PublishedConfig(network="mobilenet", classes=7)
    assert read_config(config.model_dump(mode="json")) == config


def test_a_network_that_is_not_known_is_refused():
    with pytest.raises(ValidationError, match="unknown network 's5'; known: s0-first"):
        PublishedConfig(network="s5", classes=7)
