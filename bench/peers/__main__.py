"""`python -m bench.peers`: ours and a stock gateway side by side, and what RabbitMQ does alone."""

import asyncio
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.console import Console

from bench.lab import LabError
from bench.loops import loop_factory
from bench.outputs import writable
from bench.peers.compare import Comparison, compare

console = Console(stderr=True, highlight=False, markup=False, emoji=False)


def main(
    rates: Annotated[
        str, typer.Option(help="Frames per second, climbed until one is not kept up with.")
    ] = "500,1000,2000,4000,6000,8000",
    seconds: Annotated[float, typer.Option(min=3, help="How long each holds.")] = 8.0,
    out: Annotated[Path | None, typer.Option(help="The result as a JSON file.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The result as JSON on stdout.")] = False,
) -> None:
    """Compare gateways. Example: python -m bench.peers --rates 500,1000,2000 --json"""
    try:
        wanted = [int(each) for each in rates.split(",")]
        writable(out)
        result = run(wanted, seconds, lambda text: console.print(text))
    except (ValueError, LabError, RuntimeError, OSError) as error:
        console.print(str(error), style="red")
        raise typer.Exit(2) from error
    if out is not None:
        out.write_bytes(msgspec.json.format(msgspec.json.encode(result), indent=1) + b"\n")
    if as_json:
        sys.stdout.write(msgspec.json.encode(result).decode() + "\n")


def run(rates: list[int], seconds: float, say: "object") -> Comparison:
    """Compare, in a folder that goes away afterwards."""
    assert callable(say)
    with tempfile.TemporaryDirectory(prefix="teleloop-peers-") as folder, asyncio.Runner(loop_factory=loop_factory()) as runner:
        return runner.run(compare(Path(folder), rates, seconds, say))


if __name__ == "__main__":
    typer.run(main)
