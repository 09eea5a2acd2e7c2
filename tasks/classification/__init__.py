"""Image classification on data that lives on the device: the paper's Tables 1 to 4.

Put `tasks.classification` under a config's `custom_imports`. It registers, in MMEngine's root
registries, the data set and preprocessor, the networks, the classifier and its metric.
"""

from tasks.classification import models  # noqa: F401  registers
from tasks.classification.accuracy import Accuracy
from tasks.classification.augment import Augmentation
from tasks.classification.check import check_config
from tasks.classification.classifier import Classifier
from tasks.classification.dataset import IndexDataset
from tasks.classification.images import Images
from tasks.classification.preprocessor import AugmentationHook, DevicePreprocessor
from tasks.classification.readers import read_images

__all__ = [
    "Accuracy",
    "Augmentation",
    "AugmentationHook",
    "Classifier",
    "DevicePreprocessor",
    "Images",
    "IndexDataset",
    "check_config",
    "read_images",
]
