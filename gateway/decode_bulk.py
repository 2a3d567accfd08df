"""`teleloop decode --bulk FILE`: what a capture holds, counted, and how fast that went."""

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.progress import Progress

from gateway.captures import Bulk, document
from gateway.decoding import protocol_of
from modeldb import load as load_models
from protocols.hotpath import decoding_path, path_in_use

PROGRESS_AFTER_S = 1.0
PIPE_WIDTH = 200
"""Columns of lines that no terminal bounds."""


class _Bar:
    """A progress bar on stderr, for what takes longer than a moment."""

    def __init__(self, size: int) -> None:
        self._progress = Progress(console=Console(stderr=True, markup=False, emoji=False), transient=True)
        self._task = self._progress.add_task("decoding", total=size)
        self._begun, self._started = time.perf_counter(), False

    def __call__(self, read: int) -> None:
        if not self._started and self.seconds > PROGRESS_AFTER_S:
            self._started = True
            self._progress.start()
        self._progress.update(self._task, completed=read)

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self._begun

    def stop(self) -> None:
        if self._started:
            self._progress.stop()


def decode_bulk(path: Path, meant: Mapping[str, Any], as_json: bool) -> bool:
    """Count what a capture holds, and say it; whether all of it is good. Raises OSError, ValueError."""
    if meant["model"] is not None:
        raise ValueError("--bulk counts frames and translates none: it takes no --model")
    size, models = path.stat().st_size, load_models()
    protocol = protocol_of(models, meant["protocol"], meant["brand"])
    bulk, bar = Bulk(models, protocol.name if protocol else None, meant["key"]), _Bar(size)
    try:
        bulk.take(path, bar)
    finally:
        bar.stop()
    said = document(bulk.tallies, bar.seconds, path_in_use)
    if as_json:
        typer.echo(json.dumps(said | {"passed_over": bulk.passed_over, "damage": bulk.damage}, indent=2))
    else:
        _print(said, bulk)
    return not said["refused"] and not bulk.damage


def _many(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def _print(said: Mapping[str, Any], bulk: Bulk) -> None:
    console = Console(highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console.width = PIPE_WIDTH
    for name, each in said["protocols"].items():
        kinds = ", ".join(f"{count:,} {kind}" for kind, count in each["kinds"].items()) or "no good frame"
        console.print(
            f"{name}: {_many(each['frames'], 'frame')} in {_many(each['payloads'], 'payload')}, {each['bytes']:,} bytes: {kinds}"
        )
        for reason, refused in each["refused"].items():
            first = refused["first"]
            place = f"first at byte {first['offset']}" + (f" of payload {first['payload']}" if each["payloads"] > 1 else "")
            console.print(f"  {refused['count']:,} {reason}, {place}", style="red")
    for damage in bulk.damage:
        console.print(f"damaged: {damage}", style="red")
    if bulk.passed_over:
        console.print(f"{bulk.passed_over:,} messages of other topics or brands were passed over")
    console.print(f"{said['frames_per_s'] or 0:,} frames/s, {decoding_path()}")
