"""Clients; labels and a trigram index, so that lists are narrowed and searched without looking at every vehicle."""

import hashlib
import json
from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
DOCUMENT = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
PORTION = 1_000

NUMBER_VEHICLES = """
UPDATE vehicles SET number = counted.number
FROM (SELECT vehicle_id, row_number() OVER (ORDER BY created_at, vehicle_id) AS number FROM vehicles) AS counted
WHERE counted.vehicle_id = vehicles.vehicle_id
"""

TRIGRAMS = (
    "CREATE VIRTUAL TABLE vehicle_search USING fts5(search, content='vehicles', content_rowid='number', tokenize='trigram')",
    "CREATE TRIGGER vehicle_search_insert AFTER INSERT ON vehicles BEGIN "
    "INSERT INTO vehicle_search(rowid, search) VALUES (new.number, new.search); END",
    "CREATE TRIGGER vehicle_search_delete AFTER DELETE ON vehicles BEGIN "
    "INSERT INTO vehicle_search(vehicle_search, rowid, search) VALUES ('delete', old.number, old.search); END",
    "CREATE TRIGGER vehicle_search_update AFTER UPDATE OF search ON vehicles BEGIN "
    "INSERT INTO vehicle_search(vehicle_search, rowid, search) VALUES ('delete', old.number, old.search); "
    "INSERT INTO vehicle_search(rowid, search) VALUES (new.number, new.search); END",
    "INSERT INTO vehicle_search(vehicle_search) VALUES ('rebuild')",
)

vehicles = sa.table(
    "vehicles",
    *(sa.column(name) for name in ("vehicle_id", "fleet_id", "brand", "vehicle_model_id", "operation_status", "archived_at")),
    sa.column("number"),
    sa.column("tags", DOCUMENT),
    sa.column("custom_fields", DOCUMENT),
)
memories = sa.table("memories", sa.column("vehicle_id"), sa.column("online"))


def upgrade() -> None:
    """The table of clients; vehicles numbered, labelled and searchable."""
    op.create_table(
        "clients",
        sa.Column("client_id", sa.String(32), nullable=False),
        sa.Column("fleet_id", sa.String(32), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("scopes", DOCUMENT, nullable=False),
        sa.Column("secret_hash", sa.Text(), nullable=False),
        sa.Column("created_at", NUMBER, nullable=False),
        sa.Column("rotated_at", NUMBER, nullable=False),
        sa.ForeignKeyConstraint(["fleet_id"], ["fleets.fleet_id"], name="fk_clients_fleet_id"),
        sa.PrimaryKeyConstraint("client_id", name="pk_clients"),
    )
    op.create_index("ix_clients_fleet_id_created_at", "clients", ["fleet_id", "created_at"])
    op.create_index("ix_commands_vehicle_id_id", "commands", ["vehicle_id", "id"])

    op.add_column("vehicles", sa.Column("number", NUMBER, server_default="0", nullable=False))
    op.add_column("vehicles", sa.Column("replacements", sa.Integer(), server_default="0", nullable=False))
    op.add_column("vehicles", sa.Column("rental_trip", DOCUMENT))
    op.execute(NUMBER_VEHICLES)
    op.create_index("ix_vehicles_number", "vehicles", ["number"], unique=True)
    op.drop_index("ix_vehicles_fleet_id_created_at_vehicle_id", "vehicles")
    labels = op.create_table(
        "vehicle_labels",
        sa.Column("fleet_id", sa.String(32), nullable=False),
        sa.Column("archived", sa.Boolean(), nullable=False),
        sa.Column("label", sa.Text(), nullable=False),
        sa.Column("number", NUMBER, nullable=False),
        sa.PrimaryKeyConstraint("fleet_id", "archived", "label", "number", name="pk_vehicle_labels"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_vehicle_labels_number", "vehicle_labels", ["number"])
    connection = op.get_bind()
    known = sa.select(vehicles, memories.c.online).select_from(
        vehicles.outerjoin(memories, memories.c.vehicle_id == vehicles.c.vehicle_id)
    )
    rows = [row for vehicle in connection.execute(known).all() for row in _labelled(vehicle)]
    for start in range(0, len(rows), PORTION):
        connection.execute(labels.insert(), rows[start : start + PORTION])
    if connection.dialect.name == "sqlite":
        for statement in TRIGRAMS:
            op.execute(statement)


def _labelled(vehicle: Any) -> Iterator[dict[str, Any]]:
    said = ["", f"brand:{vehicle.brand}", f"model:{vehicle.vehicle_model_id}", f"operation_status:{vehicle.operation_status}"]
    said.append(f"life_status:{'ONLINE' if vehicle.online else 'OFFLINE'}")
    said += [f"tag:{tag}" for tag in vehicle.tags]
    said += [f"custom:{name}:{_text(value)}" for name, value in vehicle.custom_fields.items()]
    for label in dict.fromkeys(_short(each) for each in said):
        archived = vehicle.archived_at is not None
        yield {"fleet_id": vehicle.fleet_id, "archived": archived, "label": label, "number": vehicle.number}


def _text(value: Any) -> str:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if isinstance(value, str) else json.dumps(value)


def _short(label: str) -> str:
    return label if len(label) <= 200 else "long:" + hashlib.sha256(label.encode()).hexdigest()


def downgrade() -> None:
    """Without clients, labels and trigrams."""
    if op.get_bind().dialect.name == "sqlite":
        for trigger in ("insert", "delete", "update"):
            op.execute(f"DROP TRIGGER vehicle_search_{trigger}")
        op.execute("DROP TABLE vehicle_search")
    op.drop_table("vehicle_labels")
    op.drop_index("ix_vehicles_number", "vehicles")
    op.create_index("ix_vehicles_fleet_id_created_at_vehicle_id", "vehicles", ["fleet_id", "created_at", "vehicle_id"])
    op.drop_column("vehicles", "number")
    op.drop_column("vehicles", "replacements")
    op.drop_column("vehicles", "rental_trip")
    op.drop_index("ix_commands_vehicle_id_id", "commands")
    op.drop_table("clients")
