"""Table 5, row Adam: SimCC with HRNet-W32 on MPII, 256 x 256, batch 64, settings of Table 9.

The paper does not name the backbone: HRNet-W32 is the only one that SimCC's authors trained on MPII
and that reaches 89.3. Text and Table 9 disagree about the size; see also `simcc_mpii_ausam_224.py`.
"""

_base_ = [
    "./_base_/default_runtime.py",
    "./_base_/datasets/mpii_256x256.py",
    "./_base_/models/simcc_hrnet-w32.py",
    "./_base_/schedules/adam_210e.py",
]
