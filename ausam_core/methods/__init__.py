"""Methods: how a batch becomes an update. One file a method."""

from ausam_core.methods.aesam import AESAM
from ausam_core.methods.base import Base
from ausam_core.methods.esam import ESAM
from ausam_core.methods.gsam import GSAM
from ausam_core.methods.ksam import KSAM
from ausam_core.methods.looksam import LookSAM
from ausam_core.methods.mesa import MESA
from ausam_core.methods.method import Method
from ausam_core.methods.msam import MSAM
from ausam_core.methods.saf import SAF
from ausam_core.methods.sam import SAM
from ausam_core.methods.vsam import VSAM

__all__ = [
    "AESAM",
    "ESAM",
    "GSAM",
    "KSAM",
    "MESA",
    "MSAM",
    "SAF",
    "SAM",
    "VSAM",
    "Base",
    "LookSAM",
    "Method",
]
