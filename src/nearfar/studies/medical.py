"""Eight ways to learn from medical pictures without labels, on several sets: by few labels, by
pictures of other sets, and by what carries over from one set to the others.
"""

from __future__ import annotations

from nearfar.methods.method import Paper
from nearfar.studies.study import Study

_SETS = ("path", "derma", "oct", "pneumonia", "retina", "breast", "blood", "tissue")
_ORGANS = ("organa", "organc", "organs")

STUDY = Study(
    paper=Paper(
        title="Evaluating Self-Supervised Learning in Medical Imaging: A Benchmark for "
        "Robustness, Generalizability, and Multi-Domain Impact",
        authors="Bundele et al.",
        year=2024,
        departures=(
            "At a laptop's scale the sets are handwritten digits, plain, among fragments and "
            "before stripes, and stand for no medical finding.",
            "Encoders are carried over between sets of the same number of channels.",
            "Initialisations, architectures and unions of sets are not varied.",
        ),
    ),
    question="Which method learns most from pictures without labels, and from which set does it "
    "carry over to the others?",
    arms=("simclr", "byol", "moco-v3", "nnclr", "ressl", "barlow-twins", "vicreg", "dino"),
    conditions={name: {"data": f"{name}mnist.npz"} for name in (*_SETS, *_ORGANS)},
    small_conditions={
        "digits": {"data": "digits", "size": 16},
        "cluttered": {"data": "cluttered-digits", "size": 16},
        "striped": {"data": "striped-digits", "label": "digit"},
    },
    options={"recipe": "paper", "encoder": "resnet50", "epochs": 400},
    small={"recipe": "small", "encoder": None, "epochs": None, "steps": 150},
    protocols=("quick", "few-labels"),
    judged_on="all",
)
