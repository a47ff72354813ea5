"""Words of the command line to values; what is wrong with them in one sentence, like every other
mistake of the user's.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import os
import re
import textwrap
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Any, TypedDict

from nearfar.errors import UserError
from nearfar.ranges import limits

_KINDS = {
    "INT": "a whole number",
    "FLOAT": "a number",
    "BOOL": "True or False",
    "PATH": "a path",
    "STR": "text",
}


def given(
    kind: type,
    summary: str,
    names: Iterable[str] | None = None,
    *,
    defaults: Mapping[str, str] | None = None,
    flags: Mapping[str, str] | None = None,
) -> Any:
    """A type from which the parser returns only the options that stand on the command line.

    Args:
        kind: A dataclass whose fields are the options and whose docstring documents them.
        summary: One sentence that help prints above them.
        names: The fields to take; all by default.
        defaults: What help says about an option's default, by name; by default the field's own.
        flags: Options that are called otherwise on the command line.

    Returns:
        A ``TypedDict`` of optional keys, annotated for the parser.
    """
    import tyro

    hints = typing.get_type_hints(kind, include_extras=True)
    texts = documented(kind)
    fields: dict[str, Any] = {}
    for field in dataclasses.fields(kind):
        if names is None or field.name in names:
            default = (defaults or {}).get(field.name, _shown(field.default))
            hint = "; ".join(filter(None, (default, limits(hints[field.name]))))
            note = tyro.conf.arg(
                name=(flags or {}).get(field.name),
                help=texts.get(field.name, ""),
                help_behavior_hint=f"({hint})" if hint else "",
            )
            fields[field.name] = Annotated[hints[field.name], note]
    made: Any = TypedDict("Options", fields, total=False)  # type: ignore[misc]
    made.__doc__ = summary
    return made


def gathered(words: Sequence[str], names: Iterable[str]) -> list[str]:
    """The words with options that may come several times gathered into one at the end.

    Args:
        words: Of the command line.
        names: Of the options, such as "with"; each takes one value at a time.

    Example:
        >>> gathered(["--with", "a", "simclr", "--with=b", "--seed", "1"], ["with"])
        ['simclr', '--seed', '1', '--with', 'a', 'b']

    Raises:
        UserError: If one has no value.
    """
    kept: list[str] = []
    values: dict[str, list[str]] = {}
    waiting = ""
    for word in words:
        name, equals, value = word.removeprefix("--").partition("=")
        if waiting:
            if word.startswith("--"):
                break
            values[waiting].append(word)
            waiting = ""
        elif word.startswith("--") and name in names:
            values.setdefault(name, [])
            if equals:
                values[name].append(value)
            else:
                waiting = name
        else:
            kept.append(word)
    if waiting:
        raise UserError(f"--{waiting} has no value; give one behind it.")
    return kept + [word for name, each in values.items() for word in (f"--{name}", *each)]


def _shown(default: Any) -> str:
    if default is None or default is dataclasses.MISSING:
        return ""
    if isinstance(default, bool):
        return "default: on" if default else "default: off"
    if isinstance(default, tuple):
        return f"default: {' '.join(map(str, default))}" if default else ""
    return f"default: {default}"


def documented(kind: type) -> dict[str, str]:
    """Field name to text, from the ``Attributes:`` of a class's docstring and those of the classes
    that it extends.

    >>> from nearfar.options import PretrainOptions
    >>> documented(PretrainOptions)["epochs"]
    'passes over the training samples.'
    """
    found: dict[str, str] = {}
    for part in reversed(kind.__mro__):
        _, _, text = (part.__doc__ or "").partition("Attributes:")
        text = re.split(r"\n\s*\n\s*Raises:", text)[0]
        block = textwrap.dedent(text.strip("\n"))
        for entry in re.split(r"\n(?=\w+: )", block):
            name, colon, words = entry.strip().partition(": ")
            if colon and part is not object:
                found[name] = " ".join(words.split())
    return found


def flags_of(hints: Mapping[str, Any], prefix: str = "") -> set[str]:
    """The option words of those hints that are true or false: "--strict" and "--no-strict"."""
    names = [name.replace("_", "-") for name, hint in hints.items() if _bare(hint) is bool]
    return {f"--{prefix}{negation}{name}" for name in names for negation in ("", "no-")}


def _bare(hint: Any) -> Any:
    return typing.get_args(hint)[0] if typing.get_origin(hint) is Annotated else hint


def parsed(
    command: Callable[..., Any], words: Sequence[str], *, prog: str, flags: Iterable[str] = ()
) -> Any:
    """What tyro makes of the words, after which it has called ``command``; help is printed and
    leaves by ``SystemExit``.

    Args:
        command: What is called with the values.
        words: Of the command line, behind the verb.
        prog: The command's name, for help and errors.
        flags: Options that take no value; one that is given a value is refused, as the parser would
            take the value for a word of its own.

    Raises:
        UserError: for words that do not fit; names the option, what was found and what was
            expected.
    """
    import tyro

    for word in words:
        name, equals, value = word.partition("=")
        if equals and name in set(flags):
            plain = name.replace("--no-", "--").replace(".no-", ".")
            negated = (
                re.sub(r"([^.-]+)$", r"no-\1", plain)
                if "." in plain
                else plain.replace("--", "--no-", 1)
            )
            raise UserError(
                f"{name} was given the value {value!r}; expected none: write {plain} or {negated}."
            )

    said = io.StringIO()
    asks_for_help = bool({"-h", "--help"} & set(words))
    try:
        with (
            contextlib.redirect_stderr(said),
            contextlib.nullcontext() if asks_for_help else _wide(),
        ):
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
    """The parser's framed answer in one sentence of ours; in its own words where it says what is
    not known here.
    """
    blocks: list[list[str]] = [[]]
    for line in box.splitlines():
        row = re.sub(r"^[│|]?\s*|\s*[│|]?$", "", line)
        if row[:1] in "╭╰" or set(row) <= {
            "─",
            "-",
        }:  # a frame or a rule; or nothing, which ends no block
            blocks += [[]] if row else []
        else:
            blocks[-1].append(row)
    blocks = [block for block in blocks if block]
    if not box.startswith("╭"):
        blocks = blocks[1:]  # without line drawing characters, the title is a block of its own
    text = " ".join(blocks[0]) if blocks else ""
    rest = [row for block in blocks[1:] for row in block]
    option = r"['\"]?(\S+?)['\"]?"
    if found := re.match(
        rf"Error parsing {option}: no type matching (\S+) could be instantiated from (\[.*?\])\.",
        text,
    ):
        name, kinds, values = found.groups()
        return f"{name} is {', '.join(_quoted(values))}; expected {_expected(kinds)}."
    if found := re.match(rf"Error parsing {option}: (.*)", text):
        name, reason = found.groups()
        shape = next((row for row in rest if row.startswith(name)), name).removeprefix(name).strip()
        values = re.findall(r"'([^']*)'", reason)
        if values and shape:
            return f"{name} is {values[-1]!r}; expected {_expected(shape)}."
        return f"{name} cannot be read: {reason.rstrip('.')}."
    if found := re.match(
        rf"invalid choice (.*?) for argument {option}\. Expected one of \((.*?),?\)", text
    ):
        choices = [choice for choice in _quoted(found[3]) if choice != "'None'"]
        return f"{found[2]} is {found[1]}; expected one of {', '.join(choices)}."
    if found := re.match(rf"Missing value for argument {option}\.", text):
        return f"{found[1]} has no value; give one behind it."
    if found := re.match(r"Unrecognized options: (.*)", text):
        near = [row.split()[0] for row in rest if row.startswith("--")]
        hint = f": did you mean {' or '.join(near[:3])}?" if near else "."
        return (
            f"Unknown words on the command line, {found[1].split(' ')[0].rstrip(',')!r} first{hint}"
        )
    if found := re.match(r"Missing from .*?: (\S+) (.*)", text):
        return (
            "A word is missing on the command line: "
            f"{found[2].replace('(required)', '').strip().rstrip('.')}."
        )
    return f"The words cannot be read: {text.rstrip('.') or 'the parser does not say why'}."


def _quoted(values: str) -> list[str]:
    return re.findall(r"'[^']*'", values)


def _expected(kinds: str) -> str:
    """From the parser's "{None}|INT" or "FLOAT FLOAT" to words."""
    each = (
        [_KINDS.get(one, one) for one in kind.split("|") if one != "{None}"]
        for kind in kinds.split()
    )
    return " and ".join(" or ".join(one) for one in each)
