"""The command line: one application put together from each folder's cli.py."""

import typer

app = typer.Typer(no_args_is_help=True, help="Telematics firmware simulator and gateway.")


@app.callback()
def root() -> None:
    """Units, vehicles, commands, events: one API for all brands."""


def main() -> None:
    """Run the command line; exit code 0 done, 1 the thing under test failed, 2 usage or set-up."""
    app()
