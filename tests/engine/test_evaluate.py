import pytest
import torch
from sklearn.metrics import confusion_matrix
from torch.nn.functional import cross_entropy

from kdsearch.engine.evaluate import BATCH, answer_all, confusion, evaluate, named_right_mirrored
from kdsearch.models.student import StudentConfig, as_input, build_student, student_outputs


@pytest.fixture(scope="module")
def student():
    config = StudentConfig(
        family="plain",
        options={},
        width=4,
        growth=1.0,
        depths=(1,),
        strides=(1, 2),
        downsampling="stride",
        activation="relu",
        classes=5,
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return build_student(config)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("count", [1, 7, BATCH["cpu"] + 3])
def test_it_equals_a_plain_loop(student, channels, count):
    generator = torch.Generator().manual_seed(count)
    images = torch.randint(0, 256, (count, channels, 8, 8), generator=generator, dtype=torch.uint8)
    labels = torch.randint(0, 5, (count,), generator=generator)
    losses, right = [], 0
    student.eval()
    with torch.no_grad():
        for image, label in zip(images, labels, strict=True):
            logits = student(as_input(image[None]))
            losses.append(cross_entropy(logits, label[None]).item())
            right += int(logits.argmax() == label)
    student.train()
    score = evaluate(student, student_outputs, images, labels)
    assert score.loss == pytest.approx(sum(losses) / count, rel=1e-5)
    assert score.accuracy == pytest.approx(right / count)


def test_no_batch_statistic_moves(student):
    before = {name: tensor.clone() for name, tensor in student.state_dict().items()}
    student.train()
    logits = answer_all(student, student_outputs, torch.zeros(4, 3, 8, 8, dtype=torch.uint8))
    assert logits.shape == (4, 5)
    assert not logits.requires_grad
    assert all(torch.equal(tensor, before[name]) for name, tensor in student.state_dict().items())


@pytest.mark.parametrize("count", [7, BATCH["cpu"] + 3])
def test_with_mirrored_views_probabilities_are_averaged(student, count):
    generator = torch.Generator().manual_seed(count)
    images = torch.randint(0, 256, (count, 3, 8, 8), generator=generator, dtype=torch.uint8)
    labels = torch.randint(0, 5, (count,), generator=generator)
    student.eval()
    with torch.no_grad():
        views = [student(as_input(each)).softmax(1) for each in (images, images.flip(3))]
    expected = (((views[0] + views[1]) / 2).argmax(1) == labels).tolist()
    assert named_right_mirrored(student, student_outputs, images, labels) == expected
    assert named_right_mirrored(student, student_outputs, images.flip(3), labels) == expected


def test_the_confusion_matrix_is_scikit_learns(student):
    images = torch.randint(0, 256, (150, 3, 8, 8), dtype=torch.uint8)
    labels = torch.arange(150) % 4  # the last class has no image
    predicted = answer_all(student, student_outputs, images).argmax(1)
    expected = confusion_matrix(labels, predicted, labels=range(5))
    assert confusion(student, student_outputs, images, labels).tolist() == expected.tolist()
