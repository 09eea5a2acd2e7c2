"""SimCC on a slim ResNet-18, 96 x 96, from scratch: a model for two CPU cores."""

model = dict(
    type="TopdownPoseEstimator",
    data_preprocessor=dict(
        type="PoseDataPreprocessor",
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
    ),
    backbone=dict(
        type="ResNet", depth=18, stem_channels=32, base_channels=32, strides=(1, 2, 2, 1)
    ),
    head=dict(
        type="SimCCHead",
        in_channels=256,
        out_channels=16,
        input_size=(96, 96),
        in_featuremap_size=(6, 6),
        simcc_split_ratio=2.0,
        deconv_out_channels=None,
        loss=dict(type="KLDiscretLoss", use_target_weight=True),
        decoder=dict(type="SimCCLabel", input_size=(96, 96), sigma=4.0, simcc_split_ratio=2.0),
    ),
    test_cfg=dict(flip_test=True),
)
