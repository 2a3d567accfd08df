"""The tables. Times are Unix milliseconds; ids of ours are text; what the gateway only carries along is JSON or bytes."""

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.sql.type_api import TypeEngine

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
    }
)

ARCHIVED = text("archived_at IS NOT NULL")

Number: TypeEngine[int] = BigInteger().with_variant(Integer(), "sqlite")
"""64 bits; SQLite numbers rows by itself only in columns of type INTEGER."""

Document = JSON().with_variant(JSONB(), "postgresql")

fleets = Table(
    "fleets",
    metadata,
    Column("fleet_id", String(32), primary_key=True),
    Column("name", Text, nullable=False),
    Column("trip_trigger", String(32), nullable=False, server_default="DRIVING_ENABLED"),
    Column("created_at", Number, nullable=False),
)

vehicles = Table(
    "vehicles",
    metadata,
    Column("vehicle_id", String(5), primary_key=True),
    Column("fleet_id", ForeignKey("fleets.fleet_id"), nullable=False),
    Column("brand", String(64), nullable=False),
    Column("telematics_unit_id", String(255), nullable=False),
    Column("vehicle_model_id", String(26), nullable=False),
    Column("master_data", Document, nullable=False),
    Column("custom_fields", Document, nullable=False),
    Column("tags", Document, nullable=False),
    Column("search", Text, nullable=False),
    Column("operation_status", String(32), nullable=False),
    Column("rental_status", String(32), nullable=False),
    Column("created_at", Number, nullable=False),
    Column("modified_at", Number, nullable=False),
    Column("archived_at", Number),
    Column("revision", Integer, nullable=False, server_default="1"),
    Column("number", Number, nullable=False, server_default="0"),
    Column("replacements", Integer, nullable=False, server_default="0"),
    Column("rental_trip", Document),
    Index(None, "number", unique=True),
    Index(None, "brand", "telematics_unit_id"),
    Index(None, "archived_at", sqlite_where=ARCHIVED, postgresql_where=ARCHIVED),
)
"""`brand` and `telematics_unit_id` name the unit that the vehicle has, or had when it was archived.

`search` is what people may look for: the values of master data and custom fields, folded to one case, one a line.
`number` is the order in which vehicles were added; lists follow it. `replacements` counts the units before this one.
`rental_trip` is the trip that a rental has begun. The index on `archived_at` leaves out who is not archived: a planner that knows
nothing of the rows takes "not archived" for the rarer thing, and would walk through all live vehicles to find one by its id.
"""

vehicle_labels = Table(
    "vehicle_labels",
    metadata,
    Column("fleet_id", String(32), nullable=False),
    Column("archived", Boolean, nullable=False),
    Column("label", Text, nullable=False),
    Column("number", Number, nullable=False),
    PrimaryKeyConstraint("fleet_id", "archived", "label", "number"),
    Index(None, "number"),
    sqlite_with_rowid=False,
)
"""What lists are narrowed by, one row a vehicle and label (`tag:airport`): any page of any filter is one walk along one index."""

SEARCH = "vehicle_search"
"""SQLite's trigram index over `vehicles.search` (FTS5, external content, kept by triggers); its rowid is `vehicles.number`."""

units = Table(
    "units",
    metadata,
    Column("brand", String(64), nullable=False),
    Column("telematics_unit_id", String(255), nullable=False),
    Column("vehicle_id", ForeignKey("vehicles.vehicle_id"), unique=True),
    Column("generation", Integer, nullable=False),
    Column("previous_generation", Integer),
    Column("counter", Number, nullable=False, server_default="0"),
    PrimaryKeyConstraint("brand", "telematics_unit_id"),
)
"""Every unit that was ever attached. It outlives its vehicles: its key generation and its command counter never go back."""

memories = Table(
    "memories",
    metadata,
    Column("vehicle_id", ForeignKey("vehicles.vehicle_id", ondelete="CASCADE"), primary_key=True),
    Column("online", Boolean, nullable=False),
    Column("online_changed_at", Number),
    Column("last_contact_at", Number),
    Column("firmware", Text),
    Column("facts", LargeBinary, nullable=False),
    Index(None, "online"),
)
"""What a vehicle's unit has said so far, one row a vehicle: the columns are what lists show, `facts` all of it (MessagePack)."""

commands = Table(
    "commands",
    metadata,
    Column("id", Number, primary_key=True, autoincrement=True),
    Column("vehicle_id", String(5), nullable=False),
    Column("fleet_id", String(32), nullable=False),
    Column("name", String(64), nullable=False),
    Column("client", Text, nullable=False),
    Column("flow_id", String(64), nullable=False),
    Column("idempotency_key", String(255)),
    Column("counter", Number, nullable=False),
    Column("payload", LargeBinary, nullable=False),
    Column("asked_at", Number, nullable=False),
    Column("finished_at", Number),
    Column("status", Integer),
    Column("reason", Text),
    Column("state", Document),
    Index(None, "vehicle_id", "idempotency_key"),
    Index(None, "vehicle_id", "counter"),
    Index(None, "fleet_id", "id"),
    Index(None, "vehicle_id", "id"),
    Index(None, "asked_at"),
)
"""Who asked which command, when, with which bytes, and what came of it."""

outbox = Table(
    "outbox",
    metadata,
    Column("id", Number, primary_key=True, autoincrement=True),
    Column("event_id", String(36), nullable=False),
    Column("type", String(64), nullable=False),
    Column("flow_id", String(64), nullable=False),
    Column("occurred_at", Number, nullable=False),
    Column("recorded_at", Number, nullable=False),
    Column("fleet_id", String(32), nullable=False),
    Column("vehicle_id", String(5), nullable=False),
    Column("body", LargeBinary, nullable=False),
    sqlite_autoincrement=True,
)
"""Events that were born here and are not yet confirmed. A row goes when its event is."""

quarantine = Table(
    "quarantine",
    metadata,
    Column("id", Number, primary_key=True, autoincrement=True),
    Column("fleet_id", String(32)),
    Column("vehicle_id", String(5)),
    Column("brand", String(64), nullable=False),
    Column("telematics_unit_id", Text, nullable=False),
    Column("reason", String(32), nullable=False),
    Column("offset", Integer, nullable=False),
    Column("field", Text, nullable=False),
    Column("at", Number, nullable=False),
    Column("size_bytes", Integer, nullable=False),
    Column("data", LargeBinary, nullable=False),
    Index(None, "fleet_id", "id"),
    sqlite_autoincrement=True,
)
"""Frames that were refused. Those of units that nobody has attached belong to no fleet."""

event_log = Table(
    "event_log",
    metadata,
    Column("seq", Number, primary_key=True, autoincrement=True),
    Column("event_id", String(36), nullable=False, unique=True),
    Column("fleet_id", String(32), nullable=False),
    Column("type", String(64), nullable=False),
    Column("vehicle_id", String(5), nullable=False),
    Column("routing_key", Text, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("recorded_at", Number, nullable=False),
    Index(None, "fleet_id", "seq"),
    Index(None, "recorded_at"),
    sqlite_autoincrement=True,
)
"""The local event log, where no RabbitMQ keeps one."""

event_consumers = Table(
    "event_consumers",
    metadata,
    Column("consumer_id", String(32), primary_key=True),
    Column("fleet_id", ForeignKey("fleets.fleet_id"), nullable=False),
    Column("name", Text, nullable=False),
    Column("topics", Document, nullable=False),
    Column("password_hash", Text, nullable=False),
    Column("created_at", Number, nullable=False),
    Column("rotated_at", Number, nullable=False),
    Index(None, "fleet_id", "created_at"),
)
"""Who reads events from RabbitMQ. `password_hash` is in RabbitMQ's form: a user that it has lost is made again from it."""

clients = Table(
    "clients",
    metadata,
    Column("client_id", String(32), primary_key=True),
    Column("fleet_id", ForeignKey("fleets.fleet_id"), nullable=False),
    Column("name", Text, nullable=False),
    Column("scopes", Document, nullable=False),
    Column("secret_hash", Text, nullable=False),
    Column("created_at", Number, nullable=False),
    Column("rotated_at", Number, nullable=False),
    Index(None, "fleet_id", "created_at"),
)
"""Who may use the API. `secret_hash` is salted scrypt: the secret itself is known to the client alone."""
