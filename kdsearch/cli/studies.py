"""`kdsearch studies`: what comes with kdsearch."""

import click


@click.command()
def studies() -> None:
    """List the studies that come with kdsearch."""
    from kdsearch import api
    from kdsearch.cli.display import show_studies

    show_studies(api.shipped_studies())
