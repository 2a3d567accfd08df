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
        buckets = self._buckets
        known = buckets.get(unit)
        tokens = float(BURST)
        if known is not None:
            left, at = known
            if now_ms > at:
                left += (now_ms - at) * RATE_PER_S / 1000
            if left < tokens:
                tokens = left
        if len(buckets) > UNITS_REMEMBERED:
            buckets.clear()
        allowed = tokens >= 1
        buckets[unit] = (tokens - 1 if allowed else tokens, now_ms)
        return allowed
