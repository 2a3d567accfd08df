"""One loud unit cannot starve the others: a token bucket a unit, counted in payloads. Pure; time is an argument."""

from protocols.codec import UnitId

RATE_PER_S = 20
BURST = 100
UNITS_REMEMBERED = 100_000


class Throttle:
    """20 payloads a second and unit, bursts of 100. What it turns away the unit keeps, because it gets no Ack."""

    def __init__(self) -> None:
        self._buckets: dict[UnitId, tuple[float, int]] = {}

    def allows(self, unit: UnitId, now_ms: int) -> bool:
        """Whether this payload of `unit` may pass; passing takes a token."""
        tokens, at = self._buckets.get(unit, (float(BURST), now_ms))
        tokens = min(float(BURST), tokens + max(0, now_ms - at) * RATE_PER_S / 1000)
        allowed = tokens >= 1
        if len(self._buckets) > UNITS_REMEMBERED:
            self._buckets.clear()
        self._buckets[unit] = (tokens - 1 if allowed else tokens, now_ms)
        return allowed
