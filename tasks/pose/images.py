"""Read images and say by name which one cannot be read."""

import io

import mmcv
from mmengine import fileio
from mmengine.registry import TRANSFORMS
from mmpose.datasets.transforms import LoadImage
from PIL import Image

from ausam_core.errors import AusamError

END_MARKER = b"\xff\xd9"
TAIL = 64  # bytes at the end of a file in which the end marker is looked for; some writers pad


def is_truncated(data: bytes) -> bool:
    """Whether a JPEG file ends early. Other formats are never called truncated.

    Decoders return such an image with the rest in grey, so that training would go on with it. The
    test costs nothing for a whole image: only one without end marker is decoded once to be sure.
    """
    if data[:2] != b"\xff\xd8" or END_MARKER in data[-TAIL:]:
        return False
    try:
        Image.open(io.BytesIO(data)).load()
    except OSError:  # PIL: "image file is truncated"
        return True
    return False


@TRANSFORMS.register_module()
class LoadPoseImage(LoadImage):
    """MMPose's `LoadImage`, with an error that names the file and what to do.

    Keys and arguments are those of `LoadImage`.

    Raises:
        AusamError: the image is missing, empty, truncated or no image.
    """

    def transform(self, results: dict) -> dict | None:
        """Read ``results['img_path']`` into ``img``, ``img_shape`` and ``ori_shape``."""
        if "img" in results:
            return super().transform(results)
        path = results["img_path"]
        try:
            data = fileio.get(path, backend_args=self.backend_args)
        except FileNotFoundError as error:
            raise AusamError(
                f"Image {path} is not there although an annotation names it; restore the file or "
                "remove the person from the annotation."
            ) from error
        image = None
        if data and not is_truncated(data):
            image = mmcv.imfrombytes(data, flag=self.color_type, backend=self.imdecode_backend)
        if image is None:
            raise AusamError(
                f"Image {path} cannot be read ({len(data)} bytes, empty, truncated or no image); "
                "copy it again."
            )
        results["img"] = image.astype("float32") if self.to_float32 else image
        results["img_shape"] = results["ori_shape"] = image.shape[:2]
        return results
