"""Methods: how a batch becomes an update. One file a method."""

from ausam_core.methods.base import Base
from ausam_core.methods.method import Method, StepResult
from ausam_core.methods.sam import SAM

__all__ = ["SAM", "Base", "Method", "StepResult"]
