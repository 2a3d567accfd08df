"""More vehicle models than teleloop brings: copies under names of their own, each with its own tables to translate by."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import modeldb
from modeldb.database import EXTRA_FOLDERS, FOLDER


@contextmanager
def more_models(folder: Path, brand: str, wanted: int) -> Iterator[None]:
    """Until the end there are at least so many models for units of `brand`, here and in programs that are started meanwhile."""
    known = modeldb.load().available(brand)
    copies = folder / "models" / "copies"
    copies.mkdir(parents=True)
    for number in range(len(known), wanted):
        model, copy = known[number % len(known)], number // len(known)
        text = (FOLDER / model.file).read_text(encoding="utf-8")
        text = text.replace(model.id, f"{model.id[:-2]}{copy:02}", 1)
        text = text.replace(f'name = "{model.name}"', f'name = "{model.name}, copy {copy}"', 1)
        (copies / f"{number:03}.toml").write_text(text, encoding="utf-8")
    before = os.environ.get(EXTRA_FOLDERS)
    os.environ[EXTRA_FOLDERS] = str(folder) if before is None else f"{before}{os.pathsep}{folder}"
    try:
        yield
    finally:
        if before is None:
            del os.environ[EXTRA_FOLDERS]
        else:
            os.environ[EXTRA_FOLDERS] = before
