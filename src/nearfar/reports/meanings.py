"""What every metric says, and whether high or low is better, in a sentence."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Meaning:
    """How a metric is read.

    Attributes:
        better: "high", "low", or "" where neither end is better by itself.
        text: one sentence, without the direction.
        rare: whether few readers need it, so that the page folds it away.
    """

    better: str
    text: str
    rare: bool = False

    def sentence(self) -> str:
        """The sentence with the direction at its end."""
        if not self.better:
            return f"{self.text}; neither high nor low is better by itself."
        return f"{self.text}; {self.better} is better."

    def sign(self) -> str:
        """An arrow for the head of a line."""
        return {"high": "↑", "low": "↓", "": "·"}[self.better]


def _high(text: str, *, rare: bool = False) -> Meaning:
    return Meaning(better="high", text=text, rare=rare)


def _low(text: str, *, rare: bool = False) -> Meaning:
    return Meaning(better="low", text=text, rare=rare)


def _neither(text: str) -> Meaning:
    return Meaning(better="", text=text, rare=True)


_MEANINGS: tuple[tuple[str, Meaning], ...] = (
    ("accuracy", _high("Share of test samples whose class the method itself names")),
    ("balanced accuracy", _high("The same as a mean over classes, so that each counts alike")),
    (
        "cross-entropy",
        _low("How far the method's probabilities are from the true classes, in nats"),
    ),
    (
        "kNN accuracy",
        _high("Share of test samples whose nearest training samples vote for their class"),
    ),
    (
        "linear accuracy",
        _high("Share of test samples whose class a linear model reads off the features"),
    ),
    (
        r"fine-tuned accuracy, last block",
        _high("The same where the encoder's last block is trained on with labels"),
    ),
    (
        r"fine-tuned accuracy",
        _high("Share of test samples that are right after the encoder is trained on with labels"),
    ),
    (
        r"\d+ labels? a class",
        _high("Linear accuracy where only so many samples of each class have a label"),
    ),
    (r"\d+ % of labels", _high("Linear accuracy where only this share of the samples has a label")),
    (
        r"\d+-way \d+-shot accuracy",
        _high("Share of right answers in episodes of few classes with few named samples"),
    ),
    ("R2", _high("Share of the values' variance that a linear model explains")),
    (
        r"balanced mean absolute error",
        _low("Mean distance from the true value, where rare values count alike"),
    ),
    (
        r"mean absolute error, .* shots",
        _low("Mean distance from the true value, by how common the value is", rare=True),
    ),
    (
        r"geometric mean error, .* shots",
        _low("Geometric mean of the distances from the true value, by how common it is", rare=True),
    ),
    ("mean absolute error", _low("Mean distance of a linear model's value from the true one")),
    (
        "zero-shot accuracy",
        _high("Share of test images that lie nearest to the name of their class"),
    ),
    (
        r"\w+ to \w+ recall@1",
        _high("Share of queries whose own partner is the nearest of all"),
    ),
    (
        r"\w+ to \w+ recall@\d+",
        _high("Share of queries whose own partner is among so many nearest", rare=True),
    ),
    (r"\w+ to \w+ mean rank", _low("Mean place of a query's own partner", rare=True)),
    (
        "modality gap",
        _neither("Distance between the mean image and the mean text"),
    ),
    (
        r"recall@1",
        _high("Share of samples whose nearest other sample has their class"),
    ),
    (
        r"recall@\d+",
        _high("Share of samples with one of their class among so many nearest", rare=True),
    ),
    (
        "mean average precision",
        _high("How far up the samples of one class come in a search with one of them"),
    ),
    (
        "cluster accuracy",
        _high("Share of samples in the right cluster, under the best naming of the clusters"),
    ),
    ("cluster NMI", _high("Information that clusters and classes share, from 0 to 1")),
    (
        "cluster ARI",
        _high("Pairs on which clusters and classes agree, 0 by chance and 1 at most", rare=True),
    ),
    (r"worst .*: accuracy", _high("Linear accuracy of the group that it serves worst")),
    (
        r"gap between best and worst .*",
        _low("What the best served group is ahead of the worst"),
    ),
    (
        r"outsiders by .*: AUROC",
        _high("Probability that an outsider looks stranger than a test sample; 50 % is chance"),
    ),
    (
        r"outsiders by .*: AUPR",
        _high("Precision of the list of outsiders over all its lengths", rare=True),
    ),
    (
        r"outsiders by .*: FPR95",
        _low("Share of outsiders let in where 95 % of the test samples are", rare=True),
    ),
    (
        r"(.* )?Fmax",
        _high("Best harmonic mean of precision and recall of a protein's terms, as in CAFA"),
    ),
    (
        r"(.* )?Smin",
        _low("Least information that is missed or wrongly added, 0 to 1, normalised"),
    ),
    (
        r"(.* )?AUPR, (micro|macro)",
        _high("Precision over all recalls, of all pairs at once or as a mean over terms"),
    ),
    (
        "site AUC",
        _high("Probability that a residue of the site ranks above another; 0.5 is chance"),
    ),
    ("site precision", _high("Average precision of a chain's residues ranked by importance")),
    ("error on clean images", _low("Share of test images that the linear probe gets wrong")),
    (
        r"error under .*",
        _low("Share of wrong answers on images that were spoilt in this way", rare=True),
    ),
    (
        "mean corruption error over clean",
        _low("What spoilt images cost beside clean ones"),
    ),
    ("mean corruption error", _low("Share of wrong answers over all ways of spoiling an image")),
    (
        "segmentation mIoU",
        _high("Overlap of predicted and true regions, the mean over classes"),
    ),
    ("pixel accuracy", _high("Share of the cells that get their class", rare=True)),
    (
        "similarity, Spearman",
        _high("Rank correlation of nearness in the space with nearness in meaning"),
    ),
    (
        "effective rank",
        _high("How many dimensions the features fill; about 1 is collapse"),
    ),
    (
        "uniformity",
        _low("How evenly the features lie on the sphere", rare=True),
    ),
    (
        "alignment",
        _low(
            "Distance between two views of one sample, of use only where features are spread",
            rare=True,
        ),
    ),
    (
        "penalty entropy",
        _neither("How evenly a contrastive loss would push the other samples away, 1 at most"),
    ),
    (
        "std per dimension",
        _high("Spread of the features, where 1 is a full spread and 0 is collapse", rare=True),
    ),
    (
        "tolerance",
        _neither("Mean cosine of samples of one class, which a collapsed encoder has high, too"),
    ),
    (
        "PSNR",
        _high("Squared error of restored images in decibels, where 6 more halve the error"),
    ),
    (
        "Y-PSNR",
        _high("The same of the brightness inside a border, as enlargement is judged"),
    ),
    (
        "(MS-|Y-)?SSIM",
        _high("Likeness of local means, contrasts and patterns of restored images, 1 at most"),
    ),
    (
        "detail",
        _neither(
            "Energy of the restored images' fine detail over that of the true ones, 1 at best"
        ),
    ),
    (
        "abs_rel",
        _low("Mean distance of depth from the truth over the truth, at the truth's scale"),
    ),
    (
        "sq_rel",
        _low("Mean squared distance of depth from the truth over the truth", rare=True),
    ),
    ("rmse(_log)?", _low("Root of the mean squared distance of depth, or of its logarithm")),
    (
        "a[123]",
        _high("Share of pixels whose depth is within a factor of 1.25, or its square or cube"),
    ),
    (
        r"wrong labels found \(AUC\)",
        _high("How well the method's trust in given labels tells wrong ones from right ones"),
    ),
    (
        "wrong labels learned",
        _low("Share of the wrong training labels that the method gives back as they were given"),
    ),
    (
        r"R@1",
        _high("Share of queries whose right image is the first of its gallery, mean over tasks"),
    ),
    (
        r"R@\d+, whole set",
        _high(
            "Share of queries that find a right image among their first so many of all test "
            "images, mean over tasks",
            rare=True,
        ),
    ),
    (
        r"R@\d+(, whole set)?, .+",
        _high("The same of one task", rare=True),
    ),
    (
        r"R@\d+",
        _high("Share of queries whose right image is among so many first, mean over tasks"),
    ),
    (
        r"accuracy, forgotten (training|test)",
        _low("Share of right answers on what should have been forgotten"),
    ),
    (
        r"accuracy, remaining (training|test)",
        _high("Share of right answers on what should have been kept"),
    ),
    (
        "membership attack",
        _neither("How often one can tell that forgotten samples were learned; 50 by chance"),
    ),
    (
        r"average over tasks(, delivered)?",
        _high("Mean over tasks of the accuracy of a linear model fitted on the task"),
    ),
    ("forgetting", _low("Accuracy on earlier tasks that was lost since they were learned")),
    (
        "purity, 10 nearest",
        _high("Share of the ten nearest test samples that have the same class"),
    ),
)
_COMPILED = tuple((re.compile(pattern), meaning) for pattern, meaning in _MEANINGS)


def meaning(metric: str) -> Meaning | None:
    """How a metric is read; None for one that nearfar does not measure itself."""
    return next((found for pattern, found in _COMPILED if pattern.fullmatch(metric)), None)


def is_rare(metric: str) -> bool:
    """Whether the page folds a metric away."""
    found = meaning(metric)
    return found is not None and found.rare
