"""The documents of the API, as OpenAPI shows them."""

from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, create_model

from gateway.registry.record import OperationStatus, RentalStatus
from modeldb.vocabulary import PROPERTIES, Property, VehicleType

T = TypeVar("T")

Moment = Annotated[str, Field(examples=["2026-01-30T13:22:05Z"], json_schema_extra={"format": "date-time"})]
Text = Annotated[str, StringConstraints(max_length=1_000, pattern=r"^[^\x00]*$")]
Word = Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=r"^[^\x00]+$")]
FleetId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,32}$")]
"""A word of AMQP routing keys."""


def _whole(said: Any) -> Any:
    """1.0 is an integer in JSON."""
    return int(said) if isinstance(said, float) and said.is_integer() else said


WholeNumber = Annotated[int, Field(strict=True, ge=-(2**53) + 1, le=2**53 - 1)]
Year = Annotated[int, Field(strict=True, ge=1900, le=2200), BeforeValidator(_whole)]
Fraction = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Scalar = Annotated[bool, Field(strict=True)] | WholeNumber | Fraction | Text | None
LifeStatusValue = Literal["ONLINE", "OFFLINE"]

FIELDS_LIMIT = 50


class MasterData(BaseModel):
    """What people call the vehicle; further text fields of your own are welcome, 50 in all."""

    model_config = ConfigDict(
        extra="allow",
        json_schema_extra={
            "maxProperties": FIELDS_LIMIT,
            "propertyNames": {"minLength": 1, "maxLength": 64, "pattern": r"^[^\x00]+$"},
        },
    )
    __pydantic_extra__: dict[Word, Text] = Field(init=False)

    vin: Annotated[str, StringConstraints(pattern=r"^[A-HJ-NPR-Z0-9]{17}$")] | None = None
    license_plate: Text | None = None
    brand: Text | None = None
    model: Text | None = None
    custom_name: Text | None = None
    remark: Text | None = None


class VehicleRequest(BaseModel):
    """A vehicle to add. Its model: `vehicle_model_id`, or `vehicle_model` and `year`."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "telematics_brand": "CLOUDBOXX",
                    "telematics_unit_id": "0123456789ABCDEF",
                    "vehicle_model": "Volkswagen Golf",
                    "year": 2021,
                    "master_data": {"license_plate": "HH-TL 1"},
                    "tags": ["airport"],
                }
            ]
        },
    )

    telematics_brand: Word
    telematics_unit_id: Word
    vehicle_model_id: Word | None = None
    vehicle_model: Word | None = None
    year: Year | None = None
    master_data: MasterData = MasterData()
    custom_fields: Annotated[dict[Word, Scalar], Field(max_length=FIELDS_LIMIT)] = {}
    tags: Annotated[list[Word], Field(max_length=FIELDS_LIMIT)] = []
    operation_status: OperationStatus = "OPERATING"


def _undefaulted(schema: dict[str, Any]) -> None:
    """What is left out of a patch stays as it is: there is no default to tell."""
    schema.pop("default", None)


Untold: Any = Field(default=None, json_schema_extra=_undefaulted)
"""A field of a patch that may be left out."""


class MasterDataPatch(MasterData):
    """Master data to change; null removes a field."""

    __pydantic_extra__: dict[Word, Text | None] = Field(init=False)  # type: ignore[assignment]


class VehiclePatch(BaseModel):
    """A JSON merge patch (RFC 7396) of a vehicle: what is left out stays, null removes."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [{"master_data": {"remark": "winter tyres", "custom_name": None}, "tags": ["airport", "winter"]}]
        },
    )

    master_data: MasterDataPatch | None = Untold
    custom_fields: Annotated[dict[Word, Scalar], Field(max_length=FIELDS_LIMIT)] | None = Untold
    tags: Annotated[list[Word], Field(max_length=FIELDS_LIMIT)] | None = Untold
    operation_status: OperationStatus | None = Untold


class RentalRequest(BaseModel):
    """Whether the vehicle is in rental."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"rental_status": "IN_RENTAL"}]})

    rental_status: RentalStatus


class UnitRequest(BaseModel):
    """The unit that a vehicle gets. Its model stays, unless one is said as for a new vehicle."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"telematics_brand": "CLOUDBOXX", "telematics_unit_id": "0123456789ABCDEF"}]},
    )

    telematics_brand: Word
    telematics_unit_id: Word
    vehicle_model_id: Word | None = None
    vehicle_model: Word | None = None
    year: Year | None = None


class TokenAnswer(BaseModel):
    """RFC 6749, section 5.1."""

    access_token: str
    token_type: Literal["Bearer"]
    expires_in: int = Field(description="seconds", examples=[900])
    scope: str = Field(examples=["vehicles vehicle-commands"])


class TokenRefusal(BaseModel):
    """RFC 6749, section 5.2, and RFC 9457 in one."""

    error: Literal["invalid_request", "invalid_client", "unsupported_grant_type", "invalid_scope"]
    error_description: str
    type: str = Field(examples=["urn:teleloop:problem:invalid_client"])
    title: str
    status: int
    reason: str
    detail: str
    flow_id: str


class ModelChoice(BaseModel):
    """The model of a vehicle whose unit is known already."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"vehicle_model": "Golf", "year": 2021}]})

    vehicle_model_id: Word | None = None
    vehicle_model: Word | None = None
    year: Year | None = None


class TelematicsUnit(BaseModel):
    """The unit in the vehicle."""

    id: str = Field(examples=["0123456789ABCDEF"])
    brand: str = Field(examples=["CLOUDBOXX"])
    model: str | None
    firmware: str | None = Field(examples=["4.7.1"])
    last_contact_at: Moment | None


class ModelOfVehicle(BaseModel):
    """The vehicle's model in short."""

    id: str = Field(examples=["01KDY02100WWF65J1P3T457K26"])
    brand: str | None = Field(examples=["Volkswagen"])
    name: str | None = Field(examples=["Golf"])
    type: VehicleType | None
    start_of_production: str | None = Field(examples=["2020-01-01"])


class Capabilities(BaseModel):
    """What the vehicle can do and report."""

    commands: list[str] = Field(examples=[["lock-central-lock", "unlock-central-lock"]])
    vehicle_state: list[str] = Field(examples=[["CENTRAL_LOCK", "POSITION"]])


class LifeStatus(BaseModel):
    """Whether the unit is heard of, and since when that is so."""

    value: LifeStatusValue
    modified_at: Moment


class Vehicle(BaseModel):
    """A vehicle."""

    id: str = Field(examples=["K7QWE"])
    fleet_id: str
    status: Literal["ACTIVE", "ARCHIVED"]
    telematics_unit: TelematicsUnit
    model: ModelOfVehicle
    capabilities: Capabilities
    master_data: dict[str, str | None]
    custom_fields: dict[str, Any]
    tags: list[str]
    life_status: LifeStatus
    operation_status: OperationStatus
    rental_status: RentalStatus
    created_at: Moment
    modified_at: Moment
    archived_at: Moment | None


class Credentials(BaseModel):
    """What the unit needs to log in, to seal its frames and to know its commands. Shown once, kept nowhere."""

    user_name: str = Field(examples=["CLOUDBOXX/0123456789ABCDEF"])
    password: str
    seal_key: str = Field(description="hexadecimal")
    command_key: str = Field(description="hexadecimal")
    generation: int


class AddedVehicle(Vehicle):
    """A vehicle just added, with its unit's credentials."""

    credentials: Credentials
    warnings: list[str] = []


class ProblemDocument(BaseModel):
    """RFC 9457 problem details. `reason` is a word for programs."""

    model_config = ConfigDict(extra="allow")

    type: str = Field(examples=["urn:teleloop:problem:unit_taken"])
    title: str
    status: int
    reason: str = Field(examples=["unit_taken"])
    detail: str | None = None
    flow_id: str


class BulkItem(BaseModel):
    """What came of one of many."""

    status: int = Field(examples=[201])
    vehicle: AddedVehicle | None = None
    problem: ProblemDocument | None = None


class Bulk(BaseModel):
    """What came of each, in the order asked."""

    items: list[BulkItem]


class Page(BaseModel, Generic[T]):
    """Some of many; `next_cursor` asks for those after them, null: there are none."""

    items: list[T]
    next_cursor: str | None = None


class TelematicsBrand(BaseModel):
    """A brand of telematics units."""

    name: str = Field(examples=["CLOUDBOXX"])
    kind: Literal["AFTERMARKET", "OEM"]
    protocol: str
    unit_id: str = Field(description="what a unit id looks like, in words")
    unit_id_pattern: str
    credential: str
    heartbeat_s: int
    sealed: bool
    commands: list[str]


class UnitCapabilities(Capabilities):
    """What a vehicle of the model can do and report behind units of one brand."""

    telematics_brand: str


class VehicleModel(BaseModel):
    """A vehicle model in one production span."""

    id: str
    brand: str = Field(examples=["Volkswagen"])
    name: str = Field(examples=["Golf"])
    type: VehicleType
    start_of_production: str
    end_of_production: str | None
    regions: list[str]
    version: int
    units: list[UnitCapabilities]


class Position(BaseModel):
    """WGS84, degrees."""

    lat: float = Field(ge=-90, le=90)
    lon: float = Field(ge=-180, le=180)


class QuarantinedUnit(BaseModel):
    """Who the topic said it was from."""

    brand: str
    id: str


class QuarantinedFrame(BaseModel):
    """A refused frame."""

    id: int
    at: Moment
    telematics_unit: QuarantinedUnit
    vehicle_id: str | None
    reason: str = Field(examples=["unknown_unit"])
    offset: int = Field(description="byte of the payload where it showed")
    field: str
    size_bytes: int
    data: str = Field(description="hexadecimal, the first 2,048 bytes")


class Ticket(BaseModel):
    """Lets a browser listen to events for as long as it lasts."""

    ticket: str
    expires_at: Moment


class Readiness(BaseModel):
    """Whether the gateway can do its work, and each thing that it needs for it."""

    ready: bool
    dependencies: dict[str, bool]


class NotReady(ProblemDocument):
    """What cannot be worked with, as a problem."""

    ready: Literal[False]
    dependencies: dict[str, bool]


def _value_type(known: Property) -> Any:
    match known.kind:
        case "enum" | "lamp":
            return Literal[known.values]
        case "bool":
            return bool
        case "integer":
            return Annotated[int, Field(ge=known.low, le=known.high)]
        case "position":
            return Position
        case "date":
            return Annotated[str, Field(json_schema_extra={"format": "date"})]
        case _:
            return Annotated[float, Field(ge=known.low, le=known.high)]


def _property(known: Property) -> Any:
    name = "".join(word.capitalize() for word in known.key.split("_"))
    value = (_value_type(known), Field(description=f"in {known.unit}" if known.unit else None))
    return create_model(name, __doc__=f"{known.capability}, and when the unit captured it.", timestamp=(Moment, ...), value=value)


_every_property: dict[str, Any] = {key: (_property(known), Field(default=None)) for key, known in PROPERTIES.items()}

VehicleState: type[BaseModel] = create_model(
    "VehicleState",
    __doc__="The newest value of each property, each with its own timestamp. What was never reported is left out.",
    **_every_property,
)


class StateOfVehicle(BaseModel):
    """A vehicle's state, in a list."""

    vehicle_id: str
    vehicle_state: VehicleState  # type: ignore[valid-type]
