"""Where the gateway keeps what must survive it: one SQL database, SQLite or PostgreSQL."""

from gateway.store.database import Store, StoreDamaged

__all__ = ["Store", "StoreDamaged"]
