"""The command line: each verb is the Python function of the same name; options come from its
signature and docstring.
"""

from __future__ import annotations

import errno
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from nearfar.errors import UserError, unknown_name

_VERBS = {
    "pretrain": "train an encoder on unlabelled data and judge it",
    "evaluate": "judge a run's encoder: kNN, linear probe, few labels, outsiders, robustness ...",
    "predict": "what a run's method says of samples: classes, values, restored images, terms ...",
    "embed": "features of data as parquet or npz",
    "search": "the samples that are most like an image, a series, a text or another sample",
    "dedupe": "groups of near-duplicates",
    "label": "what to label next, and which labels are likely wrong",
    "export": "the encoder as safetensors, ONNX or a torch program",
    "push": "the encoder and its model card to the Hugging Face hub",
    "report": "one self-contained page about a run",
    "compare": "several methods under equal conditions, with intervals and a verdict",
    "claim": "a paper's central claim, as an experiment with seeds and intervals",
    "study": "a paper's benchmark: methods under several conditions",
    "methods": "the methods, or one method's paper and settings",
    "datasets": "the data sets known by name",
    "doctor": "what is installed and what limits speed here",
}

_INTERRUPTED = 130
_OUTSIDE = {
    errno.EACCES,
    errno.EDQUOT,
    errno.EFBIG,
    errno.EIO,
    errno.EMFILE,
    errno.ENAMETOOLONG,
    errno.ENFILE,
    errno.ENOSPC,
    errno.EPERM,
    errno.EROFS,
}
"""What the system may refuse for reasons outside of nearfar: the disk is full, the folder is
read-only ...
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; 0 when it went well, 2 for the user's mistake, 1 for ours, 130 when
    interrupted.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    # Read when torch is first imported: threads that wait spin for some microseconds only, by GNU's
    # OpenMP, or not at all. Longer, and a step takes ten times as long once another program wants
    # one of the cores; without, and small steps on idle cores take up to twice.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    try:
        return _dispatch(words)
    except UserError as error:
        print(f"nearfar: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("nearfar: interrupted", file=sys.stderr)
        return _INTERRUPTED
    except BrokenPipeError:
        sys.stderr.close()
        return 141
    except Exception as error:
        if isinstance(error, OSError) and error.errno in _OUTSIDE:
            place = f" {error.filename}" if error.filename else ""
            print(
                f"nearfar: the system refuses{place}: {error.strerror}; mend that and try again",
                file=sys.stderr,
            )
            return 2
        traceback.print_exc()
        print(
            "nearfar: this is a defect of nearfar, not of yours; please report the lines above",
            file=sys.stderr,
        )
        return 1


def _dispatch(words: list[str]) -> int:
    if not words or words[0] in ("-h", "--help", "help"):
        print(_overview())
        return 0
    if words[0] in ("-V", "--version"):
        from nearfar.version import __version__

        print(f"nearfar {__version__}")
        return 0
    verb = words[0]
    rest = words[1:]
    if verb not in _VERBS:
        raise unknown_name("command", verb, _VERBS)
    if verb == "pretrain":
        from nearfar.cli.pretraining import pretrain

        return pretrain(rest)
    if verb == "compare":
        from nearfar.cli.comparing import compare

        return compare(rest)
    import importlib

    from nearfar import HOMES
    from nearfar.cli.functions import with_positional_first
    from nearfar.parsing import parsed

    function: Callable[..., Any] = getattr(importlib.import_module(HOMES[verb]), verb)
    result = parsed(with_positional_first(function), rest, prog=f"nearfar {verb}")()
    if isinstance(result, Path):
        print(result)
    elif hasattr(result, "table"):
        from rich.console import Console

        console = Console()
        if verb == "evaluate":
            from nearfar.reports.terminal import judged_lines
            from nearfar.reports.told import shown

            for label, text in judged_lines(result):
                console.print(f"[cyan]{label}[/] {shown(text)}", highlight=False, soft_wrap=True)
        console.print(result.table())
    return 0


def _overview() -> str:
    width = max(map(len, _VERBS))
    lines = [f"  {verb:<{width}}  {text}" for verb, text in _VERBS.items()]
    return "\n".join(
        [
            "usage: nearfar COMMAND ...",
            "",
            "Self-supervised representation learning: every method on one engine, compared fairly.",
            "",
            *lines,
            "",
            "`nearfar COMMAND --help` lists a command's options. Start with: nearfar pretrain "
            "simclr",
        ]
    )
