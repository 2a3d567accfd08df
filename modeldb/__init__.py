"""What vehicles mean: a unit's signals to vehicle state, and commands to signals."""

from modeldb.database import Database, load, revised
from modeldb.document import ModelError

__all__ = ["Database", "ModelError", "load", "revised"]
