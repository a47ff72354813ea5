"""What kind of method a method is: one leaf of a tree, and a value of each of some closed lists.

Source: "A Survey of the Self Supervised Learning Mechanisms for Vision Transformers" 2024, for the
    idea; the tree and the lists are ours.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass, fields

from nearfar.errors import UserError, unknown_name

TREE: Mapping[str, str] = {
    "contrastive": "pull views of one sample together, push others away",
    "contrastive.in_batch": "others of the batch are the negatives",
    "contrastive.memory": "a queue or a bank holds the negatives",
    "contrastive.momentum_in_batch": "a momentum encoder's views of the batch",
    "contrastive.dense": "pixels, patches or regions are compared",
    "contrastive.multimodal": "the parts of a sample are compared",
    "contrastive.supervised": "labels say what is alike",
    "non_contrastive": "no sample is pushed away",
    "non_contrastive.asymmetric_prediction": "one view's embedding predicts the other's",
    "non_contrastive.self_distillation": "a student matches its teacher's distribution",
    "non_contrastive.redundancy_reduction": "dimensions are held apart",
    "non_contrastive.clustering": "views agree on a cluster",
    "generative": "what was taken away is made again",
    "generative.masked_pixels": "raw values of masked parts",
    "generative.masked_tokens": "discrete tokens of masked parts",
    "generative.masked_features": "features of masked parts",
    "generative.masked_geometry": "places of masked points",
    "generative.rendering": "another view of the scene",
    "generative.autoregressive": "the next piece",
    "generative.adversarial_or_diffusion": "a critic or a chain of denoising",
    "predictive": "labels are made from the data",
    "predictive.geometric_transform": "which turn or order it was",
    "predictive.photometric_transform": "which degradation it was",
    "predictive.temporal": "order or speed",
    "predictive.geometry_consistency": "depth and motion that explain a video",
    "predictive.labels": "given labels, perhaps wrong or few",
    "hybrid": "two or more leaves together",
    "training_process": "how is trained, rather than what",
    "training_process.continual": "a stream of tasks",
    "training_process.data_curation": "which samples are seen",
    "training_process.parameter_efficient": "few parameters move",
    "training_process.scale_and_distributed": "very much data",
}
"""Every leaf and branch, and what it means."""

LISTS: Mapping[str, tuple[str, ...]] = {
    "level": ("image", "region", "patch", "point", "frame", "sequence", "graph", "node"),
    "target": (
        "features",
        "pixels",
        "tokens",
        "cluster",
        "pair-label",
        "transform-label",
        "geometry",
    ),
    "teacher": ("none", "ema", "frozen", "online-twin"),
    "guard": (
        "negatives",
        "stop-gradient+predictor",
        "centring+sharpening",
        "balanced-assignment",
        "decorrelation",
        "reconstruction",
        "none",
    ),
    "masking": ("none", "random", "block", "group", "attention-guided", "entropy-guided", "tube"),
    "labels": ("none", "some", "pairs"),
}
"""The closed lists."""


@dataclass(frozen=True)
class Facets:
    """Where a method stands.

    Attributes:
        leaf: Its place in ``TREE``.
        level: What is compared or predicted.
        target: What the loss compares with.
        teacher: What gives the target.
        guard: What keeps the features from collapsing.
        masking: How parts of the input are taken away.
        labels: What is known beside the samples.

    Raises:
        UserError: For a value that is in no list.
    """

    leaf: str
    level: str = "image"
    target: str = "features"
    teacher: str = "none"
    guard: str = "negatives"
    masking: str = "none"
    labels: str = "none"

    def __post_init__(self) -> None:
        if self.leaf not in TREE:
            raise unknown_name("leaf of the tree of methods", self.leaf, TREE)
        for name, values in LISTS.items():
            if getattr(self, name) not in values:
                raise unknown_name(name, getattr(self, name), values)


def facets_in(text: str) -> Facets | None:
    """The facets that a method's file states, told without running it; None where it states none.

    Args:
        text: Of the file.
    """
    for node in ast.walk(ast.parse(text)):
        is_facets = isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Facets"
        if is_facets and isinstance(node, ast.Call):
            positional = [ast.literal_eval(value) for value in node.args]
            named = {word.arg: ast.literal_eval(word.value) for word in node.keywords if word.arg}
            return Facets(*positional, **named)
    return None


def conditions(text: str) -> dict[str, str]:
    """What ``--where`` asks for.

    Example:
        >>> conditions("teacher=ema,masking=group")
        {'teacher': 'ema', 'masking': 'group'}

    Raises:
        UserError: For a name that is no facet, or a value that is in no list.
    """
    names = [field.name for field in fields(Facets)]
    found: dict[str, str] = {}
    for piece in text.split(","):
        name, equals, value = (part.strip() for part in piece.partition("="))
        if not equals:
            raise UserError(f"--where is {text!r}; expected facet=value,facet=value.")
        if name not in names:
            raise unknown_name("facet", name, names)
        known = list(TREE) if name == "leaf" else LISTS[name]
        if value not in known:
            raise unknown_name(name, value, known)
        found[name] = value
    return found


def meets(facets: Facets, wanted: Mapping[str, str]) -> bool:
    """Whether facets are as wanted; a branch of the tree stands for its leaves."""
    for name, value in wanted.items():
        own = getattr(facets, name)
        inside = name == "leaf" and own.startswith(f"{value}.")
        if own != value and not inside:
            return False
    return True
