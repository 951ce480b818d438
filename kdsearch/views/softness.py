"""What a teacher's outputs hold besides the labels: the probability that it gives to other classes."""

from torch import Tensor, softmax

from kdsearch.views.bank import View

TEMPERATURES = (1.0, 2.0, 4.0)
JUDGED = 2.0  # the temperature of HARD
# A teacher with 1.7 % at T = 2 made soft labels that were hard labels, and distillation gained nothing.
HARD = 0.05


def outside(view: View, labels: Tensor) -> dict[str, tuple[float, ...]]:
    """By each teacher's name, its mean probability outside an image's label at TEMPERATURES, 0 to 1.

    Of a mixed image, outside both labels. `labels` are those of the training images, N.
    """
    return {
        name: tuple(_outside(view, answers.logits.float() / t, labels) for t in TEMPERATURES)
        for name, answers in view.answers.items()
    }


def _outside(view: View, logits: Tensor, labels: Tensor) -> float:
    probability = softmax(logits, dim=1)
    if view.mix is not None:
        partner, weight = view.mix
        mixed = weight < 1
        probability[mixed] = probability[mixed].scatter(1, labels[partner][mixed, None], 0.0)
    return float(probability.scatter(1, labels[:, None], 0.0).sum(dim=1).mean())


def softness_line(teacher: str, outside: tuple[float, ...]) -> str:
    """What is printed with the views; `teacher` is its name in messages."""
    pairs = zip(outside, TEMPERATURES, strict=True)
    shares = ", ".join(f"{share:.1%} at T = {temperature:g}" for share, temperature in pairs)
    line = f"teacher {teacher}: probability outside the label on the first view: {shares}"
    if outside[TEMPERATURES.index(JUDGED)] >= HARD:
        return line
    return (
        f"{line}; below {HARD:.0%} at T = {JUDGED:g} its outputs teach little more than the labels: give "
        "[augmentation] more strength, [losses.kl] a higher temperature, or [teacher] label_smoothing or "
        "fewer epochs"
    )
