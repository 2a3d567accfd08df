"""The JSON Schema of the vector files."""

from typing import Any, get_args

from protocols.codec import Reason

_HEX = {"type": "string", "pattern": "^([0-9a-f]{2})*$"}
_VECTOR = {
    "type": "object",
    "required": ["name", "hex", "expect"],
    "additionalProperties": False,
    "properties": {
        "name": {"type": "string"},
        "hex": _HEX,
        "expect": {
            "type": "object",
            "required": ["kind"],
            "properties": {
                "kind": {"type": "string"},
                "unit": {"type": "string"},
                "sequence": {"type": "integer", "minimum": 0},
                "captured_at": {"type": "integer", "minimum": 0, "description": "Unix milliseconds"},
                "facts": {"type": "object"},
                "reports": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "required": ["captured_at", "signals"],
                        "properties": {"captured_at": {"type": ["integer", "null"]}, "signals": {"type": "object"}},
                    },
                },
            },
        },
    },
}
_REFUSED = {
    "type": "object",
    "required": ["name", "hex", "reason", "offset", "field"],
    "additionalProperties": False,
    "properties": {
        "name": {"type": "string"},
        "hex": _HEX,
        "reason": {"enum": list(get_args(Reason))},
        "offset": {"type": "integer", "minimum": 0, "description": "the byte where our implementation saw it; not binding"},
        "field": {"type": "string", "description": "the field where our implementation saw it; not binding"},
        "needs": {"const": "unit and key", "description": "only who knows unit and key can tell"},
    },
}
SCHEMA: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "teleloop test vectors",
    "type": "object",
    "required": ["format", "version", "protocol", "about", "vectors", "refused"],
    "additionalProperties": False,
    "properties": {
        "format": {"const": "teleloop-vectors"},
        "version": {"const": 1},
        "protocol": {"enum": ["cloudboxx", "teltonika", "gbt32960", "autoapi", "vtc"]},
        "about": {"type": "object"},
        "vectors": {"type": "array", "minItems": 1, "items": _VECTOR},
        "refused": {"type": "array", "minItems": 1, "items": _REFUSED},
    },
}
