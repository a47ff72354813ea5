"""What the methods with MoCo v2's networks share: a projector, a momentum copy that makes keys, and
a queue of past keys.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from torch import Tensor, nn
from torch.nn.functional import normalize

from nearfar.networks.encoder import Encoder
from nearfar.networks.heads import mlp
from nearfar.ranges import unit_interval, whole_number
from nearfar.targets.momentum import MomentumEncoder
from nearfar.targets.queue import Queue, fitting_length


@dataclass(frozen=True)
class QueueSettings:
    """Sizes and speeds of these parts.

    Attributes:
        momentum: share of the copy that stays at each step, in [0, 1].
        queue: number of past keys; at most the number of training samples is used.
        hidden: width of the projector's hidden layer; 0: a linear projector, as in MoCo v1.
        projection: dimensions in which views are compared.
    """

    momentum: Annotated[float, unit_interval()] = 0.999
    queue: Annotated[int, whole_number()] = 65536
    hidden: Annotated[int, whole_number(0)] = 2048
    projection: Annotated[int, whole_number()] = 128


def with_queue(
    encoder: Encoder, samples: int, settings: QueueSettings, *, last_norm: str = "none"
) -> tuple[nn.Sequential, MomentumEncoder, Queue]:
    """The projector, the momentum copy of encoder and projector, and the queue.

    Args:
        encoder: the online one.
        samples: number of training samples, which the queue does not exceed.
        settings: of the method.
        last_norm: of the projector, as in ``mlp``.
    """
    hidden = (settings.hidden,) if settings.hidden else ()
    projector = mlp(
        (encoder.dimension, *hidden, settings.projection), hidden_norm=False, last_norm=last_norm
    )
    target = MomentumEncoder(nn.Sequential(encoder, projector))
    return projector, target, Queue(fitting_length(settings.queue, samples), settings.projection)


def advance(
    queue: Queue, target: MomentumEncoder, key: Tensor, online: nn.Module, momentum: float
) -> None:
    """After a step: the newest keys (N, D) enter the queue as unit rows, and the copy follows the
    online network.
    """
    queue.push(normalize(key, dim=1))
    target.update(online, momentum)
