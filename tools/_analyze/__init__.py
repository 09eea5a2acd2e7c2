"""What tools/analyze.py is made of, and what tools/study.py measures with."""

import _common  # noqa: F401  first: it makes ausam_core and tasks of this repository importable
