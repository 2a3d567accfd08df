"""Bulk decoding: frames to rows, rows to values, values to changes, changes to text; and rows to frames.

The construct declarations stay the only specification: what decodes fast is learnt from them at run time and says what they
say. Stages, each on numpy arrays: `Decoder.decode`, `Translator.translate`, `States.diff`, `records` or `Writer.lines`; the other
way `Decoder.build`. The work is done by a kernel in C where one was built, else by its numpy twin.
"""

from collections.abc import Mapping

from protocols.hotpath import autoapi, cloudboxx, gbt32960, teltonika
from protocols.hotpath.binding import Binding
from protocols.hotpath.columns import CHANGE, SILENT
from protocols.hotpath.decoder import Decoder, Rows
from protocols.hotpath.kernels import decoding_path, path_in_use
from protocols.hotpath.pipeline import Pipeline
from protocols.hotpath.text import Saying, Writer
from protocols.hotpath.translator import States, Translator, records

BINDINGS: Mapping[str, Binding] = {each.BINDING.protocol.name: each.BINDING for each in (autoapi, cloudboxx, gbt32960, teltonika)}
"""The protocols that have a fast path, by name."""

__all__ = [
    "BINDINGS",
    "CHANGE",
    "SILENT",
    "Binding",
    "Decoder",
    "Pipeline",
    "Rows",
    "Saying",
    "States",
    "Translator",
    "Writer",
    "decoding_path",
    "path_in_use",
    "records",
]
