"""Losses: pure functions from embeddings to a scalar, one file a family. They import torch only and
never gather."""

from nearfar.losses.clustering import swav
from nearfar.losses.contrastive import clip, info_nce, moco_v3, nnclr, nt_xent, queue_info_nce
from nearfar.losses.distillation import byol, dino, simsiam
from nearfar.losses.masked import masked_reconstruction
from nearfar.losses.redundancy import barlow_twins, vicreg, vicreg_terms
from nearfar.losses.siglip import siglip
from nearfar.losses.soft_targets import soft_info_nce
from nearfar.losses.supervised import supcon

__all__ = [
    "barlow_twins",
    "byol",
    "clip",
    "dino",
    "info_nce",
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
