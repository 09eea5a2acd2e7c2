"""Networks of timm, whose layers are classes of their own: trained, exported, equal to the bit."""

import pytest

from ausam_core.errors import AusamError
from tasks.qat import Policy, quantize
from tests.tasks.qat.test_networks import hold, inputs, trained

timm = pytest.importorskip("timm")

pytestmark = pytest.mark.slow


def model(name, **settings):
    return timm.create_model(name, num_classes=10, **settings)


def test_a_network_of_timm_in_four_bits():
    hold(trained(lambda: model("efficientnet_lite0"), 32, Policy(4, 4), batch=4), 32, count=4)


def test_padding_by_the_size_of_images_is_refused_and_the_remedy_works():
    example = inputs(1, 32)
    with pytest.raises(AusamError, match="in conv_stem, a Conv2dSame.*timm with pad_type=''"):
        quantize(model("tf_efficientnet_lite0"), example)
    quantize(model("tf_efficientnet_lite0", pad_type=""), example)
