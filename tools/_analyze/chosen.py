"""Which samples a selection scored, how often, and what they look like."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from _analyze.run import Run
from ausam_core.errors import AusamError


def times_scored(run: Run) -> Tensor:
    """How often each sample was scored, ``[n]``, int64.

    Steps that measure no score train their samples uncounted: most of LookSAM's, those before a
    late start; where only a part ascends, the others of the step.

    Raises:
        AusamError: where the selection did not count, or has nothing to count yet.
    """
    count = run.scores()["count"]
    if not len(count):
        raise AusamError(
            f'{run.path} was made with estimate="latest", which counts no visits; give a '
            'checkpoint of a selection with estimate="mean"'
        )
    if not count.any():
        raise AusamError(
            f"{run.path} has scored no sample in its {run.epoch} epochs; give a checkpoint of a "
            "later epoch"
        )
    return count.long()


def scores_of(run: Run) -> Tensor:
    """The score of each sample, ``[n]``; NaN for those that were never scored."""
    table = run.scores()
    if table["estimate"] == "mean":
        return table["value"] / table["count"]
    return table["value"]


def picture_of(dataset: Any, model: Any, index: int) -> Image.Image:
    """A training sample as it is before the pipeline."""
    preprocessor = model.data_preprocessor
    if hasattr(preprocessor, "of_training_images"):
        pixels, _ = preprocessor.of_training_images().images(training=False)
        return Image.fromarray(pixels[index].numpy())
    info = dataset.get_data_info(index)
    with Image.open(info["img_path"]) as image:
        left, top, right, bottom = np.asarray(info["bbox"]).reshape(-1)[:4]
        return image.convert("RGB").crop((int(left), int(top), int(right), int(bottom)))


def contact_sheet(pictures: list[Image.Image], columns: int = 12, side: int = 64) -> Image.Image:
    """Pictures in rows, each fitted into a square."""
    rows = -(-len(pictures) // columns)
    sheet = Image.new("RGB", (columns * (side + 2), rows * (side + 2)), "white")
    for number, picture in enumerate(pictures):
        row, column = divmod(number, columns)
        fitted = picture.copy()
        fitted = fitted.resize((side, side), Image.Resampling.BICUBIC)
        sheet.paste(fitted, (column * (side + 2), row * (side + 2)))
    return sheet


def most_and_least(counts: Tensor, number: int) -> tuple[list[int], list[int]]:
    """Samples that were scored most often and least often; of equals the lower number first."""
    order = torch.argsort(counts, descending=True, stable=True)
    least = torch.argsort(counts, stable=True)
    return order[:number].tolist(), least[:number].tolist()


def save_sheets(run: Run, counts: Tensor, out: Path, number: int = 24) -> dict[str, list[int]]:
    """Write ``…_most.png`` and ``…_least.png``; the numbers of the samples on them."""
    from mmengine.registry import DATASETS

    dataset = DATASETS.build(run.cfg.train_dataloader.dataset)
    most, least = most_and_least(counts, number)
    for name, samples in (("most", most), ("least", least)):
        pictures = [picture_of(dataset, run.model, sample) for sample in samples]
        contact_sheet(pictures).save(out.with_name(f"{out.stem}_{name}.png"))
    return {"most": most, "least": least}
