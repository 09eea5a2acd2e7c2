"""Not in Table 6: a SimCC pose network at W4A4 on Leeds images, row QAT+Adam, for two CPU cores.

A third of the float run's rate and a quarter of its epochs: the float weights are near already.
"""

_base_ = [
    "../_base_/default_runtime.py",
    "../_base_/datasets/lspet_sample.py",
    "../_base_/models/simcc_mini_w4a4.py",
    "../_base_/schedules/adam_mini.py",
]

custom_imports = dict(
    imports=["ausam_core.mmengine", "tasks.pose", "tasks.qat.mmengine", "tasks.qat.mmengine.pose"],
)
float_config = "configs/simcc_mpii_ausam_mini.py"
model = dict(float_checkpoint="work_dirs/simcc_mpii_ausam_mini/epoch_46.pth")

train_cfg = dict(max_epochs=12, val_interval=4)
optim_wrapper = dict(
    type="SAMOptimWrapper",
    constructor="QuantizationOptimWrapperConstructor",
    paramwise_cfg=dict(step_lr_mult=1.0),
    method=dict(type="Base"),
    optimizer=dict(lr=1e-3),
)
param_scheduler = [
    dict(type="CosineAnnealingLR", T_max=12, by_epoch=True, convert_to_iter_based=True)
]
default_hooks = dict(
    logger=dict(interval=20),
    checkpoint=dict(interval=4, max_keep_ckpts=2),
    quantization=dict(type="QuantizationHook", perturb="latent"),
    reestimation=dict(type="BatchNormReestimationHook", batches=20),
)
randomness = dict(seed=0)  # two runs on one machine give one result
