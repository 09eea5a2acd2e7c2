"""What every classification run shares: hooks, log, checkpoints, environment."""

default_scope = "mmengine"
custom_imports = dict(
    imports=["ausam_core.mmengine", "tasks.classification"], allow_failed_imports=False
)

default_hooks = dict(
    timer=dict(type="IterTimerHook"),
    logger=dict(type="LoggerHook", interval=50),
    param_scheduler=dict(type="ParamSchedulerHook"),
    checkpoint=dict(
        type="CheckpointHook",
        interval=1,
        save_best="accuracy/top1",
        rule="greater",
        max_keep_ckpts=2,
    ),
    sampler_seed=dict(type="DistSamplerSeedHook"),
)
# The same for every method, SGD too: its log, its scores, and a resume to the bit.
custom_hooks = [dict(type="AugmentationHook"), dict(type="AUSAMHook")]

env_cfg = dict(
    cudnn_benchmark=True,  # every batch has the same image size
    mp_cfg=dict(mp_start_method="fork"),
    dist_cfg=dict(backend="nccl"),
)
vis_backends = [dict(type="LocalVisBackend")]
visualizer = dict(type="Visualizer", vis_backends=vis_backends, name="visualizer")
log_processor = dict(type="LogProcessor", window_size=50, by_epoch=True, num_digits=4)
log_level = "INFO"
load_from = None
resume = False
randomness = dict(seed=0)

val_cfg = dict()
test_cfg = dict()
