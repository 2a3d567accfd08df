"""What a full journal costs a unit: it captures, sends, and drops what is acknowledged, with so many frames waiting."""

import time

import modeldb
from devices.config import Intervals, UnitConfig
from devices.flash import Flash
from devices.switch import switch_on
from devices.vehicle import Vehicle
from protocols.cloudboxx import PROTOCOL
from protocols.codec import UnitId


def journal_cost_us(depth: int, reports: int = 300) -> float:
    """CPU microseconds a report of one unit whose journal holds `depth` frames all the time."""
    model = modeldb.load().available("CLOUDBOXX")[0]
    unit_id, key = UnitId("CLOUDBOXX", "0123456789ABCDEF"), bytes(32)
    config = UnitConfig(unit_id, model.units["CLOUDBOXX"], key, {1: key}, intervals=Intervals(1, 1, 3_600))
    flash = Flash.factory(0)
    unit = switch_on("cloudboxx", config, flash, Vehicle.of(model, "CLOUDBOXX", seed=1))
    now_ms = 1_795_446_000_000
    while len(flash.journal) < depth:
        unit.tick(now_ms)
        now_ms += 1_000
    unit.connected(now_ms)
    spent = 0.0
    for _ in range(reports):
        now_ms += 1_000
        oldest = next(iter(flash.journal), 0)
        ack = PROTOCOL.acknowledge(unit_id.telematics_unit_id, oldest, 0, now_ms, key)
        began = time.thread_time()
        unit.tick(now_ms)
        unit.receive(ack, now_ms)
        spent += time.thread_time() - began
    return 1e6 * spent / reports
