"""What every pose run shares: hooks, log, checkpoints, environment."""

default_scope = "mmpose"
custom_imports = dict(imports=["ausam_core.mmengine", "tasks.pose"], allow_failed_imports=False)

default_hooks = dict(
    timer=dict(type="IterTimerHook"),
    logger=dict(type="LoggerHook", interval=50),
    param_scheduler=dict(type="ParamSchedulerHook"),
    checkpoint=dict(
        type="CheckpointHook", interval=10, save_best="PCK", rule="greater", max_keep_ckpts=2
    ),
    sampler_seed=dict(type="DistSamplerSeedHook"),
    visualization=dict(type="PoseVisualizationHook", enable=False),
)
custom_hooks = [
    dict(type="SyncBuffersHook"),  # BN statistics of all GPUs, once an epoch
    dict(type="TrainingAccuracyHook"),
]

env_cfg = dict(
    cudnn_benchmark=True,  # every batch has the same image size
    mp_cfg=dict(mp_start_method="fork", opencv_num_threads=0),
    dist_cfg=dict(backend="nccl"),
)
vis_backends = [dict(type="LocalVisBackend")]
visualizer = dict(type="PoseLocalVisualizer", vis_backends=vis_backends, name="visualizer")
log_processor = dict(type="LogProcessor", window_size=50, by_epoch=True, num_digits=4)
log_level = "INFO"
load_from = None
resume = False

val_cfg = dict()
test_cfg = dict()
