"""What the demo looks at: an image, a folder of images, or a video, as one series of frames."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from ausam_core.errors import AusamError

IMAGES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")
VIDEOS = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v")


@dataclass(frozen=True)
class Frame:
    """One picture, upright and in RGB, and where it comes from."""

    image: Image.Image
    name: str
    place: dict[str, Any] = field(default_factory=dict)


def open_image(path: Path) -> Image.Image:
    """An RGB image, turned as the camera was held, or one sentence about why not."""
    if not path.is_file():
        raise AusamError(f"image not found: {path}")
    try:
        return ImageOps.exif_transpose(Image.open(path)).convert("RGB")
    except (UnidentifiedImageError, OSError) as error:
        raise AusamError(f"{path} cannot be read as an image: {error}") from error


def is_video(path: Path) -> bool:
    """Whether the name says so."""
    return path.suffix.lower() in VIDEOS


def frames_of(path: Path) -> Iterator[Frame]:
    """The pictures of an image, a folder (by name, not its subfolders) or a video, one by one.

    Raises:
        AusamError: it is not there, holds no picture, or cannot be read.
    """
    if path.is_dir():
        names = sorted(each for each in path.iterdir() if each.suffix.lower() in IMAGES)
        if not names:
            raise AusamError(f"{path} holds no image ({', '.join(IMAGES)})")
        for each in names:
            yield Frame(open_image(each), each.name, {"image": each.name})
    elif is_video(path) and path.is_file():
        yield from _frames_of_video(path)
    else:
        yield Frame(open_image(path), path.name, {"image": path.name})


def frames_per_second(path: Path) -> float:
    """What a video says of itself; 25 where it says nothing."""
    capture = cv2.VideoCapture(str(path))
    rate = capture.get(cv2.CAP_PROP_FPS)
    capture.release()
    return rate if np.isfinite(rate) and 1 <= rate <= 1000 else 25.0


def _frames_of_video(path: Path) -> Iterator[Frame]:
    capture, number = cv2.VideoCapture(str(path)), 0
    try:
        while True:
            there, pixels = capture.read()
            if not there:
                break
            image = Image.fromarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB))
            yield Frame(image, f"frame {number}", {"frame": number})
            number += 1
    finally:
        capture.release()
    if not number:
        raise AusamError(f"{path} cannot be read as a video: no frame comes out of it")


class Output:
    """Where drawn pictures go: a file, a folder with the names of the inputs, or a video.

    Args:
        source: what :func:`frames_of` reads.
        out: where to write, or None for a name made of the source's in the current folder.
    """

    def __init__(self, source: Path, out: Path | None) -> None:
        self.is_folder, self._video = source.is_dir(), None
        self._rate = frames_per_second(source) if is_video(source) else None
        ending = "" if self.is_folder else (".mp4" if self._rate else ".png")
        self.path = out or Path(
            f"{source.resolve().name if self.is_folder else source.stem}_pose{ending}"
        )
        if self.is_folder and self.path.resolve() == source.resolve():
            raise AusamError(f"--out {self.path} is the folder that is read; name another")
        if self._rate and not is_video(self.path):
            raise AusamError(f"--out {self.path} must be a video ({', '.join(VIDEOS)})")

    def write(self, frame: Frame, drawn: Image.Image) -> None:
        """Write one picture."""
        folder = self.path if self.is_folder else self.path.parent
        folder.mkdir(parents=True, exist_ok=True)
        if self._rate:
            self._write_video(drawn)
        else:
            drawn.save(self.path / f"{Path(frame.name).stem}.png" if self.is_folder else self.path)

    def close(self) -> None:
        """Finish the video."""
        if self._video is not None:
            self._video.release()

    def _write_video(self, drawn: Image.Image) -> None:
        if self._video is None:
            code = cv2.VideoWriter_fourcc(*("mp4v" if self.path.suffix != ".avi" else "MJPG"))
            self._video = cv2.VideoWriter(str(self.path), code, self._rate, drawn.size)
            if not self._video.isOpened():
                raise AusamError(f"{self.path} cannot be written as a video; try a name in .mp4")
        self._video.write(cv2.cvtColor(np.asarray(drawn), cv2.COLOR_RGB2BGR))
