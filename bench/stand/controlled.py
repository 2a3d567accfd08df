"""A unit of another process that has a control API (`teleloop fleet --control`): known by its address, and drivable."""

import time
from collections.abc import Callable, Mapping
from typing import Any

import httpx2

from bench.stand.gateways import StandError
from bench.stand.real import RealUnit
from bench.stand.simulated import STEP_LIMIT_S, USUAL_KMH
from bench.stand.stage import Stage, sleep
from bench.stand.story import Story
from protocols.codec import UnitId

LOOK_S = 0.2


class Control:
    """One unit's part of a control API. Raises StandError where it does not answer, or refuses."""

    def __init__(self, url: str, unit: UnitId, stage: Stage, story: Story) -> None:
        self._api = httpx2.Client(base_url=url, timeout=30)
        self._path = f"/units/{unit.brand}/{unit.telematics_unit_id}"
        self._stage, self._story = stage, story

    def call(self, method: str, path: str = "", text: str = "", **body: Any) -> Mapping[str, Any]:
        """One request; `text` is noted as a step."""
        if text:
            self._story.note(self._stage.now_ms(), text)
        try:
            said = self._api.request(method, self._path + path, json=body or None)
        except httpx2.HTTPError as error:
            raise StandError(f"the control API at {self._api.base_url} does not answer: {error}") from error
        if not said.is_success:
            raise StandError(f"the control API refuses {method} {self._path}{path}: {said.status_code} {said.text[:300]}")
        answer: Mapping[str, Any] = said.json()
        return answer

    def wait_until(self, condition: Callable[[Mapping[str, Any]], bool], within_s: float, what: str) -> None:
        """Until the vehicle is so. Raises AssertionError."""
        give_up = time.monotonic() + within_s
        while not condition(self.call("GET")["vehicle"]):
            if time.monotonic() > give_up:
                raise AssertionError(f"{what}: not within {within_s:g} s")
            sleep(self._stage, LOOK_S)

    def close(self) -> None:
        """No more."""
        self._api.close()


class ControlledUnit(RealUnit):
    """Its coverage is cut over the control API, not by hand."""

    def __init__(self, stage: Stage, story: Story, unit: UnitId, control: Control) -> None:
        super().__init__(stage, story, unit, lambda what: None)
        self._control = control

    def lose_coverage(self) -> None:
        """No network from now on."""
        self._control.call("POST", "/coverage", "coverage is lost", covered=False)

    def find_coverage(self) -> None:
        """The network is back."""
        self._control.call("POST", "/coverage", "coverage is back", covered=True)


class ControlledVehicle:
    """The `vehicle` of a test, around such a unit."""

    def __init__(self, stage: Stage, control: Control) -> None:
        self._stage, self._control = stage, control

    @property
    def state(self) -> Mapping[str, Any]:
        """The truth as vocabulary values."""
        return self._control.call("GET", "/truth")

    @property
    def locked(self) -> bool:
        """Whether its doors are locked."""
        return bool(self._control.call("GET")["vehicle"]["locked"])

    def drive(self, *, km: float = 0.0, minutes: float = 0.0, kmh: float = USUAL_KMH) -> None:
        """Set off if it stands, drive so far or so long, and go on rolling."""
        before = self._control.call("GET")["vehicle"]
        if not before["driving_enabled"]:
            raise AssertionError(
                "driving is not enabled: command('unlock-and-enable-driving') or command('enable-driving') first"
            )
        moving = {"ignition": True, "key_inserted": True, "parking_brake": False, "center_stand_down": False, "doors_open": []}
        self._control.call("PATCH", "/truth", f"the vehicle drives at {kmh:g} km/h", **moving, target_speed_kmh=kmh)
        sleep(self._stage, 60 * minutes)
        far = 1000 * km + before["distance_m"]
        self._control.wait_until(lambda vehicle: vehicle["distance_m"] >= far, STEP_LIMIT_S, f"{km:g} km")

    def stop(self) -> None:
        """Brake until it stands."""
        self._control.call("POST", "/stop", "the vehicle brakes")
        self._control.wait_until(lambda vehicle: vehicle["speed_kmh"] == 0, 120, "the vehicle stands")

    def park(self) -> None:
        """Stop, brake on, ignition off, key out, get out, shut the door."""
        self.stop()
        self.set(parking_brake=True, ignition=False, key_inserted=False, headlights=False)
        self.open("front_left")
        sleep(self._stage, 2)
        self.close("front_left")

    def open(self, door: str = "front_left") -> None:
        """Open a door."""
        self._control.call("POST", "/open", f"the vehicle opens {door}", what=[door])

    def close(self, door: str = "front_left") -> None:
        """Shut a door."""
        self._control.call("POST", "/close", f"the vehicle shuts {door}", what=[door])

    def ignite(self, on: bool = True) -> None:
        """Turn the key."""
        self.set(ignition=on, key_inserted=on)

    def set(self, **truth: Any) -> None:
        """Set attributes of the truth."""
        said = ", ".join(f"{name}={value}" for name, value in truth.items())
        plain = {name: sorted(value) if isinstance(value, set | frozenset) else value for name, value in truth.items()}
        self._control.call("PATCH", "/truth", f"the vehicle is set: {said}", **plain)
