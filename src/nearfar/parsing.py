"""Words of the command line to values; what is wrong with them in one sentence, like every other mistake of the user's."""

from __future__ import annotations

import contextlib
import io
import os
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from nearfar.errors import UserError

_KINDS = {"INT": "a whole number", "FLOAT": "a number", "BOOL": "True or False", "PATH": "a path", "STR": "text"}


def parsed(command: Callable[..., Any], words: Sequence[str], *, prog: str) -> Any:
    """What tyro makes of the words, after which it has called ``command``; help is printed and leaves by ``SystemExit``.

    Raises:
        UserError: for words that do not fit; names the option, what was found and what was expected.
    """
    import tyro

    said = io.StringIO()
    asks_for_help = bool({"-h", "--help"} & set(words))
    try:
        with contextlib.redirect_stderr(said), contextlib.nullcontext() if asks_for_help else _wide():
            return tyro.cli(command, args=list(words), prog=prog)
    except SystemExit as left:
        if not left.code:
            raise
        raise UserError(f"{sentence(said.getvalue())} See {prog} --help.") from None


@contextlib.contextmanager
def _wide() -> Iterator[None]:
    """A terminal so wide that the parser breaks no sentence over lines."""
    before = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = "5000"
    try:
        yield
    finally:
        if before is None:
            del os.environ["COLUMNS"]
        else:
            os.environ["COLUMNS"] = before


def sentence(box: str) -> str:
    """The parser's framed answer in one sentence of ours; in its own words where it says what is not known here."""
    blocks: list[list[str]] = [[]]
    for line in box.splitlines():
        row = re.sub(r"^[│|]?\s*|\s*[│|]?$", "", line)
        if row[:1] in "╭╰" or set(row) <= {"─", "-"}:  # a frame or a rule; or nothing, which ends no block
            blocks += [[]] if row else []
        else:
            blocks[-1].append(row)
    blocks = [block for block in blocks if block]
    if not box.startswith("╭"):
        blocks = blocks[1:]  # without line drawing characters, the title is a block of its own
    text, rest = " ".join(blocks[0]) if blocks else "", [row for block in blocks[1:] for row in block]
    option = r"['\"]?(\S+?)['\"]?"
    if found := re.match(rf"Error parsing {option}: no type matching (\S+) could be instantiated from (\[.*?\])\.", text):
        name, kinds, values = found.groups()
        return f"{name} is {', '.join(_quoted(values))}; expected {_expected(kinds)}."
    if found := re.match(rf"Error parsing {option}: (.*)", text):
        name, reason = found.groups()
        shape = next((row for row in rest if row.startswith(name)), name).removeprefix(name).strip()
        values = re.findall(r"'([^']*)'", reason)
        if values and shape:
            return f"{name} is {values[-1]!r}; expected {_expected(shape)}."
        return f"{name} cannot be read: {reason.rstrip('.')}."
    if found := re.match(rf"invalid choice (.*?) for argument {option}\. Expected one of \((.*?),?\)", text):
        return f"{found[2]} is {found[1]}; expected one of {found[3]}."
    if found := re.match(rf"Missing value for argument {option}\.", text):
        return f"{found[1]} has no value; give one behind it."
    if found := re.match(r"Unrecognized options: (.*)", text):
        near = [row.split()[0] for row in rest if row.startswith("--")]
        hint = f": did you mean {' or '.join(near[:3])}?" if near else "."
        return f"Unknown words on the command line, {found[1].split(' ')[0].rstrip(',')!r} first{hint}"
    if found := re.match(r"Missing from .*?: (\S+) (.*)", text):
        return f"A word is missing on the command line: {found[2].replace('(required)', '').strip().rstrip('.')}."
    return f"The words cannot be read: {text.rstrip('.') or 'the parser does not say why'}."


def _quoted(values: str) -> list[str]:
    return re.findall(r"'[^']*'", values)


def _expected(kinds: str) -> str:
    """From the parser's "{None}|INT" or "FLOAT FLOAT" to words."""
    each = ([_KINDS.get(one, one) for one in kind.split("|") if one != "{None}"] for kind in kinds.split())
    return " and ".join(" or ".join(one) for one in each)
