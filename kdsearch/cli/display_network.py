"""The terminal's output about a network: its layers, its scores and its files."""

from typing import TYPE_CHECKING

from rich.table import Table

from kdsearch.cli.display import cell, console, loading_lines, percent, print_lines

if TYPE_CHECKING:
    from kdsearch.api import Exported, NetworkTable, Predicted, Trained


def show_network(network: "NetworkTable") -> None:
    size = network.image_size
    table = Table(
        "layer", "kind", "output", "parameters", "multiply-adds", title=cell(f"{network.name}, {size} px")
    )
    for column in table.columns[3:]:
        column.justify = "right"
    for layer in network.layers:
        shape = " x ".join(map(str, layer.shape))
        table.add_row(cell(layer.path), cell(layer.kind), shape, _count(layer.parameters), _count(layer.macs))
    table.add_section()
    table.add_row("all", "", "", f"{network.parameters:,}", f"{network.macs:,}")
    out = console()
    out.print(table)
    answers, weights = network.answer_bytes / 2**20, 4 * network.parameters / 2**20
    print_lines(
        out,
        f"Memory in float32: weights {weights:.2f} MiB, outputs of all layers {answers:.2f} MiB an image.",
    )


def _count(number: int) -> str:
    return f"{number:,}" if number else ""


def show_trained(trained: "Trained") -> None:
    test = f", test {percent(trained.test.accuracy)}" if trained.test else ""
    lines = [
        f"Here: validation {percent(trained.validation_accuracy)}{test}, {trained.parameters:,} parameters"
    ]
    if trained.note:
        lines.append(trained.note)
    if trained.published.result:
        lines.append(f"Published: {trained.published.result} ({trained.published.recipe})")
    print_lines(console(), *lines)


def show_exported(exported: "Exported") -> None:
    test = (
        f"{percent(exported.test.accuracy)} on {exported.test.images:,} test images"
        if exported.test
        else "not read"
    )
    if exported.test and exported.test.seeds:
        test += f" ({percent(exported.test.mean)} in the mean of {len(exported.test.seeds)} seeds)"
    lines = [
        f"Study {exported.study}, trial {exported.trial}: {exported.parameters:,} parameters",
        f"validation {percent(exported.validation_accuracy)}, test {test}",
        *_mirrored(exported),
        *_int8(exported),
        *exported.notes,
        *(f"  {path}" for path in exported.paths),
    ]
    if any(path.name.startswith("student.") for path in exported.paths):
        lines.append("The files student.* were loaded back and give the outputs of the trained student.")
    print_lines(console(), *lines, *loading_lines(exported.loading))


def _int8(exported: "Exported") -> list[str]:
    if exported.int8_accuracy is None:
        return []
    return [f"in 8 bits: validation {percent(exported.int8_accuracy)}"]


def _mirrored(exported: "Exported") -> list[str]:
    """The accuracies with mirrored views, if the study has them."""
    if exported.validation_mirrored is None:
        return []
    line, test = f"with mirrored views: validation {percent(exported.validation_mirrored)}", exported.test
    if test and test.mirrored is not None and test.mirrored_mean is not None:
        line += f", test {percent(test.mirrored)}"
        if test.seeds:
            line += f" ({percent(test.mirrored_mean)} in the mean of {len(test.seeds)} seeds)"
    return [line]


def show_predicted(predicted: "Predicted") -> None:
    """On standard error if the table is on standard output."""
    read = predicted.images - predicted.unreadable
    lines = [f"Study {predicted.study}, trial {predicted.trial}: images predicted: {read:,}"]
    if predicted.unreadable:
        lines[0] += f", unreadable: {predicted.unreadable:,} (their rows say so)"
    if predicted.mirrored:
        lines.append(
            "with mirrored views: the class is that of the largest mean of the probabilities of an image and "
            "of its mirror image"
        )
    if predicted.out:
        lines.append(f"  {predicted.out}")
    print_lines(console(stderr=predicted.out is None), *lines)
