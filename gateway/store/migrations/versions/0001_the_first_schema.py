"""The first schema."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
DOCUMENT = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")


def upgrade() -> None:
    """Everything, from nothing."""
    op.create_table(
        "commands",
        sa.Column("id", NUMBER, autoincrement=True, nullable=False),
        sa.Column("vehicle_id", sa.String(5), nullable=False),
        sa.Column("fleet_id", sa.String(32), nullable=False),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("client", sa.Text(), nullable=False),
        sa.Column("flow_id", sa.String(64), nullable=False),
        sa.Column("idempotency_key", sa.String(255)),
        sa.Column("counter", NUMBER, nullable=False),
        sa.Column("payload", sa.LargeBinary(), nullable=False),
        sa.Column("asked_at", NUMBER, nullable=False),
        sa.Column("finished_at", NUMBER),
        sa.Column("status", sa.Integer()),
        sa.Column("reason", sa.Text()),
        sa.Column("state", DOCUMENT),
        sa.PrimaryKeyConstraint("id", name="pk_commands"),
    )
    op.create_index("ix_commands_asked_at", "commands", ["asked_at"])
    op.create_index("ix_commands_fleet_id_id", "commands", ["fleet_id", "id"])
    op.create_index("ix_commands_vehicle_id_counter", "commands", ["vehicle_id", "counter"])
    op.create_index("ix_commands_vehicle_id_idempotency_key", "commands", ["vehicle_id", "idempotency_key"])

    op.create_table(
        "event_log",
        sa.Column("seq", NUMBER, autoincrement=True, nullable=False),
        sa.Column("event_id", sa.String(36), nullable=False),
        sa.Column("fleet_id", sa.String(32), nullable=False),
        sa.Column("type", sa.String(64), nullable=False),
        sa.Column("vehicle_id", sa.String(5), nullable=False),
        sa.Column("routing_key", sa.Text(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("recorded_at", NUMBER, nullable=False),
        sa.PrimaryKeyConstraint("seq", name="pk_event_log"),
        sa.UniqueConstraint("event_id", name="uq_event_log_event_id"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_event_log_fleet_id_seq", "event_log", ["fleet_id", "seq"])
    op.create_index("ix_event_log_recorded_at", "event_log", ["recorded_at"])

    op.create_table(
        "fleets",
        sa.Column("fleet_id", sa.String(32), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("trip_trigger", sa.String(32), server_default="DRIVING_ENABLED", nullable=False),
        sa.Column("created_at", NUMBER, nullable=False),
        sa.PrimaryKeyConstraint("fleet_id", name="pk_fleets"),
    )
    op.create_table(
        "outbox",
        sa.Column("id", NUMBER, autoincrement=True, nullable=False),
        sa.Column("event_id", sa.String(36), nullable=False),
        sa.Column("type", sa.String(64), nullable=False),
        sa.Column("flow_id", sa.String(64), nullable=False),
        sa.Column("occurred_at", NUMBER, nullable=False),
        sa.Column("recorded_at", NUMBER, nullable=False),
        sa.Column("fleet_id", sa.String(32), nullable=False),
        sa.Column("vehicle_id", sa.String(5), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_outbox"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "quarantine",
        sa.Column("id", NUMBER, autoincrement=True, nullable=False),
        sa.Column("fleet_id", sa.String(32)),
        sa.Column("vehicle_id", sa.String(5)),
        sa.Column("brand", sa.String(64), nullable=False),
        sa.Column("telematics_unit_id", sa.Text(), nullable=False),
        sa.Column("reason", sa.String(32), nullable=False),
        sa.Column("offset", sa.Integer(), nullable=False),
        sa.Column("field", sa.Text(), nullable=False),
        sa.Column("at", NUMBER, nullable=False),
        sa.Column("size_bytes", sa.Integer(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_quarantine"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_quarantine_fleet_id_id", "quarantine", ["fleet_id", "id"])

    op.create_table(
        "vehicles",
        sa.Column("vehicle_id", sa.String(5), nullable=False),
        sa.Column("fleet_id", sa.String(32), nullable=False),
        sa.Column("brand", sa.String(64), nullable=False),
        sa.Column("telematics_unit_id", sa.String(255), nullable=False),
        sa.Column("vehicle_model_id", sa.String(26), nullable=False),
        sa.Column("master_data", DOCUMENT, nullable=False),
        sa.Column("custom_fields", DOCUMENT, nullable=False),
        sa.Column("tags", DOCUMENT, nullable=False),
        sa.Column("search", sa.Text(), nullable=False),
        sa.Column("operation_status", sa.String(32), nullable=False),
        sa.Column("rental_status", sa.String(32), nullable=False),
        sa.Column("created_at", NUMBER, nullable=False),
        sa.Column("modified_at", NUMBER, nullable=False),
        sa.Column("archived_at", NUMBER),
        sa.Column("revision", sa.Integer(), server_default="1", nullable=False),
        sa.ForeignKeyConstraint(["fleet_id"], ["fleets.fleet_id"], name="fk_vehicles_fleet_id"),
        sa.PrimaryKeyConstraint("vehicle_id", name="pk_vehicles"),
    )
    op.create_index("ix_vehicles_archived_at", "vehicles", ["archived_at"])
    op.create_index("ix_vehicles_brand_telematics_unit_id", "vehicles", ["brand", "telematics_unit_id"])
    op.create_index("ix_vehicles_fleet_id_created_at_vehicle_id", "vehicles", ["fleet_id", "created_at", "vehicle_id"])

    op.create_table(
        "memories",
        sa.Column("vehicle_id", sa.String(5), nullable=False),
        sa.Column("online", sa.Boolean(), nullable=False),
        sa.Column("online_changed_at", NUMBER),
        sa.Column("last_contact_at", NUMBER),
        sa.Column("firmware", sa.Text()),
        sa.Column("facts", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["vehicle_id"], ["vehicles.vehicle_id"], name="fk_memories_vehicle_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("vehicle_id", name="pk_memories"),
    )
    op.create_index("ix_memories_online", "memories", ["online"])

    op.create_table(
        "units",
        sa.Column("brand", sa.String(64), nullable=False),
        sa.Column("telematics_unit_id", sa.String(255), nullable=False),
        sa.Column("vehicle_id", sa.String(5)),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("previous_generation", sa.Integer()),
        sa.Column("counter", NUMBER, server_default="0", nullable=False),
        sa.ForeignKeyConstraint(["vehicle_id"], ["vehicles.vehicle_id"], name="fk_units_vehicle_id"),
        sa.PrimaryKeyConstraint("brand", "telematics_unit_id", name="pk_units"),
        sa.UniqueConstraint("vehicle_id", name="uq_units_vehicle_id"),
    )


def downgrade() -> None:
    """Back to nothing."""
    for table in ("units", "memories", "vehicles", "fleets", "commands", "outbox", "quarantine", "event_log"):
        op.drop_table(table)
