"""SimCC on three stages of a slim ResNet-18, 64 x 64, from scratch: a model for two CPU cores.

From scratch and in minutes, epochs count more than resolution or width, so both are small. The last
map keeps 8 x 8: with a fourth stage, and 4 x 4, the model learned less.
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
        type="ResNet",
        depth=18,
        deep_stem=True,
        stem_channels=24,
        base_channels=24,
        num_stages=3,
        strides=(1, 2, 1),
        dilations=(1, 1, 1),
        out_indices=(2,),
    ),
    head=dict(
        type="SimCCHead",
        in_channels=96,
        out_channels=16,
        input_size=(64, 64),
        in_featuremap_size=(8, 8),
        simcc_split_ratio=2.0,
        deconv_out_channels=None,
        loss=dict(type="KLDiscretLoss", use_target_weight=True),
        decoder=dict(type="SimCCLabel", input_size=(64, 64), sigma=4.0, simcc_split_ratio=2.0),
        # MMPose's default, 0.001 for the convolution, spends the first epochs on leaving zero.
        init_cfg=[
            dict(type="Normal", layer="Conv2d", std=0.05),
            dict(type="Normal", layer="Linear", std=0.05, bias=0),
        ],
    ),
    test_cfg=dict(flip_test=True),
)
