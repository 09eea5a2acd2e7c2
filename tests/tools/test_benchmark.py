"""The benchmark runs the real thing in turns and counts what it says it counts."""

import json

import pytest
import torch
from _benchmark.memory import LiveMemory
from _benchmark.speed import format_table, lead_in, median_and_quartiles
from _benchmark.trainee import Trainee
from _benchmark.variants import make_variants, prepare
from _common import load_config

from ausam_core.errors import AusamError

K, EPOCH = 16, 64  # batch and data set of the toy task


@pytest.fixture
def make_trainee(toy_config, tmp_path):
    def make(which: int, **options) -> Trainee:
        name, cfg = list(make_variants(load_config(toy_config)).items())[which]
        prepare(cfg, name, tmp_path / str(which), **{"in_memory": False, "workers": None} | options)
        return Trainee(name, cfg)

    return make


@pytest.mark.parametrize("in_memory", [False, True])
@pytest.mark.parametrize("which, share", [(0, 1), (1, 1), (2, 0.5), (3, 0.5)])
def test_every_variant_counts_whole_batches_and_trains_its_share(
    make_trainee, which, share, in_memory
):
    progress = make_trainee(which, in_memory=in_memory).advance(6)
    assert progress.images == 6 * K
    assert progress.trained == 6 * K * share
    assert 0 < progress.data_seconds < progress.seconds


def test_training_begins_where_selection_is_active_and_runs_through_epochs(make_trainee):
    trainee = make_trainee(3)  # the constructor has trained two iterations of epoch 1
    assert trainee.loop.epoch == 1
    trainee.advance(3)
    assert (trainee.loop.epoch, trainee.loop.iter) == (2, EPOCH // K + 5)


def test_variants_train(make_trainee):
    trainee = make_trainee(3)
    before = trainee.runner.model.layer.weight.clone()
    trainee.advance(1)
    assert not torch.equal(trainee.runner.model.layer.weight, before)


def test_variants_differ_in_nothing_but_method_and_selection(toy_config):
    base, sam, in_loop, before_loading, *_ = make_variants(load_config(toy_config)).values()
    assert base.optim_wrapper.type == "OptimWrapper"
    assert base.optim_wrapper.optimizer == sam.optim_wrapper.optimizer
    assert sam.optim_wrapper == in_loop.optim_wrapper == before_loading.optim_wrapper
    assert base.train_dataloader == sam.train_dataloader == in_loop.train_dataloader
    selection = before_loading.train_dataloader.batch_sampler.selection
    assert in_loop.custom_hooks[-1].selection == selection
    assert base.custom_hooks == sam.custom_hooks == []


def test_a_configuration_without_ausam_is_refused(toy_config):
    cfg = load_config(toy_config)
    cfg.custom_hooks = []
    with pytest.raises(AusamError, match="AUSAM"):
        make_variants(cfg)


def test_a_turn_begins_past_what_the_loader_had_ready(make_trainee):
    assert lead_in(make_trainee(0)) == 1
    assert lead_in(make_trainee(0, workers=1)) == 3  # torch prefetches two batches a worker


def test_speed_reports_every_run_and_writes_json(tool, toy_config, tmp_path, capsys):
    out = tmp_path / "new/folder/speed.json"
    argv = ["speed", "--config", toy_config, "--rounds", 3, "--iters", 2, "--json", out]
    tool("benchmark").main([str(arg) for arg in argv])
    printed, result = capsys.readouterr().out, json.loads(out.read_text())
    names = [row["name"] for row in result["rows"]]
    assert names == [
        *("Adam", "SAM", "AUSAM 0.5 in the loop", "AUSAM 0.5 before loading"),
        *("late AUSAM, before it begins", "3/4 kept, 1/3 ascends", "MSAM"),
    ]
    assert all(name in printed for name in names)
    assert result["first_epoch"] == 1 and result["batch_size"] == K
    for row in result["rows"]:
        assert len(row["rounds"]) == 3 and min(row["rounds"]) > 0
        assert row["images"][1] <= row["images"][0] <= row["images"][2]
        assert row["peak_mib"] > 0
    assert result["rows"][0]["to_base"] == result["rows"][1]["to_sam"] == [1, 1, 1]


def test_speed_refuses_nonsense(tool, toy_config, fails_with):
    main = tool("benchmark").main
    assert "--rounds" in fails_with(main, "speed", "--config", toy_config, "--rounds", "0")
    assert "not found" in fails_with(main, "speed", "--config", "nowhere.py")


def test_the_spread_is_that_of_the_quartiles():
    assert median_and_quartiles([4, 1, 3, 2, 5]) == (3, 2, 4)
    assert median_and_quartiles([7]) == (7, 7, 7)


def test_an_empty_table_has_its_header():
    assert "images/s" in format_table([])


def test_memory_counts_what_lives_at_one_time():
    with LiveMemory() as memory:
        first = torch.zeros(1000)
        del first
        kept = torch.zeros(3000)
        kept.add_(1)
        assert kept[:5].sum() == 5
    assert 12_000 <= memory.peak_bytes < 12_100


def test_memory_counts_what_backward_keeps():
    layers = torch.nn.Sequential(*(torch.nn.ReLU() for _ in range(4)))
    x = torch.randn(1000, requires_grad=True)
    with LiveMemory() as kept:
        layers(x).sum().backward()
    with LiveMemory() as freed, torch.no_grad():
        layers(x).sum()
    assert kept.peak_bytes >= 4 * 4000 > 2 * 4000 + 100 > freed.peak_bytes
