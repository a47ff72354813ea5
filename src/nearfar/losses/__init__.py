"""Losses: pure functions from embeddings to a scalar, one file a family. They import torch only and
never gather."""

from nearfar.losses.dense.masked import feature_prediction, masked_reconstruction
from nearfar.losses.distillation.clustering import swav
from nearfar.losses.distillation.distillation import byol, dino, simsiam
from nearfar.losses.distillation.patches import koleo, masked_distillation
from nearfar.losses.instance.contrastive import (
    clip,
    info_nce,
    moco_v3,
    nnclr,
    nt_xent,
    queue_info_nce,
)
from nearfar.losses.paired.siglip import siglip
from nearfar.losses.paired.soft_targets import soft_info_nce
from nearfar.losses.redundancy.redundancy import barlow_twins, vicreg, vicreg_terms
from nearfar.losses.supervised.supervised import supcon

__all__ = [
    "barlow_twins",
    "byol",
    "clip",
    "dino",
    "feature_prediction",
    "info_nce",
    "koleo",
    "masked_distillation",
    "masked_reconstruction",
    "moco_v3",
    "nnclr",
    "nt_xent",
    "queue_info_nce",
    "siglip",
    "simsiam",
    "soft_info_nce",
    "supcon",
    "swav",
    "vicreg",
    "vicreg_terms",
]
