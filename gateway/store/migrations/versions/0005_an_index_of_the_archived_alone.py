"""The index on `archived_at` without who is not archived: to find live vehicles by their ids, all of them were walked through."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

INDEX = "ix_vehicles_archived_at"
ARCHIVED = sa.text("archived_at IS NOT NULL")


def upgrade() -> None:
    """The archived alone."""
    op.drop_index(INDEX, "vehicles")
    op.create_index(INDEX, "vehicles", ["archived_at"], sqlite_where=ARCHIVED, postgresql_where=ARCHIVED)


def downgrade() -> None:
    """All vehicles."""
    op.drop_index(INDEX, "vehicles")
    op.create_index(INDEX, "vehicles", ["archived_at"])
