"""A laboratory is a broker, a RabbitMQ and a gateway that work together, and nothing of it is left behind."""

from pathlib import Path

import httpx2
import pytest

from bench import lab
from bench.lab import LabError, laboratory, listens, programs


def test_an_embedded_laboratory_is_ready_and_gone_afterwards(tmp_path: Path) -> None:
    with laboratory(tmp_path / "lab", "embedded") as whole:
        assert httpx2.get(whole.url + "/healthz").status_code == 200
        assert whole.amqp_url is None
        port = int(whole.units_broker.rsplit(":", 1)[1])
        assert listens(port)
    assert not listens(port)


def test_what_is_not_installed_is_said_in_one_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(programs, "search_path", lambda: "/nowhere")
    with pytest.raises(LabError, match="mosquitto is not installed: please install mosquitto"), lab.mosquitto(tmp_path / "m"):
        pass
    with pytest.raises(LabError, match="please install rabbitmq-server"), lab.rabbitmq(tmp_path / "r"):
        pass


def test_an_unknown_laboratory_is_refused_with_those_that_are_known(tmp_path: Path) -> None:
    with pytest.raises(LabError, match=r"mosquitto\+rabbitmq"), laboratory(tmp_path / "lab", "kafka"):
        pass
