"""GeneCIS: a learned combination of image and condition finds what their average does not."""

from __future__ import annotations

import copy
from functools import cache, partial

from nearfar import data
from nearfar.claims.claim import Claim
from nearfar.claims.harness import Training, pretrained
from nearfar.data.prepare import prepared
from nearfar.data.samples import Source
from nearfar.data.spec import Spec
from nearfar.evaluation.features import predicted
from nearfar.evaluation.measures.conditional import recall_at
from nearfar.evaluation.protocol import Predict
from nearfar.methods.method import Method
from nearfar.methods.paired.genecis import GeneCIS
from nearfar.networks.convnet import SmallConvNet
from nearfar.networks.encoder import Encoder
from nearfar.networks.text_transformer import TextTransformer
from nearfar.networks.towers import Towers
from nearfar.views import ImageViewSettings, plain_view

COMBINER = "combiner"
AVERAGE = "average of image and text"
PLAIN = {
    AVERAGE: {"reference": 0.5, "condition": 0.5},
    "image alone": {"reference": 1.0},
    "text alone": {"condition": 1.0},
}
CLIP_STEPS = 500
STEPS = 600
VIEWS = ImageViewSettings(scale=(0.9, 1.0), rotation=5.0)


def towers(spec: Spec) -> Encoder:
    """Three thin convolutions and one block over tokens."""
    image = SmallConvNet(spec.parts["image"], widths=(24, 32, 32))
    text = TextTransformer(spec.parts["text"], width=32, depth=1, heads=2)
    return Towers({"image": image, "text": text})


@cache
def digit_cis() -> Source:
    """Digits in four styles with texts."""
    return data.load("digit-cis")


@cache
def queries(seed: int) -> Source:
    """Triplets of the training digits and queries of the test digits, drawn by the seed."""
    return prepared(digit_cis(), ("triplets:task=focus",), seed=seed)


@cache
def finished(seed: int) -> Method:
    """The image-text model that both arms start from."""
    training = Training(
        steps=CLIP_STEPS,
        batch_size=64,
        learning_rate=2e-3,
        encoder=towers,
        views={"image": VIEWS},
    )
    return pretrained("clip", digit_cis(), training, seed=seed, settings={"projection": 64})


@cache
def combined(seed: int) -> GeneCIS:
    """The combiner on that model, which stays as it is."""
    clip = copy.deepcopy(finished(seed))
    training = Training(
        steps=STEPS,
        batch_size=64,
        learning_rate=3e-3,
        weight_decay=0.0,
        encoder=lambda _: clip.encoder,
        views={"reference": VIEWS, "target": VIEWS},
    )
    method = pretrained("genecis", queries(seed), training, seed=seed, parts={"clip": clip})
    assert isinstance(method, GeneCIS)
    return method


def measure(arm: str, seed: int) -> dict[str, float]:
    """R@1, mean over both tasks, which decides, and what each task and each half alone reach."""
    source = queries(seed)
    method = combined(seed)
    test = source.test
    assert test is not None
    view = plain_view(source.spec)
    answers: dict[str, Predict] = {"": method.predict}
    if arm == AVERAGE:
        plain = {name: partial(method.weighed, weights=weights) for name, weights in PLAIN.items()}
        answers = {"": plain.pop(AVERAGE), **{f"{name}, ": one for name, one in plain.items()}}
    found: dict[str, float] = {}
    for name, predict in answers.items():
        right = recall_at(predicted(predict, test, view).scores, 1).double()
        each = {
            task: float(right[test.group["task"] == number].mean())
            for number, task in enumerate(source.members["task"])
            if task.startswith("focus")
        }
        found[f"{name}R@1"] = sum(each.values()) / len(each)
        found |= {f"{name}{task}": value for task, value in each.items()}
    return found


CLAIM = Claim(
    statement="A combiner that learned from other triplets finds the image that agrees with the "
    "reference in the respect that a word names, which the average of image and text does not.",
    first=COMBINER,
    second=AVERAGE,
    metric="R@1",
    measure=measure,
    setting="digit-cis: a digit in one of four styles with a text that says both; a CLIP of three "
    "thin convolutions and one block over tokens for 500 steps of 64 on the training digits, then "
    "the combiner alone for 600 steps of 64 triplets of training digits, width 128, factor 20, "
    "AdamW at 0.003 along a cosine. 200 queries for each of 'number' and 'style' from the test "
    "digits, each with a gallery of 10: of the nine other images, none of which meets what is "
    "asked for, five share the other property with the reference and four share it with the "
    "target, which is not the odd one out; R@1 is the mean of both. A rule that does not read the "
    "word finds at most half. The average is of the same CLIP's plain embeddings. The paper "
    "fine-tunes a large CLIP on 1.6 million triplets from captions, with the factor 100.",
    tuning="On seed 0, at first 800 steps at 0.001 with the factor 100: 0.230 against 0.263; 500 "
    "steps at 0.001 with the factor 20: 0.278 against 0.267. On that seed's finished embeddings "
    "1,000 steps at 0.003 with the factor 100 and 500 steps at 0.003 with the factor 20 found both "
    "conditions in over 0.95. As set, seeds 0 and 1: 0.978 and 0.980 against 0.267 and 0.265; "
    "there the image alone reached 0.335 and 0.278 (0.01 and 0.02 for the number, 0.66 and 0.54 "
    "for the style) and the text alone 0.258 and 0.270, above the chance of 0.100: all nine other "
    "images then shared their other property with the reference, and a liking for another value "
    "found the target. Five seeds from 1000 gave 0.984 against 0.269 so. Galleries were mended for "
    "that reason; on the mended ones nothing was tried.",
    first_seed=2000,
)
