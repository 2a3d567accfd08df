"""The API does what its OpenAPI document says, whoever asks for whatever (schemathesis)."""

import subprocess
import sys
from pathlib import Path

import pytest

from lab.gateway import gateway
from protocols.codec import UnitId

CONFIGURATION = """
[checks]
not_a_server_error.expected-statuses = ["2xx", "3xx", "4xx", 503, 504]
positive_data_acceptance.expected-statuses = ["2xx", 404, 409, 422, 503, 504]
# 413: what is too large is not looked at any further
negative_data_rejection.expected-statuses = [400, 401, 403, 404, 405, 406, 409, 413, 415, 422, 428, 429, 503, 504]

[auth.openapi.BrokerSecret]
api_key = "BROKER_SECRET"

[[operations]]
include-name = ["POST /oauth2/token"]
checks.positive_data_acceptance.expected-statuses = ["2xx", 400, 401]
checks.ignored_auth.enabled = false  # who asks for a token shows no token

[[operations]]
include-name = ["PATCH /vehicles/{vehicle_id}", "PUT /vehicles/{vehicle_id}/telematics-unit"]
checks.positive_data_acceptance.expected-statuses = ["2xx", 404, 409, 412, 422]

[[operations]]
include-name = ["GET /vehicles", "GET /latest-vehicle-states"]
checks.positive_data_acceptance.expected-statuses = ["2xx", 400]  # cursors are ours alone to make
"""

SEED = 1


def keeps_its_word(folder: Path, examples: int) -> None:
    configuration = folder / "schemathesis.toml"
    schemathesis = Path(sys.executable).with_name("schemathesis")
    with gateway(folder / "gateway") as process:
        secret = (process.data / "broker-auth-secret").read_text().strip()
        configuration.write_text(CONFIGURATION.replace("BROKER_SECRET", secret))
        model = process.call("GET", "/telematics-brands/CLOUDBOXX/available-vehicle-models").json()["items"][0]
        for number in range(3):
            process.add(UnitId("CLOUDBOXX", f"{number:016X}"), model["id"])
        command = [
            str(schemathesis), "--config-file", str(configuration),
            "run", f"{process.url}/openapi.json", "--header", f"Authorization: Bearer {process.token}",
            "--exclude-path", "/events", "--max-examples", str(examples), "--seed", str(SEED), "--no-color",
        ]  # fmt: skip
        ran = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        assert ran.returncode == 0, "\n".join(line[:2_000] for line in ran.stdout.splitlines())[-20_000:]
        assert process.running
        assert "Traceback" not in process.output


@pytest.mark.timeout(300)
def test_every_answer_is_as_specified(tmp_path: Path) -> None:
    keeps_its_word(tmp_path, 2)


@pytest.mark.night
def test_every_answer_is_as_specified_in_thousands_of_cases(tmp_path: Path) -> None:
    keeps_its_word(tmp_path, 200)
