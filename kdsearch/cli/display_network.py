"""The terminal's output about a network."""

from typing import TYPE_CHECKING

from rich.table import Table

from kdsearch.cli.output import cell, console, print_lines

if TYPE_CHECKING:
    from kdsearch.api import NetworkTable


def show_network(network: "NetworkTable") -> None:
    """Prints a row for each layer, then the sums."""
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
    answers, weights = network.answer_bytes / 2**20, network.weight_bytes / 2**20
    print_lines(
        out,
        f"Memory in float32: weights {weights:.2f} MiB, outputs of all layers {answers:.2f} MiB an image.",
    )


def _count(number: int) -> str:
    return f"{number:,}" if number else ""
