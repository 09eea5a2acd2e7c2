"""Which learning rate, batch and weight decay suit SGD, with 2,500 training images?

A method that beats a base optimizer at other people's settings may only have stood in for settings
of one's own. So SGD gets its own first. Chosen on 10,000 training images that no study here trains
on; no test image is looked at.
"""

from studies.cifar10_small_2500 import budget, metric, samples  # noqa: F401


def sgd(batch: int, lr: float, decay: float = 1e-3) -> dict:
    label = f"batches of {batch}, rate {lr:g}"
    return dict(
        label=label if decay == 1e-3 else f"{label}, decay {decay:g}",
        options={
            "train_dataloader.batch_size": batch,
            "optim_wrapper.optimizer.lr": lr,
            "optim_wrapper.optimizer.weight_decay": decay,
        },
    )


config = "configs/studies/cifar10_held_out.py"
seeds = range(2)
arms = {
    "of_128": sgd(128, 0.05),
    "of_128_rate_2": sgd(128, 0.1),
    "of_128_rate_4": sgd(128, 0.2),
    "of_128_rate_8": sgd(128, 0.4),
    "of_128_rate_16": sgd(128, 0.8),
    "of_128_decay_4": sgd(128, 0.05, 4e-3),
    "of_128_rate_2_decay_4": sgd(128, 0.1, 4e-3),
    "of_64": sgd(64, 0.05),
    "of_64_rate_2": sgd(64, 0.1),
    "of_32": sgd(32, 0.05),
    "of_32_rate_half": sgd(32, 0.025),
}
references = ["of_128"]
