"""Not in Table 6: ResNet-20, row QAT+SGD; in the last quarter BatchNorm, biases and activation
steps train alone.

Park and Yoo (2020), PROFIT: 5 epochs after 15, and the learning rate begins again with them.
"""

_base_ = ["./resnet20_cifar_sgd.py"]

custom_hooks = [*_base_.custom_hooks, dict(type="BatchNormLastHook", start=0.75)]  # noqa: F821
param_scheduler = [
    dict(
        type="CosineRestartLR",
        periods=[75, 25],
        restart_weights=[1, 1],
        eta_min=0,
        by_epoch=True,
        convert_to_iter_based=True,
    )
]
