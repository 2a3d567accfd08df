"""Event consumers."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
DOCUMENT = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")


def upgrade() -> None:
    """The table of event consumers."""
    op.create_table(
        "event_consumers",
        sa.Column("consumer_id", sa.String(32), nullable=False),
        sa.Column("fleet_id", sa.String(32), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("topics", DOCUMENT, nullable=False),
        sa.Column("password_hash", sa.Text(), nullable=False),
        sa.Column("created_at", NUMBER, nullable=False),
        sa.Column("rotated_at", NUMBER, nullable=False),
        sa.ForeignKeyConstraint(["fleet_id"], ["fleets.fleet_id"], name="fk_event_consumers_fleet_id"),
        sa.PrimaryKeyConstraint("consumer_id", name="pk_event_consumers"),
    )
    op.create_index("ix_event_consumers_fleet_id_created_at", "event_consumers", ["fleet_id", "created_at"])


def downgrade() -> None:
    """Without event consumers."""
    op.drop_table("event_consumers")
