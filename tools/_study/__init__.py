"""What tools/study.py is made of."""

import _common  # noqa: F401  first: it makes ausam_core and tasks of this repository importable
