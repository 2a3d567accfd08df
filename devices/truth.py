"""What the control API says of a unit and its vehicle, and which of it may be set."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from devices.member import Member
from devices.shown import LAMPS, TIRES
from devices.vehicle import Vehicle

Tire = Literal["front_left", "front_right", "rear_left", "rear_right"]
Lamp = Literal[
    "adblue_level_low_indicator",
    "brake_fluid_level_low_indicator",
    "brake_lining_wear_indicator",
    "brake_warning_indicator",
    "check_engine_indicator",
    "engine_oil_level_low_indicator",
    "tire_pressure_low_indicator",
]
Actuator = Literal["central_lock", "top_case", "battery_compartment"]

assert set(LAMPS) == set(Lamp.__args__)  # type: ignore[attr-defined]
assert set(TIRES) == set(Tire.__args__)  # type: ignore[attr-defined]

_Percent = Annotated[float, Field(ge=0, le=100)]

_SETS = ("doors_open", "windows_open", "warnings", "failed_sensors", "stuck")
_SHOWN = (
    "speed_kmh", "target_speed_kmh", "distance_m", "odometer_km", "energy_percent", "adblue_percent", "range_km",
    "low_battery_charge", "onboard_voltage", "supply_voltage", "motor_celsius", "outside_celsius", "altitude_m",
    "ignition", "driving_enabled", "locked", "commanded_lock", "top_case_locked", "commanded_top_case_lock", "key_inserted",
    "fob_in_holder", "top_case_open", "battery_compartment_open", "parking_brake", "center_stand_down", "headlights",
    "plugged", "charging", "abs_enabled", "reserved", "checks_ignition", "forced_supply_volts", "satellites", "arrived",
)  # fmt: skip


class Setting(BaseModel):
    """Attributes of a vehicle to set; what is left out stays as it is."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    locked: bool | None = None
    driving_enabled: bool | None = None
    ignition: bool | None = None
    key_inserted: bool | None = None
    fob_in_holder: bool | None = None
    top_case_open: bool | None = None
    top_case_locked: bool | None = None
    battery_compartment_open: bool | None = None
    parking_brake: bool | None = None
    center_stand_down: bool | None = None
    headlights: bool | None = None
    plugged: bool | None = None
    charging: bool | None = None
    abs_enabled: bool | None = None
    reserved: bool | None = None
    checks_ignition: bool | None = None
    target_speed_kmh: float | None = Field(default=None, ge=0, le=300)
    energy_percent: _Percent | None = None
    adblue_percent: _Percent | None = None
    odometer_km: float | None = Field(default=None, ge=0, le=400_000_000)
    low_battery_charge: float | None = Field(default=None, ge=0, le=1)
    outside_celsius: float | None = Field(default=None, ge=-60, le=80)
    altitude_m: float | None = Field(default=None, ge=-500, le=9_000)
    satellites: int | None = Field(default=None, ge=0, le=64)
    doors_open: set[Tire] | None = None
    windows_open: set[Tire] | None = None
    warnings: set[Lamp] | None = None
    failed_sensors: set[Lamp] | None = None
    stuck: set[Actuator] | None = None
    tire_pressure_kpa: dict[Tire, Annotated[float, Field(ge=0, le=1_500)]] | None = None

    def apply(self, vehicle: Vehicle) -> None:
        """Set what was said."""
        for name, value in self.model_dump(exclude_none=True).items():
            if name == "tire_pressure_kpa":
                vehicle.tire_pressure_kpa.update(value)
            else:
                setattr(vehicle, name, set(value) if name in _SETS else value)


def facts(member: Member, now_ms: int, *, brief: bool = False) -> dict[str, Any]:
    """A unit and its vehicle; `brief` for a list of many."""
    unit, vehicle, record = member.firmware, member.firmware.vehicle, member.record
    place = vehicle.here
    said = {
        "brand": record.brand,
        "telematics_unit_id": record.telematics_unit_id,
        "vehicle_id": record.vehicle_id or None,
        "vehicle_model_id": record.vehicle_model_id,
        "kind": vehicle.kind,
        "phase": unit.phase.value,
        "online": member.line is not None,
        "position": {"lat": place.latitude, "lon": place.longitude},
        "speed_kmh": vehicle.speed_kmh,
        "locked": vehicle.locked,
        "faults": sorted(unit.ailments),
    }
    if brief:
        return said
    flash = unit.flash
    return said | {
        "unit": {
            "reset_cause": unit.reset_cause.name.lower(),
            "resets": unit.resets,
            "coverage": unit.coverage,
            "sequence": flash.sequence,
            "journal": len(flash.journal),
            "forgotten": flash.forgotten,
            "command_counter": flash.counter,
            "data_bytes": flash.data_bytes,
            "next_tick_in_s": round((unit.next_tick(now_ms) - now_ms) / 1000, 3),
        },
        "vehicle": {
            **{name: getattr(vehicle, name) for name in _SHOWN},
            **{name: sorted(getattr(vehicle, name)) for name in _SETS},
            "tire_pressure_kpa": dict(vehicle.tire_pressure_kpa),
            "heading": place.heading,
            "speed_limit_kmh": place.limit_kmh,
            "executed": dict(vehicle.executed),
        },
        "truth": vehicle.state(),
    }


def told(member: Member) -> dict[str, Any]:
    """What is true, and what was true when the unit last reported (null: it never did); `waiting` frames are not acknowledged."""
    unit, record = member.firmware, member.record
    last = unit.truth_told
    return {
        "brand": record.brand,
        "telematics_unit_id": record.telematics_unit_id,
        "vehicle_id": record.vehicle_id or None,
        "vehicle_model_id": record.vehicle_model_id,
        "online": member.line is not None,
        "waiting": len(unit.flash.journal),
        "truth": unit.vehicle.state(),
        "told": None if last is None else dict(last),
    }
