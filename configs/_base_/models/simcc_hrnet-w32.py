"""SimCC without deconvolution on HRNet-W32, 256 x 256, the form of its authors' MPII experiments.

ImageNet weights are fetched at the first run; `--cfg-options model.backbone.init_cfg=None` starts
from scratch, `...init_cfg.checkpoint=FILE` from a file.
"""

model = dict(
    type="TopdownPoseEstimator",
    data_preprocessor=dict(
        type="PoseDataPreprocessor",
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
    ),
    backbone=dict(
        type="HRNet",
        in_channels=3,
        extra=dict(
            stage1=dict(
                num_modules=1,
                num_branches=1,
                block="BOTTLENECK",
                num_blocks=(4,),
                num_channels=(64,),
            ),
            stage2=dict(
                num_modules=1,
                num_branches=2,
                block="BASIC",
                num_blocks=(4, 4),
                num_channels=(32, 64),
            ),
            stage3=dict(
                num_modules=4,
                num_branches=3,
                block="BASIC",
                num_blocks=(4, 4, 4),
                num_channels=(32, 64, 128),
            ),
            stage4=dict(
                num_modules=3,
                num_branches=4,
                block="BASIC",
                num_blocks=(4, 4, 4, 4),
                num_channels=(32, 64, 128, 256),
            ),
        ),
        init_cfg=dict(
            type="Pretrained",
            checkpoint="https://download.openmmlab.com/mmpose/pretrain_models/hrnet_w32-36af842e.pth",
        ),
    ),
    head=dict(
        type="SimCCHead",
        in_channels=32,
        out_channels=16,
        input_size=(256, 256),
        in_featuremap_size=(64, 64),
        simcc_split_ratio=2.0,
        deconv_out_channels=None,
        loss=dict(type="KLDiscretLoss", use_target_weight=True),
        decoder=dict(type="SimCCLabel", input_size=(256, 256), sigma=6.0, simcc_split_ratio=2.0),
    ),
    test_cfg=dict(flip_test=True),
)
