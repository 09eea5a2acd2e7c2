"""SimCC on EfficientNet-Lite0 with ImageNet weights, 96 x 96: for minutes on two CPU cores.

Stem and first two stages are frozen: their features are general, and nothing is spent on them.
"""

model = dict(
    type="TopdownPoseEstimator",
    data_preprocessor=dict(
        type="PoseDataPreprocessor",
        mean=[127.0, 127.0, 127.0],  # of the published weights
        std=[128.0, 128.0, 128.0],
        bgr_to_rgb=True,
    ),
    backbone=dict(type="EfficientNetLite0", frozen_stages=2),
    head=dict(
        type="SimCCHead",
        in_channels=112,
        out_channels=16,
        input_size=(96, 96),
        in_featuremap_size=(6, 6),
        simcc_split_ratio=2.0,
        deconv_out_channels=None,
        loss=dict(type="KLDiscretLoss", use_target_weight=True),
        decoder=dict(type="SimCCLabel", input_size=(96, 96), sigma=6.0, simcc_split_ratio=2.0),
        # MMPose's default, 0.001 for the convolution, spends the first epochs on leaving zero.
        init_cfg=[
            dict(type="Normal", layer="Conv2d", std=0.05),
            dict(type="Normal", layer="Linear", std=0.05, bias=0),
        ],
    ),
    test_cfg=dict(flip_test=True),
)
