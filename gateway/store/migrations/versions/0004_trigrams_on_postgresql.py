"""A trigram index on PostgreSQL too, where its extension pg_trgm is at hand."""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

AT_HAND = "SELECT count(*) FROM pg_available_extensions WHERE name = 'pg_trgm'"


def upgrade() -> None:
    """Without the extension a search walks along the list: slower, and as right."""
    connection = op.get_bind()
    if connection.dialect.name == "postgresql" and connection.exec_driver_sql(AT_HAND).scalar_one():
        op.execute("CREATE EXTENSION IF NOT EXISTS pg_trgm")
        op.execute("CREATE INDEX ix_vehicles_search_trigrams ON vehicles USING gin (search gin_trgm_ops)")


def downgrade() -> None:
    """Without the index; the extension may serve others."""
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP INDEX IF EXISTS ix_vehicles_search_trigrams")
