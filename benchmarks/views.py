"""Two SimCLR views of a batch: nearfar against lightly (one PIL image at a time), torchvision v2
(one tensor at a time) and kornia (batched), one thread.

    python benchmarks/views.py       # part of `make bench`

All make the same distribution: crop (0.08, 1), flip, jitter with probability 0.8 (strength 0.5 at
32 pixels, 1 above 64), greyscale 0.2, blur 0.5 (above 64 pixels), normalise. lightly starts from
PIL images, the others from one uint8 batch. The time is the process's CPU time; all take turns in
several rounds, in a process that keeps freed memory, as nearfar's training loop does.
"""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Mapping

import torch
from record import Table, finish, parser_of, ratios, spread
from torch import Tensor, nn
from torch.nn import functional

from nearfar.data.spec import Spec
from nearfar.training.care.memory import freed_memory_kept
from nearfar.views import WantedViews, make_views
from nearfar.views.audio import CONTRASTIVE
from nearfar.views.image.blur import kernel_size

ROUNDS = 9
SERIES = (256, 3, 512)
SPECTROGRAMS = (256, 64, 128)
FEW_SPECTROGRAMS = 64
# Side, images a batch, images that lightly gets, which takes them one by one.
SIZES = ((32, 512, 128), (96, 256, 64), (224, 64, 16))


def pictures(count: int, side: int) -> Tensor:
    """Smooth random uint8 images (N, 3, side, side)."""
    coarse = torch.rand(count, 3, side // 4, side // 4, generator=torch.Generator().manual_seed(0))
    return functional.interpolate(coarse, size=side, mode="bicubic").clamp(0, 1).mul(255).byte()


def ours(images: Tensor) -> Callable[[], object]:
    side = images.shape[-1]
    spec = Spec(
        "benchmark", "image", (3, side, side), len(images), mean=(0.5,) * 3, std=(0.25,) * 3
    )
    views = make_views(spec, WantedViews())
    generator = torch.Generator().manual_seed(0)
    return lambda: views(images, generator)


def with_lightly(images: Tensor) -> Callable[[], object]:
    from lightly.transforms.simclr_transform import SimCLRTransform
    from torchvision.transforms.functional import to_pil_image

    side = images.shape[-1]
    small = side <= 64
    transform = SimCLRTransform(
        input_size=side, cj_strength=0.5 if small else 1.0, gaussian_blur=0.0 if small else 0.5
    )
    pictures = [to_pil_image(image) for image in images]
    return lambda: [transform(picture) for picture in pictures]


def with_torchvision(images: Tensor) -> Callable[[], object]:
    from torchvision.transforms import v2

    side = images.shape[-1]
    strength = 0.5 if side <= 64 else 1.0
    jitter = v2.ColorJitter(0.8 * strength, 0.8 * strength, 0.8 * strength, 0.2 * strength)
    transform = v2.Compose(
        [
            v2.RandomResizedCrop((side, side), scale=(0.08, 1.0)),
            v2.RandomHorizontalFlip(),
            v2.RandomApply([jitter], p=0.8),
            v2.RandomGrayscale(p=0.2),
            *(
                []
                if side <= 64
                else [
                    v2.RandomApply([v2.GaussianBlur(kernel_size((side, side)), (0.1, 2.0))], p=0.5)
                ]
            ),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize([0.5] * 3, [0.25] * 3),
        ]
    )
    return lambda: [[transform(image) for image in images] for _ in range(2)]


def with_kornia(images: Tensor) -> Callable[[], object]:
    from kornia import augmentation

    side = images.shape[-1]
    strength = 0.5 if side <= 64 else 1.0
    jitter = augmentation.ColorJitter(
        0.8 * strength, 0.8 * strength, 0.8 * strength, 0.2 * strength, p=0.8
    )
    blur = (
        []
        if side <= 64
        else [augmentation.RandomGaussianBlur((kernel_size((side, side)),) * 2, (0.1, 2.0), p=0.5)]
    )
    transform = nn.Sequential(
        augmentation.RandomResizedCrop((side, side), scale=(0.08, 1.0)),
        augmentation.RandomHorizontalFlip(),
        jitter,
        augmentation.RandomGrayscale(p=0.2),
        *blur,
        augmentation.Normalize(torch.full((3,), 0.5), torch.full((3,), 0.25)),
    )
    return lambda: [transform(images.float() / 255) for _ in range(2)]


def crops(images: Tensor) -> Callable[[], object]:
    side = images.shape[-1]
    spec = Spec(
        "benchmark", "image", (3, side, side), len(images), mean=(0.5,) * 3, std=(0.25,) * 3
    )
    views = make_views(spec, WantedViews(local=6))
    generator = torch.Generator().manual_seed(0)
    return lambda: views(images, generator)


def crops_with_lightly(images: Tensor) -> Callable[[], object]:
    from lightly.transforms.swav_transform import SwaVTransform
    from torchvision.transforms.functional import to_pil_image

    side = images.shape[-1]
    wanted = WantedViews(local=6)
    transform = SwaVTransform(
        crop_sizes=(side, round(wanted.local_size * side)),
        crop_counts=(2, 6),
        crop_min_scales=(0.08, wanted.local_scale[0]),
        crop_max_scales=(1.0, wanted.local_scale[1]),
        cj_strength=1.0,
        gaussian_blur=0.5,
    )
    pictures = [to_pil_image(image) for image in images]
    return lambda: [transform(picture) for picture in pictures]


def series() -> Callable[[], object]:
    values = torch.randn(*SERIES, generator=torch.Generator().manual_seed(0))
    spec = Spec(
        "benchmark",
        "series",
        SERIES[1:],
        len(values),
        mean=(0.0,) * SERIES[1],
        std=(1.0,) * SERIES[1],
    )
    views = make_views(spec, WantedViews())
    generator = torch.Generator().manual_seed(0)
    return lambda: views(values, generator)


def spectrograms(values: Tensor) -> Callable[[], object]:
    bands = values.shape[1]
    spec = Spec(
        "benchmark",
        "audio",
        tuple(values.shape[1:]),
        len(values),
        mean=(0.0,) * bands,
        std=(1.0,) * bands,
    )
    views = make_views(spec, WantedViews())
    generator = torch.Generator().manual_seed(0)
    return lambda: views(values, generator)


def spectrograms_with_torchaudio(values: Tensor) -> Callable[[], object]:
    """The same distribution one spectrogram at a time: torchaudio's masks, and plain tensor
    operations for what it does not have.
    """
    from torchaudio import transforms

    bands, steps = values.shape[1:]
    masks = nn.Sequential(
        transforms.TimeMasking(steps, p=CONTRASTIVE.masked_time),
        transforms.FrequencyMasking(round(CONTRASTIVE.masked_bands * bands)),
    )
    least, most = CONTRASTIVE.scale

    def view(sample: Tensor) -> Tensor:
        width = round(float(torch.empty(()).uniform_(least, most)) * steps)
        start = int(torch.randint(0, steps - width + 1, ()))
        crop = functional.interpolate(
            sample[None, :, start : start + width], size=steps, mode="linear"
        )
        crop = crop + float(torch.empty(()).uniform_(-1, 1)) * CONTRASTIVE.gain * math.log(10) / 10
        masked: Tensor = masks(crop + CONTRASTIVE.noise * torch.randn(crop.shape))
        return masked

    return lambda: [[view(sample) for sample in values] for _ in range(2)]


def measure(side: int, count: int, few: int, rounds: int) -> list[dict[str, object]]:
    """Rows of the table for two views of one size."""
    images = pictures(count, side)
    entries = {
        "nearfar": (ours(images), count),
        "lightly": (with_lightly(images[:few]), few),
        "torchvision": (with_torchvision(images[:few]), few),
        "kornia": (with_kornia(images), count),
    }
    return [{"pixels": side, **row} for row in timed(entries, 2, rounds)]


def timed(
    entries: Mapping[str, tuple[Callable[[], object], int]], views: int, rounds: int
) -> list[dict[str, object]]:
    """A row for each entry, a function that makes ``views`` views of a number of samples."""
    taken: dict[str, list[float]] = {name: [] for name in entries}
    with freed_memory_kept(
        torch.device("cpu")
    ):  # as in nearfar's training loop, here for all of them
        for number in range(rounds + 1):
            for name, (run, samples) in entries.items():
                start = time.process_time()
                run()
                if number:  # the first round warms up
                    taken[name].append((time.process_time() - start) / (views * samples))
    return [
        {
            "library": name,
            "us a view": spread([1e6 * one for one in found]),
            "views/s": 1 / sorted(found)[len(found) // 2],
            "time / ours": spread(ratios(found, taken["nearfar"])),
        }
        for name, found in taken.items()
    ]


def main() -> None:
    options = parser_of(__doc__).parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    rows = []
    for side, count, few in SIZES:
        rows += measure(side, count, few, 5 if options.quick else ROUNDS)
        print(*rows[-4:], sep="\n", flush=True)
    about = """Two SimCLR views of a batch of decoded images, CPU time on one thread. lightly and
torchvision (v2, tensors) take images
one by one, kornia and nearfar as a batch. Blur (a tenth of the side wide) above 64 pixels. The
process keeps freed memory, as nearfar's
training loop does."""
    side = 96
    count = 128
    few = 16
    small = round(WantedViews().local_size * side)
    images = pictures(count, side)
    rounds = 5 if options.quick else ROUNDS
    several = timed(
        {"nearfar": (crops(images), count), "lightly": (crops_with_lightly(images[:few]), few)},
        8,
        rounds,
    )
    waves = timed({"nearfar": (series(), SERIES[0])}, 2, rounds)
    sound = torch.randn(*SPECTROGRAMS, generator=torch.Generator().manual_seed(0))
    sounds = timed(
        {
            "nearfar": (spectrograms(sound), len(sound)),
            "torchaudio": (
                spectrograms_with_torchaudio(sound[:FEW_SPECTROGRAMS]),
                FEW_SPECTROGRAMS,
            ),
        },
        2,
        rounds,
    )
    for row in several + waves + sounds:
        print(row, flush=True)
    spectrograms_about = f"""Two views of log-mel spectrograms of {SPECTROGRAMS[1]} bands and
{SPECTROGRAMS[2]} steps: a crop in time, gain,
noise, a mask in time and one in frequency. The other is torchaudio's masks and plain tensor
operations, one sample at a time."""
    tables = [
        Table("Views", about, rows),
        Table(
            "Multi-crop",
            f"Two whole views of {side} pixels and six local ones of {small}, otherwise as above.",
            several,
        ),
        Table(
            "Series",
            f"Two views of series of {SERIES[1]} channels and {SERIES[2]} points, otherwise as "
            "above; no peer.",
            waves,
        ),
        Table("Spectrograms", spectrograms_about, sounds),
    ]
    finish(tables, options)


if __name__ == "__main__":
    main()
