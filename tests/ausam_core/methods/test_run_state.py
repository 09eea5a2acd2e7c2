"""What a method remembers keeps its structure: a distributed checkpoint is loaded in place."""

import copy

import pytest
import torch
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint.state_dict import get_state_dict, set_state_dict

from ausam_core import methods
from tests.ausam_core.methods.test_all_methods import METHODS, batches, equal, run, start

STOP = 7  # of twelve: within an epoch, a window of vSAM and a round of LookSAM


def structure(value):
    """Keys, and shapes and dtypes of tensors, as ``torch.distributed.checkpoint`` sees them: it
    looks into mappings, and into lists with tensors, and takes all else for one value."""
    if isinstance(value, torch.Tensor):
        return tuple(value.shape), value.dtype
    if isinstance(value, dict):
        return {key: structure(inner) for key, inner in value.items()}
    if isinstance(value, list) and any(isinstance(v, (torch.Tensor, dict, list)) for v in value):
        return [structure(inner) for inner in value]
    return "a value"


def state_of(model, method):
    weights, momentum = get_state_dict(model, method.optimizer)
    return {"model": weights, "optimizer": momentum, "method": method.run_state()}


def test_every_method_of_the_package_is_among_the_cases():
    named = {getattr(methods, name) for name in methods.__all__}
    concrete = {c for c in named if isinstance(c, type) and issubclass(c, methods.Method)}
    assert {cls for cls, _ in METHODS.values()} == concrete - {methods.Method}


@pytest.mark.parametrize("name", METHODS)
def test_a_fresh_method_remembers_what_a_trained_one_does(name):
    model, method = start(name)
    fresh = structure(method.run_state())
    for batch in batches():
        run(model, method, [batch])
        assert structure(method.run_state()) == fresh


@pytest.mark.parametrize("name", METHODS)
def test_a_distributed_checkpoint_goes_on_to_the_bit(name, tmp_path):
    planned = list(batches())
    whole, method = start(name)
    run(whole, method, planned[:STOP])
    method.end_epoch()
    dcp.save(state_of(whole, method), checkpoint_id=tmp_path)
    run(whole, method, planned[STOP:])

    model, method = start(name)
    state = state_of(model, method)
    dcp.load(state, checkpoint_id=tmp_path)
    set_state_dict(
        model,
        method.optimizer,
        model_state_dict=state["model"],
        optim_state_dict=state["optimizer"],
    )
    method.load_run_state(state["method"])
    run(model, method, planned[STOP:])
    assert equal(model, whole)


def saf_of_before(state, method):
    return {**state, "tables": dict(state["tables"])}


def vsam_of_before(state, method):
    return {**state, "seen": list(method._seen)}


@pytest.mark.parametrize(("name", "older"), [("SAF", saf_of_before), ("VSAM", vsam_of_before)])
def test_a_state_that_was_saved_as_lists_and_dicts_is_loaded(name, older):
    planned = list(batches())
    whole, method = start(name)
    run(whole, method, planned[:STOP])
    state = method.run_state()
    state = {**state, "method": older(state["method"], method)}
    model, resumed = start(name)
    model.load_state_dict(whole.state_dict())
    resumed.optimizer.load_state_dict(copy.deepcopy(method.optimizer.state_dict()))
    resumed.load_run_state(state)
    run(whole, method, planned[STOP:])
    run(model, resumed, planned[STOP:])
    assert equal(model, whole)


def test_vsam_sees_the_last_window_of_its_warm_up_alone():
    """A checkpoint holds the rows of one window; older ones would count nowhere."""
    model, method = start("VSAM")
    method.warmup_steps = 6
    found = []
    for batch in list(batches())[:6]:
        run(model, method, [batch])
        found.append(int(method.run_state()["method"]["seen"].isfinite().all(1).sum()))
    assert found == [1, 2, 3, 4, 4, 0] and method._last is not None
