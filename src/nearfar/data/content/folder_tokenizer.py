"""The tokenizer of a model's folder, in nearfar's numbers."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from nearfar.data.content.tokenizer import (
    END,
    MASK,
    PADDING,
    START,
    UNKNOWN,
    Tokenizer,
)
from nearfar.errors import UserError

_FORMAT = "tokenizers-1"
_FILE = "tokenizer.json"
_WORDS = 5
_NAMES = {
    PADDING: ("[PAD]", "<pad>", "<|endoftext|>"),
    UNKNOWN: ("[UNK]", "<unk>", "<|endoftext|>"),
    START: ("[CLS]", "<s>", "<|startoftext|>", "<|endoftext|>"),
    END: ("[SEP]", "</s>", "<|endoftext|>"),
    MASK: ("[MASK]", "<mask>", "<|endoftext|>"),
}
"""What models call the tokens that stand for no word."""


class FolderTokenizer(Tokenizer):
    """Encodes texts by a file tokenizer.json of the tokenizers library.

    A token of the file has its number plus 5, behind nearfar's padding, unknown, start, end and
    mask. Start and end are nearfar's; what the file would put around a text is left out.

    Args:
        text: What stands in the file.

    Raises:
        UserError: If the library is not installed, or the text is no tokenizer.
    """

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text
        self.words = _read(text)

    def __len__(self) -> int:
        return _WORDS + int(self.words.get_vocab_size())

    def decode(self, ids: Iterable[int]) -> str:
        known = [one - _WORDS for one in ids if one >= _WORDS]
        return str(self.words.decode(known))

    def to_json(self) -> str:
        return json.dumps({"format": _FORMAT, "text": self.text})

    def _encode_text(self, text: str, context: int | None) -> list[int]:
        found = self.words.encode(text, add_special_tokens=False).ids
        return [_WORDS + one for one in found[:context]]

    @classmethod
    def of_folder(cls, place: str) -> FolderTokenizer:
        """The tokenizer of a model's folder.

        Raises:
            UserError: If there is none.
        """
        file = Path(place) / _FILE
        if not file.is_file():
            raise UserError(
                f"{place} holds no {_FILE}, which a model of texts needs; save the model's fast "
                "tokenizer into its folder."
            )
        return cls(file.read_text(encoding="utf-8"))


def read_tokenizer(text: str) -> Tokenizer:
    """The tokenizer of either kind that ``to_json`` wrote.

    Raises:
        UserError: If it is something else.
    """
    try:
        found = json.loads(text)
        is_folders = found["format"] == _FORMAT
        words = found["text"] if is_folders else ""
    except (ValueError, KeyError, TypeError, RecursionError):
        is_folders = False
    return FolderTokenizer(str(words)) if is_folders else Tokenizer.from_json(text)


def special_of(place: str) -> tuple[int, ...]:
    """The numbers, in the folder's file, of padding, unknown, start, end and mask; 0 for those that
    it does not have.
    """
    words = FolderTokenizer.of_folder(place).words
    found = []
    for names in _NAMES.values():
        numbers = [words.token_to_id(name) for name in names]
        found.append(next((one for one in numbers if one is not None), 0))
    return tuple(found)


def _read(text: str) -> Any:
    try:
        import tokenizers
    except ImportError as error:
        raise UserError(
            f"A {_FILE} of a model needs the tokenizers library, which is not installed: pip "
            "install 'nearfar[hf]'."
        ) from error
    try:
        words = tokenizers.Tokenizer.from_str(text)
    except Exception as error:  # the library raises plain exceptions
        raise UserError(
            f"{_FILE} is damaged ({error}); save the model's fast tokenizer again."
        ) from error
    words.no_truncation()
    words.no_padding()
    return words
