"""What is wrong with the evaluation is found before the first step, and the run is not changed."""

import _rehearsal
import pytest
import torch
from mmengine.evaluator import BaseMetric
from mmengine.registry import METRICS


@METRICS.register_module()
class NeedsMany(BaseMetric):
    """Stands for metrics that cannot score a batch."""

    def process(self, data_batch, data_samples) -> None:
        self.results += data_samples

    def compute_metrics(self, results: list) -> dict:
        if len(results) < 64:
            raise ValueError("too few")
        return {"many": 1.0}


@METRICS.register_module()
class NeedsAField(NeedsMany):
    """Stands for a metric that reads what the samples do not have."""

    def process(self, data_batch, data_samples) -> None:
        self.results += [sample["head_size"] for sample in data_samples]


@pytest.fixture
def train(tool):
    return tool("train")


PLATEAU = "dict(type='ReduceOnPlateauLR', monitor={!r}, rule='greater')"


@pytest.mark.parametrize(
    "setting",
    [
        "default_hooks['checkpoint'].update(save_best='acuracy', rule='greater')",
        "default_hooks['checkpoint'].update(save_best=['accuracy', 'acuracy'], rule='greater')",
        "custom_hooks += [dict(type='EarlyStoppingHook', monitor='acuracy', rule='greater')]",
        f"param_scheduler = {PLATEAU.format('acuracy')}",
    ],
)
def test_a_name_that_no_metric_gives_is_refused_with_those_there_are(
    train, toy_config, fails_with, tmp_path, setting
):
    with toy_config.open("a") as file:
        file.write(setting + "\n")
    line = fails_with(train.main, toy_config, "--work-dir", tmp_path / "work")
    assert "'acuracy'" in line and "gives accuracy" in line
    assert not list(tmp_path.glob("work/*.pth"))


@pytest.mark.parametrize(
    "setting",
    [
        "default_hooks['checkpoint'].update(save_best='accuracy')",
        "default_hooks['checkpoint'].update(save_best='auto')",
        f"param_scheduler = {PLATEAU.format('accuracy')}",
    ],
)
def test_right_names_train(train, toy_config, tmp_path, setting):
    with toy_config.open("a") as file:
        file.write(setting + "\n")
    train.main([str(toy_config), "--work-dir", str(tmp_path / "work")])
    assert (tmp_path / "work/epoch_2.pth").is_file()


def test_an_evaluation_that_fails_is_found_before_the_first_epoch(
    train, toy_config, fails_with, tmp_path
):
    option = "val_evaluator.type=NeedsAField"
    line = fails_with(
        train.main, toy_config, "--work-dir", tmp_path / "work", "--cfg-options", option
    )
    assert "one batch of val_dataloader fails" in line and "head_size" in line
    assert not list(tmp_path.glob("work/*.pth"))


def test_a_metric_that_cannot_score_a_batch_is_left_alone(train, toy_config, tmp_path):
    option = "val_evaluator.type=NeedsMany"
    train.main([str(toy_config), "--work-dir", str(tmp_path / "w"), "--cfg-options", option])
    assert (tmp_path / "w/epoch_2.pth").is_file()


def test_the_rehearsal_changes_nothing_of_the_run(train, toy_config, tmp_path):
    weights = []
    for hooks in ([], [_rehearsal.RehearsalHook()]):
        work = tmp_path / f"with {len(hooks)}"
        argv = [str(toy_config), "--work-dir", str(work)]
        runner = train.build_runner(train.make_config(train.parse_args(argv)))
        for hook in hooks:
            runner.register_hook(hook)
        runner.train()
        weights.append(torch.load(work / "epoch_2.pth", weights_only=True)["state_dict"])
    assert torch.equal(weights[0]["layer.weight"], weights[1]["layer.weight"])
