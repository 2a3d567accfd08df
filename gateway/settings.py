"""Settings: flag, then environment, then `teleloop.toml` in the working folder, then default. Names as in the contract."""

import os
from pathlib import Path
from typing import Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

SETTINGS_FILE = "teleloop.toml"
BrokerKind = Literal["embedded", "mosquitto", "http", "none"]


class Settings(BaseSettings):
    """What a gateway needs to know. Each is a flag, an environment variable `TELELOOP_...`, or a key of teleloop.toml."""

    model_config = SettingsConfigDict(env_prefix="TELELOOP_", toml_file=SETTINGS_FILE, extra="ignore")

    http: str = Field("127.0.0.1:8080", description="address of the REST API and the page, host:port")
    mqtt_url: str | None = Field(None, description="the units' broker, mqtt://user:secret@host:port or mqtts://")
    mqtt_port: int = Field(1883, ge=0, le=65535, description="port of the embedded broker; a free one if it is taken")
    broker: BrokerKind = Field("embedded", description="how device logins reach the broker")
    amqp_url: str | None = Field(None, description="RabbitMQ, amqp://user:password@host:port/vhost; none: a local event log")
    amqp_management_url: str | None = Field(
        None, repr=False, description="RabbitMQ's management API, http://user:password@host:15672; none: beside `amqp_url`"
    )
    event_log: Literal["unrouted", "all"] = Field("unrouted", description="what RabbitMQ's stream `events.log` keeps")
    database_url: str | None = Field(None, description="the store; none: SQLite in the data folder")
    data: Path = Field(Path(".teleloop"), description="data folder, made at first start for its owner alone")
    provisioning_key_file: Path | None = Field(None, description="the key that all units' keys come from; made at first start")
    token: str | None = Field(None, repr=False, description="the API token; none: made at first start, in the data folder")
    trust_broker: bool = Field(False, description="allow brands without a seal: the broker's topic rules vouch for them")
    broker_auth_secret: str | None = Field(
        None, repr=False, description="what a broker that asks over HTTP shows; none: made at first start, in the data folder"
    )
    broker_management_url: str | None = Field(
        None,
        repr=False,
        description="management API of a broker that asks over HTTP, to end sessions: RabbitMQ, EMQX (.../api/v5)",
    )
    tcp_teltonika: str | None = Field(None, description="where Teltonika units connect over TCP: host:port, or a loopback port")
    tcp_gbt32960: str | None = Field(None, description="where GB/T 32960 units connect over TCP: host:port, or a loopback port")
    trust_tcp: bool = Field(False, description="believe what units say of themselves over TCP: the network vouches for them")
    mosquitto_password_file: Path | None = Field(None, description="of a Mosquitto whose logins the gateway keeps")
    mosquitto_acl_file: Path | None = Field(None, description="of a Mosquitto whose logins the gateway keeps")
    mosquitto_pid_file: Path | None = Field(None, description="of a Mosquitto whose logins the gateway keeps")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Flags, environment, file - in this order."""
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls)

    @field_validator("http")
    @classmethod
    def _is_an_address(cls, said: str) -> str:
        parts = urlsplit(f"//{said}")
        if not parts.hostname or parts.port is None:
            raise ValueError("host:port is wanted, for example 127.0.0.1:8080")
        return said

    @field_validator("tcp_teltonika", "tcp_gbt32960")
    @classmethod
    def _is_a_listener(cls, said: str | None) -> str | None:
        if not said:
            return None
        return cls._is_an_address(f"127.0.0.1:{said}" if said.isdecimal() else said)

    @field_validator("mqtt_url")
    @classmethod
    def _is_a_broker(cls, said: str | None) -> str | None:
        if said and (urlsplit(said).scheme not in ("mqtt", "mqtts") or not urlsplit(said).hostname):
            raise ValueError("mqtt://user:secret@host:port or mqtts://... is wanted")
        return said or None

    @field_validator("amqp_url", "amqp_management_url", "broker_auth_secret", "broker_management_url", "database_url", "token")
    @classmethod
    def _empty_is_none(cls, said: str | None) -> str | None:
        return said or None

    @model_validator(mode="after")
    def _is_complete(self) -> Self:
        if self.mqtt_url is None and self.broker != "embedded":
            raise ValueError(f"TELELOOP_BROKER={self.broker} needs TELELOOP_MQTT_URL: the broker is not ours to start")
        files = (self.mosquitto_password_file, self.mosquitto_acl_file, self.mosquitto_pid_file)
        if self.broker == "mosquitto" and None in files:
            raise ValueError("TELELOOP_BROKER=mosquitto needs TELELOOP_MOSQUITTO_PASSWORD_FILE, _ACL_FILE and _PID_FILE")
        if self.broker == "embedded" and self.mqtt_url is not None:
            self.broker = "none"
        return self

    @property
    def http_host(self) -> str:
        """Where the API listens."""
        return urlsplit(f"//{self.http}").hostname or "127.0.0.1"

    @property
    def http_port(self) -> int:
        """Where the API listens; 0 takes a free port."""
        return urlsplit(f"//{self.http}").port or 0

    @property
    def tcp_addresses(self) -> dict[str, tuple[str, int]]:
        """Where units connect over TCP: host and port by protocol."""
        said = {"teltonika": self.tcp_teltonika, "gbt32960": self.tcp_gbt32960}
        split = {protocol: urlsplit(f"//{address}") for protocol, address in said.items() if address}
        return {protocol: (parts.hostname or "127.0.0.1", parts.port or 0) for protocol, parts in split.items()}

    @property
    def store_url(self) -> str:
        """The database's URL."""
        return self.database_url or f"sqlite:///{self.data / 'teleloop.sqlite'}"

    @property
    def provisioning_key_path(self) -> Path:
        """Where the provisioning key stands."""
        return self.provisioning_key_file or self.data / "provisioning.key"

    @property
    def token_path(self) -> Path:
        """Where the API token stands that was made at first start."""
        return self.data / "api-token"

    @property
    def broker_auth_secret_path(self) -> Path:
        """Where the secret of brokers stands that was made at first start."""
        return self.data / "broker-auth-secret"

    def prepare(self) -> None:
        """Make the data folder, for its owner alone. Raises OSError."""
        self.data.mkdir(parents=True, exist_ok=True, mode=0o700)
        os.chmod(self.data, 0o700)
