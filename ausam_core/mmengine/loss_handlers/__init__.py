"""The loss of each sample for the loss modules of the OpenMMLab packages.

Registered by full name: nothing of those packages is imported. They stand here and not with a task,
so that one line of ``custom_hooks`` is enough in any project. Each handler calls the module's own
parts, so the module's settings (temperature, masks, weights) hold.

Not served, because a sample's loss cannot be told from the others': ``BoneLoss``,
``SemiSupervisionLoss`` and ``InfoNCELoss`` of MMPose, the contrastive losses of MMPretrain. They
stop the run by name.
"""

from ausam_core.mmengine.loss_handlers import coordinates, heatmaps, pretrain  # noqa: F401

__all__: list[str] = []
