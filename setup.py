"""The C kernel of the hot path. Without a compiler there is none, and its numpy twin does the work."""

from setuptools import Extension, setup

HOTPATH = "protocols/hotpath"

setup(
    ext_modules=[
        Extension(
            "protocols.hotpath._kernel",
            [f"{HOTPATH}/kernel.c"],
            depends=[
                f"{HOTPATH}/{name}.h"
                for name in (
                    *("alike", "apart", "build", "crc", "crowd", "draw", "ends", "fill", "fold", "fours", "frames", "glance"),
                    *("guards", "lanes", "mingled", "pipeline", "plans", "runs", "seal", "sealing", "sha", "sixteen", "table"),
                    *("tell", "values", "walk", "whole"),
                )
            ],
            extra_compile_args=["-O3", "-g0", "-ffp-contract=off"],
            optional=True,
        )
    ]
)
