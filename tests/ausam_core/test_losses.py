"""What a closure may return."""

import pytest
import torch

from ausam_core import AusamError, ForwardRecord
from ausam_core.losses import as_record, loss_difference, mean_loss


def test_a_loss_of_each_sample_is_averaged():
    losses = torch.tensor([1.0, 2.0, 6.0])
    record = as_record(losses)
    assert record.total == 3 and torch.equal(record.per_sample, losses)


def test_a_scalar_has_no_loss_of_each_sample():
    record = as_record(torch.tensor(2.0))
    assert record.total == 2 and record.per_sample is None


def test_a_record_passes_through():
    record = ForwardRecord(torch.tensor(1.0), outputs="logits")
    assert as_record(record) is record


def test_weights_stand_for_samples_that_were_left_out():
    """InfoBatch divides by the number of samples, not by the sum of their weights."""
    assert mean_loss(torch.tensor([1.0, 3.0]), torch.tensor([2.0, 1.0])) == 2.5
    assert as_record(torch.tensor([1.0, 3.0]), torch.tensor([2.0, 1.0])).total == 2.5


def test_weights_need_a_loss_of_each_sample():
    with pytest.raises(AusamError, match="already reduced"):
        as_record(torch.tensor(1.0), torch.ones(3))


@pytest.mark.parametrize("value", [None, 1.0, (torch.ones(2),)])
def test_what_is_not_a_loss_is_refused(value):
    with pytest.raises(AusamError, match="the closure returned"):
        as_record(value)


def test_a_loss_of_each_pixel_is_refused():
    with pytest.raises(AusamError, match=r"shape \[2, 3\]"):
        as_record(torch.ones(2, 3))


def test_the_difference_is_absolute_and_in_full_precision():
    before, after = torch.tensor([1.0, 2.0]).half(), torch.tensor([3.0, 1.5]).half()
    difference = loss_difference(before, after)
    assert difference.dtype == torch.float32 and difference.tolist() == [2.0, 0.5]
    assert loss_difference(before, None) is None
