"""How the firmware of a brand behaves, as data: `devices/data/firmware.toml`, one table a brand."""

import tomllib
from collections.abc import Mapping
from functools import cache
from importlib import resources

import msgspec


class Behaviour(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What units of one brand do differently from others. Zero switches a rule off.

    `boot_s` passes between power and the first sign of life; a program that hangs is reset after `watchdog_s`. Parked and locked
    for `sleep_after_s`, a unit falls asleep: then it says heartbeats every `sleep_heartbeat_s` (0: as awake) and nothing else
    until something changes. Driving, it also reports every `report_distance_m` and where it has turned by `report_turn_degrees`.
    `backoff_s` and `refused_backoff_s` are the first and the longest wait before it dials again, after a lost line and after a
    refused login; each wait doubles and is shortened by chance to not less than half. Supply voltages are for a 12 V system
    (24 V: twice): under `low_volts` it says so, under `brown_out_volts` it stops, from `restart_volts` it boots again.
    `journal_frames` is how many frames it keeps that nobody has acknowledged. `data_budget_bytes` is what the SIM may carry in
    30 days; used up, only urgent frames go out.
    """

    boot_s: float = 0.0
    watchdog_s: float = 60.0
    sleep_after_s: int = 0
    sleep_heartbeat_s: int = 0
    report_distance_m: int = 0
    report_turn_degrees: int = 0
    backoff_s: tuple[float, float] = (1.0, 60.0)
    refused_backoff_s: tuple[float, float] = (5.0, 300.0)
    low_volts: float = 11.3
    brown_out_volts: float = 8.0
    restart_volts: float = 9.5
    journal_frames: int = 1_000
    data_budget_bytes: int = 0


NEUTRAL = Behaviour()


@cache
def behaviours() -> Mapping[str, Behaviour]:
    """Brand to behaviour, as shipped."""
    text = resources.files("devices").joinpath("data/firmware.toml").read_text(encoding="utf-8")
    return msgspec.convert(tomllib.loads(text), dict[str, Behaviour])


def behaviour_of(brand: str) -> Behaviour:
    """That of a brand's units; a brand without a table has the defaults."""
    return behaviours().get(brand, NEUTRAL)
