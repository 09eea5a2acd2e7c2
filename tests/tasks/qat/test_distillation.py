"""A teacher's part of the loss is that of each sample."""

import pytest
import torch
import torch.nn.functional as F

from ausam_core.errors import AusamError
from tasks.qat.distillation import check_distillation, distilled

generator = torch.Generator().manual_seed(0)
SCORES, TEACHER = (torch.randn(6, 5, generator=generator) for _ in range(2))
LABELS = torch.arange(6) % 5
LOSSES = F.cross_entropy(SCORES, LABELS, reduction="none")


def test_it_is_the_divergence_of_each_sample_and_the_loss_of_its_label():
    found = distilled(LOSSES, SCORES, TEACHER, weight=0.3, temperature=4.0)
    for i in range(6):
        p, q = (F.softmax(s[i].double() / 4, 0) for s in (SCORES, TEACHER))
        divergence = (q * (q.log() - p.log())).sum()
        assert float(found[i]) == pytest.approx(float(0.7 * LOSSES[i] + 0.3 * 16 * divergence))


def test_who_agrees_with_the_teacher_has_no_distance_from_it():
    found = distilled(LOSSES, SCORES, SCORES, weight=1.0, temperature=2.0)
    torch.testing.assert_close(found, torch.zeros(6))


def test_the_gradient_keeps_its_size_whatever_the_temperature():
    sizes = []
    for temperature in (20.0, 40.0):
        scores = SCORES.clone().requires_grad_()
        distilled(LOSSES, scores, TEACHER, 1.0, temperature).sum().backward()
        sizes.append(float(scores.grad.norm()))
    assert sizes[1] == pytest.approx(sizes[0], rel=0.1)


@pytest.mark.parametrize(("weight", "temperature"), [(0.0, 1.0), (1.5, 1.0), (0.5, 0.0)])
def test_settings_out_of_range_are_refused(weight, temperature):
    with pytest.raises(AusamError, match="distillation must be"):
        check_distillation(weight, temperature)
