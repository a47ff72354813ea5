"""An encoder of the user's own: any module, whose output is brought to features."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from nearfar import modalities, own
from nearfar.data.spec import Spec
from nearfar.errors import UserError
from nearfar.networks.catalogue import FRESH
from nearfar.networks.encoder import Encoder
from nearfar.rows import Tokens

_GIVES = (
    "expected features (N, D), a map (N, C, H, W), tokens (N, T, D), or a transformers output with "
    "pooler_output or last_hidden_state"
)
_TRIED = (2, 3)
"""Samples of the batches that a module is tried on."""


class OwnEncoder(Encoder):
    """Samples to (N, dimension) by a module of the user's own.

    A module gives features (N, D), a map (N, C, ...) or tokens (N, T, D), whose mean is taken, or
    an output of the transformers library: its ``pooler_output``, or the mean of its
    ``last_hidden_state``. Models of the timm library give what stands before their classifier,
    which is removed. Of texts a module gets ``Tokens``, or ``input_ids`` and ``attention_mask``
    where its ``forward`` has these.

    Args:
        module: In any mode. It is tried on random samples in evaluation mode, and its modes and
            buffers are left as they were. Parameters that do not reach the features are frozen.
        spec: Of the data.
        name: For errors.

    Raises:
        UserError: If it fails on such samples, or gives something else.

    Example:
        >>> spec = Spec("mine", "image", (3, 8, 8), 10, mean=(0.5,) * 3, std=(0.2,) * 3)
        >>> OwnEncoder(nn.Conv2d(3, 5, 3), spec, "own:Conv2d")(torch.zeros(2, 3, 8, 8)).shape
        torch.Size([2, 5])
    """

    weights_prefix = "module."

    def __init__(self, module: nn.Module, spec: Spec, name: str) -> None:
        super().__init__()
        self.module = module
        self.called = name.removeprefix(own.OWN)
        self.axes = modalities.get(spec.modality).axes
        if _is_timm(module):
            module.reset_classifier(0)  # type: ignore[operator]
        self.dimension = self._tried(spec)

    def forward(self, x: Any) -> Tensor:
        return self._pooled(self._output(x), x)

    def feature_map(self, x: Tensor) -> Tensor:
        found = self._whole(x)
        return found if found.ndim > 3 else super().feature_map(x)

    def tokens(self, x: Tensor) -> Tensor:
        found = self._whole(x)
        return found if found.ndim == 3 else super().tokens(x)

    def try_on(self, x: Any) -> None:
        """Refuse views that the module cannot take, in training as in evaluation mode.

        Args:
            x: Some samples of a view.

        Raises:
            UserError: If it fails, or its features are not as on whole samples.
        """
        for training in (False, True):
            with torch.no_grad():
                self._trial(x, self.dimension, training=training)

    def _tried(self, spec: Spec) -> int:
        """The dimension of the features of random samples."""
        generator = torch.Generator().manual_seed(0)
        dimension = 0
        for count in _TRIED:
            x = modalities.plain_of(spec, modalities.toy_of(spec, count, generator))
            with torch.no_grad():
                dimension = self._trial(x, dimension, training=False).shape[1]
        self._freeze_unreached(x)
        return dimension

    def _freeze_unreached(self, x: Any) -> None:
        """Freeze what no feature depends on, such as a head that is not used: it has no
        gradient.
        """
        parameters = [one for one in self.module.parameters() if one.requires_grad]
        with _left_alone(self.module), torch.enable_grad():
            self.module.eval()
            features = self(x)
            if not features.requires_grad:
                return
            gradients = torch.autograd.grad(features.sum(), parameters, allow_unused=True)
        for parameter, gradient in zip(parameters, gradients, strict=True):
            if gradient is None:
                parameter.requires_grad_(False)

    def _trial(self, x: Any, dimension: int, *, training: bool) -> Tensor:
        size = " x ".join(map(str, x.shape[1:])) if isinstance(x, Tensor) else type(x).__name__
        try:
            with _left_alone(self.module):
                self.module.train(training)
                features = self(x)
        except UserError:
            raise
        except Exception as error:  # whatever the user's module raises
            mode = " in training mode" if training else ""
            raise UserError(
                f"The encoder {self.called} fails on {len(x)} samples of {size}{mode}"
                f"{own.failure(error)}; expected a module that takes such samples."
            ) from error
        if len(features) != len(x):
            raise UserError(
                f"The encoder {self.called} gives {len(features)} rows of features for {len(x)} "
                "samples; expected one for each."
            )
        if dimension not in (0, features.shape[1]):
            raise UserError(
                f"The encoder {self.called} gives {dimension} features for some samples and "
                f"{features.shape[1]} for {len(x)} of {size}; expected as many for any number and "
                "size of samples."
            )
        found: Tensor = features
        return found

    def _output(self, x: Any) -> Any:
        if _is_timm(self.module):
            timm: Any = self.module
            return timm.forward_head(timm.forward_features(x), pre_logits=True)
        taken = inspect.signature(self.module.forward).parameters
        if isinstance(x, Tokens) and "input_ids" in taken:
            return self.module(input_ids=x.ids, attention_mask=x.mask.long())
        return self.module(x)

    def _whole(self, x: Any) -> Tensor:
        """Features before they are pooled."""
        if _is_timm(self.module):
            found: Tensor = self.module.forward_features(x)  # type: ignore[operator]
            if found.ndim == 3:
                return found[:, getattr(self.module, "num_prefix_tokens", 0) :]
            last = getattr(self.module, "output_fmt", "NCHW") == "NHWC"
            return found.permute(0, 3, 1, 2) if last else found
        output = self._output(x)
        hidden = _field(output, "last_hidden_state")
        whole: Any = output if hidden is None else hidden
        if not isinstance(whole, Tensor):
            raise self._unknown(output)
        return whole

    def _pooled(self, output: Any, x: Any) -> Tensor:
        pooled = _field(output, "pooler_output")
        hidden = _field(output, "last_hidden_state")
        found = next((one for one in (pooled, hidden, output) if one is not None), None)
        if not isinstance(found, Tensor) or found.ndim < 2 or not found.is_floating_point():
            raise self._unknown(output)
        if found.ndim == 2:
            return found
        if found.ndim > 3:
            return found.flatten(2).mean(2)
        if found is output and self.axes == 2:
            shape = tuple(found.shape[1:])
            raise UserError(
                f"The encoder {self.called} gives {shape} for each sample, which may be tokens "
                "(T, D) or a map (C, T); return features (N, D): x.mean(1) of tokens, x.mean(2) of "
                "a map."
            )
        if isinstance(x, Tokens) and found.shape[1] == x.mask.shape[1]:
            weight = x.mask[:, :, None].to(found)
            return (found * weight).sum(1) / weight.sum(1).clamp(min=1)
        return found.mean(1)

    def _unknown(self, output: Any) -> UserError:
        kind = type(output).__name__
        if isinstance(output, Tensor):
            kind = f"a tensor of {str(output.dtype).removeprefix('torch.')} {tuple(output.shape)}"
        elif isinstance(output, tuple | list):
            kind = f"a {kind} of {', '.join(type(one).__name__ for one in output) or 'nothing'}"
        else:
            kind = f"a {kind}"
        return UserError(f"The encoder {self.called} gives {kind}; {_GIVES}.")


def build_own(name: str, spec: Spec) -> OwnEncoder:
    """The encoder of the user's own that is at hand.

    Args:
        name: Of it; with "@fresh" behind it, its weights are drawn anew.
        spec: Of the data.

    Raises:
        UserError: If none is at hand, it cannot be made, or it does not fit the data.
    """
    if torch.get_default_device().type == "meta":
        raise NotImplementedError("code of the user's own is not run to count weights")
    bare = name.removesuffix(FRESH)
    given = own.handed("encoder", bare)
    module = _module(given, spec, bare)
    if name.endswith(FRESH):
        _draw_anew(module, given, spec, bare)
    return OwnEncoder(module, spec, bare)


def _module(given: Any, spec: Spec, name: str) -> nn.Module:
    """A module of its own: a copy of the one that was given, or what the constructor makes."""
    called = name.removeprefix(own.OWN)
    if isinstance(given, nn.Module):
        try:
            return copy.deepcopy(given)
        except Exception as error:
            raise UserError(
                f"The encoder {called} cannot be copied{own.failure(error)}; hand over a function "
                "that makes it."
            ) from error
    if not callable(given):
        raise UserError(
            f"The encoder {called} is a {type(given).__name__}; expected a torch.nn.Module, or a "
            "function or class that makes one."
        )
    try:
        made = given(spec) if own.needed(given) == 1 else given()
    except UserError:
        raise
    except Exception as error:
        raise UserError(
            f"{called} makes no encoder{own.failure(error)}; expected a call without arguments, or "
            "with the spec of the data, that gives a torch.nn.Module."
        ) from error
    if not isinstance(made, nn.Module):
        raise UserError(
            f"{called} makes a {type(made).__name__}; expected it to give a torch.nn.Module."
        )
    return made


def _draw_anew(module: nn.Module, given: Any, spec: Spec, name: str) -> None:
    """Give a module random weights, unless the constructor draws them anyway.

    What has no ``reset_parameters`` keeps its values in another order, so that their distribution
    is kept and what was learned is not.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(torch.initial_seed() + 1)
        other = _module(given, spec, name)
    pairs = zip(module.parameters(), other.parameters(), strict=True)
    if any(not torch.equal(one, another) for one, another in pairs):
        return
    drawn: set[int] = set()
    for part in module.modules():
        reset: Any = getattr(part, "reset_parameters", getattr(part, "_reset_parameters", None))
        if reset is not None:
            reset()
            drawn |= {id(one) for one in part.parameters()}
    for parameter in module.parameters():
        if id(parameter) not in drawn:
            order = torch.randperm(parameter.numel())
            parameter.data = parameter.data.flatten()[order].view_as(parameter)


def _is_timm(module: nn.Module) -> bool:
    """Whether a module can be read as those of the timm library."""
    return all(
        callable(getattr(module, name, None))
        for name in ("forward_features", "forward_head", "reset_classifier")
    )


def _field(output: Any, name: str) -> Any:
    """What an output of the transformers library calls so; None without."""
    if isinstance(output, Mapping):
        return output.get(name)
    return None if isinstance(output, Tensor | tuple) else getattr(output, name, None)


@contextmanager
def _left_alone(module: nn.Module) -> Iterator[None]:
    """Leave modes, buffers and the state of random draws as they were."""
    modes = [(one, one.training) for one in module.modules()]
    lazy = nn.parameter.is_lazy
    buffers = {name: one.clone() for name, one in module.named_buffers() if not lazy(one)}
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            yield
    finally:
        for one, mode in modes:
            one.training = mode
        with torch.no_grad():
            for name, value in module.named_buffers():
                if name in buffers and value.shape == buffers[name].shape:
                    value.copy_(buffers[name])
