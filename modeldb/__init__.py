"""What vehicles mean: a unit's signals to vehicle state, and commands to signals."""

from modeldb.database import Database, load
from modeldb.document import ModelError

__all__ = ["Database", "ModelError", "load"]
