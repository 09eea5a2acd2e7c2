"""SimCC on EfficientNet-Lite0 with ImageNet weights, 128 x 128: for minutes on two CPU cores.

Stem and first two stages are frozen: their features are general, and nothing is spent on them. The
head sees the last map, stretched to stride 8, beside the one of that stride: what is there, where.
"""

model = dict(
    type="TopdownPoseEstimator",
    data_preprocessor=dict(
        type="PoseDataPreprocessor",
        mean=[127.0, 127.0, 127.0],  # of the published weights
        std=[128.0, 128.0, 128.0],
        bgr_to_rgb=True,
    ),
    backbone=dict(type="EfficientNetLite0", out_stages=(3, 5), frozen_stages=2),
    neck=dict(type="FeatureMapProcessor", concat=True),
    head=dict(
        type="MarginalSimCCHead",
        in_channels=40 + 112,
        out_channels=16,
        input_size=(128, 128),
        in_featuremap_size=(16, 16),
        simcc_split_ratio=2.0,
        loss=dict(type="KLDiscretLoss", use_target_weight=True),
        decoder=dict(type="SimCCLabel", input_size=(128, 128), sigma=6.0, simcc_split_ratio=2.0),
        # MMPose's default, 0.001 for the convolution, spends the first epochs on leaving zero.
        init_cfg=[dict(type="Normal", layer="Conv2d", std=0.05)],
    ),
    test_cfg=dict(flip_test=True),
)
