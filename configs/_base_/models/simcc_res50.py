"""SimCC without deconvolution on ResNet-50, 256 x 256: about a third of HRNet-W32's memory."""

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
        depth=50,
        init_cfg=dict(type="Pretrained", checkpoint="torchvision://resnet50"),
    ),
    head=dict(
        type="SimCCHead",
        in_channels=2048,
        out_channels=16,
        input_size=(256, 256),
        in_featuremap_size=(8, 8),
        simcc_split_ratio=2.0,
        deconv_out_channels=None,
        loss=dict(type="KLDiscretLoss", use_target_weight=True),
        decoder=dict(type="SimCCLabel", input_size=(256, 256), sigma=6.0, simcc_split_ratio=2.0),
    ),
    test_cfg=dict(flip_test=True),
)
