"""The diagnostic measures what it names and leaves the network alone."""

import copy

import pytest
import torch
import torch.nn.functional as F

from tasks.qat.diagnostic import diagnose, gradient_norms, rank_correlation
from tasks.qat.policy import Policy
from tests.tasks.qat.nets import CLASSES, images, quantized


def batches(count=2):
    return [(images(16, seed=70 + i), torch.arange(16) % CLASSES) for i in range(count)]


def test_rank_correlation_is_spearmans():
    a = torch.tensor([1.0, 5.0, 2.0, 9.0])
    assert rank_correlation(a, a.exp()) == pytest.approx(1)
    assert rank_correlation(a, -a) == pytest.approx(-1)
    assert rank_correlation(a, torch.tensor([1.0, 2.0, 5.0, 9.0])) == pytest.approx(0.8)


def test_a_gradient_norm_is_that_of_the_single_loss():
    network = quantized()
    inputs, labels = batches(1)[0]
    found = gradient_norms(network, inputs, labels)
    F.cross_entropy(network(inputs), labels, reduction="none")[3].backward()
    single = [p.grad for n, p in network.named_parameters() if not n.endswith("step")]
    expected = torch.cat([g.flatten() for g in single]).norm()
    assert float(found[3]) == pytest.approx(float(expected), rel=1e-5)
    assert found.std() > 0


@pytest.mark.parametrize("perturb", ["latent", "quantized"])
def test_the_network_is_as_it_was(perturb):
    network = quantized()
    network.behaviour.step_pass = 1
    before, behaviour = copy.deepcopy(network.state_dict()), copy.copy(network.behaviour)
    found = diagnose(network, batches(), perturb)
    assert found.scores.shape == found.norms.shape == (32,)
    assert all(torch.equal(v, before[k]) for k, v in network.state_dict().items())
    assert not network.training and network.behaviour == behaviour
    assert all(p.grad is None for p in network.parameters())


def test_a_small_step_from_quantized_weights_is_first_order_and_flips_no_code_of_an_8_bit_net():
    """Lemma 1: with ε → 0, and few roundings of activations, the score goes with the gradient."""
    network = quantized(policy=Policy(8, 8))
    found = diagnose(network, batches(4), "quantized", rho=0.02)
    assert found.correlation > 0.3
