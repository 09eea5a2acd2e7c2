"""The toy task of the tools' tests."""

from tests.tools.conftest import (  # noqa: F401  fixtures
    fails_with,
    no_run_before_this,
    tool,
    toy_config,
)
