"""Two SimCLR views of a batch: nearfar against lightly (one PIL image at a time) and kornia (batched), one thread.

    python benchmarks/views.py

All make the same distribution: crop (0.08, 1), flip, jitter with probability 0.8 (strength 0.5 at 32 pixels, 1 at 224),
greyscale 0.2, blur 0.5 (at 224 only), normalise. lightly starts from PIL images, the others from one uint8 batch. The time is
the process's CPU time, the best of several rounds in which all take turns.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from nearfar.data.spec import Spec
from nearfar.views import WantedViews, make_views

ROUNDS = 9
# Side, images a batch, images that lightly gets, which takes them one by one.
SIZES = ((32, 512, 128), (224, 64, 16))


def pictures(count: int, side: int) -> Tensor:
    """Smooth random uint8 images (N, 3, side, side)."""
    coarse = torch.rand(count, 3, side // 4, side // 4, generator=torch.Generator().manual_seed(0))
    return functional.interpolate(coarse, size=side, mode="bicubic").clamp(0, 1).mul(255).byte()


def ours(images: Tensor) -> Callable[[], object]:
    side = images.shape[-1]
    spec = Spec("benchmark", "image", (3, side, side), len(images), mean=(0.5,) * 3, std=(0.25,) * 3)
    views, generator = make_views(spec, WantedViews()), torch.Generator().manual_seed(0)
    return lambda: views(images, generator)


def with_lightly(images: Tensor) -> Callable[[], object]:
    from lightly.transforms.simclr_transform import SimCLRTransform
    from torchvision.transforms.functional import to_pil_image

    side = images.shape[-1]
    small = side <= 64
    transform = SimCLRTransform(input_size=side, cj_strength=0.5 if small else 1.0, gaussian_blur=0.0 if small else 0.5)
    pictures = [to_pil_image(image) for image in images]
    return lambda: [transform(picture) for picture in pictures]


def with_kornia(images: Tensor) -> Callable[[], object]:
    from kornia import augmentation

    side = images.shape[-1]
    strength = 0.5 if side <= 64 else 1.0
    jitter = augmentation.ColorJitter(0.8 * strength, 0.8 * strength, 0.8 * strength, 0.2 * strength, p=0.8)
    blur = [] if side <= 64 else [augmentation.RandomGaussianBlur((23, 23), (0.1, 2.0), p=0.5)]
    transform = nn.Sequential(
        augmentation.RandomResizedCrop((side, side), scale=(0.08, 1.0)),
        augmentation.RandomHorizontalFlip(),
        jitter,
        augmentation.RandomGrayscale(p=0.2),
        *blur,
        augmentation.Normalize(torch.full((3,), 0.5), torch.full((3,), 0.25)),
    )
    return lambda: [transform(images.float() / 255) for _ in range(2)]


def main() -> None:
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    print(f"{'pixels':>6}  {'library':<10}{'us a view':>10}{'views/s':>10}{'to ours':>9}")
    for side, count, few in SIZES:
        images = pictures(count, side)
        entries = {
            "nearfar": (ours(images), count),
            "lightly": (with_lightly(images[:few]), few),
            "kornia": (with_kornia(images), count),
        }
        best = dict.fromkeys(entries, float("inf"))
        for _ in range(ROUNDS):
            for name, (run, samples) in entries.items():
                start = time.process_time()
                run()
                best[name] = min(best[name], (time.process_time() - start) / (2 * samples))
        for name, seconds in best.items():
            print(f"{side:>6}  {name:<10}{seconds * 1e6:>10.1f}{1 / seconds:>10.0f}{seconds / best['nearfar']:>8.1f}x")


if __name__ == "__main__":
    main()
