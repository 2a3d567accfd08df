"""What is offered in a load run, and to whom."""

import math
from collections.abc import Iterator

import msgspec

from bench.stages import Stage

HEARD_PER_S = 20
"""Payloads that our gateway hears of one unit in a second; what is more than that its unit keeps and says again."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What is offered. `rate` is the fleet's frames per second where a stage says none.

    With a `window` the loop is closed: no rate, but never more than so many frames that no consumer has seen (`bench.pacer`).
    """

    units: int = 100
    rate: float = 100.0
    stages: tuple[Stage, ...] = (Stage(kind="hold", duration_s=60.0),)
    brands: dict[str, float] = msgspec.field(default_factory=lambda: {"CLOUDBOXX": 1.0})
    models: int | None = None
    model_names: tuple[str, ...] = ()
    lean: bool = False
    batch: int = 1
    commands_per_s: float = 0.0
    command_names: tuple[str, ...] = ("request-vehicle-state",)
    faults: tuple[str, ...] = ()
    looks_per_s: float = 2.0
    drain_s: float = 60.0
    seed: int = 0
    keep: bool = False
    parked: bool = False
    connects_per_s: float = 1_000.0
    window: int | None = None


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """What is loaded. `pids` are its processes, as far as they are on this machine. Secrets: no repr of it is printed."""

    url: str
    token: str
    broker: str
    amqp_url: str | None = None
    pids: dict[str, int] = {}
    about: str = ""


def too_loud(plan: Plan, peak_rate: float) -> Iterator[str]:
    """A note where each unit says more than is heard of it: then that is measured, and not what the gateway can take."""
    of_each = peak_rate / plan.units / plan.batch
    if of_each > HEARD_PER_S:
        enough = math.ceil(peak_rate / plan.batch / HEARD_PER_S)
        yield (
            f"each unit says up to {of_each:.0f} payloads a second, and the gateway hears {HEARD_PER_S} of one unit: "
            f"the others are said again, later. With {enough} units or more all would be heard"
        )
