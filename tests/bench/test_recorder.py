"""A recorder and a replay on one open broker: what goes out comes in, byte for byte and in order."""

import asyncio
from pathlib import Path

import pytest

import modeldb
from bench.recorder import BrokerLogin, BrokerRefused, Recorder
from bench.recording import Recording, RecordingWriter
from bench.replay import Outlets, Replay, contents
from bench.replay_account import Account
from bench.rewrite import Rewriting, protocol_of
from lab.gateway import eventually
from lab.mosquitto import MosquittoBroker
from lab.process import free_port
from protocols.codec import UnitId
from protocols.recording import Record, block, header

AT = 1_795_446_000_000_000
UNITS = [UnitId("CLOUDBOXX", f"AB{place:014X}") for place in range(3)]


def made(path: Path, count: int) -> Recording:
    """Three units' payloads, and messages that are not theirs."""
    records = [
        Record(AT + 500_000 * place, f"v1/{UNITS[place % 3]}/{'presence' if place % 10 == 9 else 'up'}", b"%d" % place)
        for place in range(count)
    ]
    path.write_bytes(header({}) + block(records))
    return Recording(path)


async def test_what_is_replayed_by_one_login_is_recorded_again(mosquitto_broker: MosquittoBroker, tmp_path: Path) -> None:
    recording = made(tmp_path / "old.rec", 60)
    login, stop, account = BrokerLogin.parse(f"mqtt://all:secret@127.0.0.1:{mosquitto_broker.port}"), asyncio.Event(), Account()
    with RecordingWriter(tmp_path / "new.rec", {}) as writer:
        recorder = Recorder(login, writer, ["v1/CLOUDBOXX/+/up", "v1/CLOUDBOXX/+/presence"])
        recording_on = asyncio.Event()
        running = asyncio.create_task(recorder.run(stop, recording_on.set))
        await recording_on.wait()
        outlets = Outlets(login, account)
        await outlets.open_shared()
        found = contents(recording)
        assert found.skipped == {"presence": 6}
        assert found.seconds == pytest.approx(29)
        rewriting = Rewriting({}, {}, protocol_of(modeldb.load().brands))
        replay = Replay(recording, found, rewriting, outlets.of, account, speed=20)
        began = asyncio.get_running_loop().time()
        await replay.run(asyncio.Event())
        assert asyncio.get_running_loop().time() - began >= 29 / 20 - 0.1
        ups = [record for record in recording if record.channel == "up"]
        await eventually(lambda: recorder.heard.messages >= len(ups), what="all messages")
        await outlets.close()
        stop.set()
        await running
    again = list(Recording(tmp_path / "new.rec"))
    for unit in UNITS:
        said = [record.payload for record in ups if record.unit == unit]
        assert [record.payload for record in again if record.unit == unit] == said
    assert recorder.heard.interruptions == 0


async def test_a_recorder_comes_back_after_its_broker_and_counts_the_gap(tmp_path: Path) -> None:
    from lab.mosquitto import mosquitto

    port, stop = free_port(), asyncio.Event()
    with RecordingWriter(tmp_path / "a.rec", {}) as writer, mosquitto(tmp_path / "broker", port=port) as broker:
        recorder = Recorder(BrokerLogin.parse(f"mqtt://127.0.0.1:{port}"), writer)
        up = asyncio.Event()
        running = asyncio.create_task(recorder.run(stop, up.set))
        await up.wait()
        await asyncio.to_thread(broker.kill)
        await eventually(lambda: recorder.heard.interruptions == 1, what="the loss")
        await asyncio.to_thread(broker.start)
        await eventually(lambda: recorder._client is not None and recorder._client.is_connected, 30, "the recorder to be back")
        stop.set()
        await running


async def test_a_broker_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    with RecordingWriter(tmp_path / "a.rec", {}) as writer:
        recorder = Recorder(BrokerLogin.parse(f"mqtt://127.0.0.1:{free_port()}"), writer)
        with pytest.raises(BrokerRefused, match="cannot be reached"):
            await recorder.run(asyncio.Event())
