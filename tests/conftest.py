"""What every test sees: no window, no spinning threads, and no GPU test where there is no GPU."""

import os
import sys
from collections.abc import Generator, Iterator

import pytest

# Set before anything imports matplotlib: a test may run where there is no display.
os.environ.setdefault("MPLBACKEND", "Agg")
# Networks here are tiny: threads would only wait for each other, above all with loader workers.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Before torch is loaded: oneDNN of torch 2.14 writes out of bounds in the gradient of a 1 x 1
# convolution of stride 2 in channels-last memory whose input has half as many channels as a vector
# has numbers: 8 on AVX-512, as slim networks have them, and 4 on AVX2, which none here has.
os.environ.setdefault("ONEDNN_MAX_CPU_ISA", "AVX2")
# Set before anything imports torch. OpenMP's threads wait for each other by spinning; where loader
# workers or other programs share the cores, two spin for what the third would do: ten times slower.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip the tests marked ``gpu`` on a machine without CUDA."""
    if not any("gpu" in item.keywords for item in items):
        return
    import torch

    if torch.cuda.is_available():
        return
    for item in items:
        if item.get_closest_marker("gpu"):
            item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))


if sys.version_info < (3, 11):

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call() -> Generator[None, object, object]:
        """The last ONNX Runtime for Python 3.10 reads portable files only: skip where it says so.

        Which tests meet it is not written down anywhere; what it, or our sentence, says tells.
        """
        try:
            return (yield)
        except Exception as error:
            if "has no 2-bit types" in str(error) or "Unsupported model IR version" in str(error):
                pytest.skip("needs an ONNX Runtime that there is for Python 3.11 and later")
            raise


@pytest.fixture
def pose_scope() -> Iterator[None]:
    """MMPose's names are known, whatever default scope the runners of other tests left behind."""
    from mmengine.registry import DefaultScope  # tests of the core alone run without MMEngine

    with DefaultScope.overwrite_default_scope("mmpose"):
        yield
