"""Texts to token numbers and back, by byte pairs.

A text is cut into words with their leading space; a word starts as its UTF-8 bytes, and the most
frequent neighbours of the training texts have been merged into longer pieces, one pair after
another. So any text can be encoded, and nothing is unknown.

Source: Sennrich, Haddow, Birch 2016, "Neural Machine Translation of Rare Words with Subword Units",
section 3.2, on bytes.
"""

from __future__ import annotations

import heapq
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import pairwise
from pathlib import Path

import torch

from nearfar.errors import UserError
from nearfar.files import write_text
from nearfar.rows import Tokens

PADDING, UNKNOWN, START, END, MASK = range(5)
_BYTES = 5
"""The token of byte b is _BYTES + b; merged pairs follow in order of merging."""
SMALLEST_VOCABULARY = _BYTES + 256

LONGEST_PIECE = 64
"""Characters of a word that are merged together; longer words are cut, so that time grows with a
text's length and not its square."""
_LONG = 32
_MOST_LONG = 8192
"""Words of more characters are long; merges are learned from so many characters of long words."""
_LONGEST_SPELLING = 4 * (LONGEST_PIECE + 1)
"""Bytes of a token, which no merge within a piece can exceed."""
_MOST_MERGES = 1_000_000

_WORD = re.compile(rf" ?\w{{1,{LONGEST_PIECE}}}| ?[^\w\s]{{1,{LONGEST_PIECE}}}|\s")

Pair = tuple[int, int]


class Tokenizer:
    """Encodes texts in lower case; 0 is padding, 1 unknown (never made), 2 the start, 3 the end, 4
    a mask (never made).

    Args:
        merges: pairs of tokens in order of merging; the i-th becomes the token 261 + i.

    Raises:
        UserError: for a merge of tokens that do not exist, or of so many bytes that no text could
            be it.
    """

    def __init__(self, merges: Sequence[Pair] = ()) -> None:
        self.merges = [(int(first), int(second)) for first, second in merges]
        if len(set(self.merges)) < len(self.merges):
            raise UserError(
                "A merge of a tokenizer is there twice, so that one of its tokens could never "
                "occur."
            )
        self._rank = {pair: rank for rank, pair in enumerate(self.merges)}
        self._spelling = [b""] * _BYTES + [bytes([b]) for b in range(256)]
        for first, second in self.merges:
            if not (0 <= first < len(self._spelling) and 0 <= second < len(self._spelling)):
                raise UserError(
                    f"The merge {len(self._spelling) - SMALLEST_VOCABULARY} of a tokenizer joins "
                    f"tokens that are not made yet."
                )
            joined = len(self._spelling[first]) + len(self._spelling[second])
            if joined > _LONGEST_SPELLING:
                raise UserError(
                    f"A token of a tokenizer is {joined:,} bytes long; expected at most "
                    f"{_LONGEST_SPELLING}."
                )
            self._spelling.append(self._spelling[first] + self._spelling[second])
        self._word = lru_cache(maxsize=100_000)(self._encode_word)

    @classmethod
    def train(cls, texts: Iterable[str], vocabulary: int = 4096) -> Tokenizer:
        """Learn merges from texts: always the most frequent pair (the smaller numbers on a tie)
        that occurs at least twice.

        Args:
            texts: the training texts.
            vocabulary: most token numbers in all, at least 261.

        Raises:
            UserError: if the vocabulary is too small for all bytes.
        """
        if vocabulary < SMALLEST_VOCABULARY:
            raise UserError(
                f"The vocabulary is {vocabulary}; expected at least {SMALLEST_VOCABULARY}, which "
                f"all bytes need."
            )
        counts = _fewer_long(Counter(word for text in texts for word in _words(text)))
        spellings = [[_BYTES + b for b in word.encode()] for word in counts]
        return cls(_merges(spellings, list(counts.values()), vocabulary - SMALLEST_VOCABULARY))

    def __len__(self) -> int:
        """The number of token ids."""
        return SMALLEST_VOCABULARY + len(self.merges)

    def encode(self, texts: Sequence[str], context: int | None = None) -> Tokens:
        """Token numbers of N texts, each between a start and an end.

        Args:
            texts: N strings.
            context: number L of columns, at least 2; longer texts are cut before their end token.
                None: as the longest needs.

        Returns:
            ``Tokens`` with ids (N, L) int64 and mask (N, L).
        """
        rows = [self._encode_text(text, context) for text in texts]
        length = max((len(row) for row in rows), default=0) + 2 if context is None else context
        ids = torch.full((len(rows), length), PADDING, dtype=torch.int64)
        for number, row in enumerate(rows):
            whole = [START, *row[: length - 2], END]
            ids[number, : len(whole)] = torch.tensor(whole)
        return Tokens(ids, ids != PADDING)

    def decode(self, ids: Iterable[int]) -> str:
        """The text of token numbers, without start, end and padding."""
        text = b"".join(self._spelling[i] for i in ids).decode(errors="replace")
        return text.removeprefix(" ")

    def to_json(self) -> str:
        """As JSON, from which ``from_json`` makes an equal tokenizer."""
        return json.dumps({"format": "nearfar-byte-pairs-1", "merges": self.merges})

    @classmethod
    def from_json(cls, text: str) -> Tokenizer:
        """The tokenizer that ``to_json`` wrote.

        Raises:
            UserError: if it is something else.
        """
        try:
            merges = [
                (_whole(first), _whole(second)) for first, second in json.loads(text)["merges"]
            ]
        except (ValueError, KeyError, TypeError, IndexError, RecursionError) as error:
            raise UserError(
                "This is no tokenizer of nearfar: expected JSON with a list of merges."
            ) from error
        if len(merges) > _MOST_MERGES:
            raise UserError(
                f"A tokenizer has {len(merges):,} merges; expected at most {_MOST_MERGES:,}."
            )
        return cls(merges)

    def save(self, path: Path) -> None:
        """Write ``to_json`` to a new file."""
        write_text(path, self.to_json())

    def _encode_text(self, text: str, context: int | None) -> list[int]:
        """All tokens of a text, or the first that fill ``context``."""
        tokens: list[int] = []
        for word in _words(text):
            tokens += self._word(word)
            if context is not None and len(tokens) >= context:
                break
        return tokens

    def _encode_word(self, word: str) -> tuple[int, ...]:
        tokens = [_BYTES + b for b in word.encode()]
        while len(tokens) > 1:
            pair = min(pairwise(tokens), key=lambda p: self._rank.get(p, len(self.merges)))
            if pair not in self._rank:
                break
            tokens = _merged(tokens, pair, SMALLEST_VOCABULARY + self._rank[pair])
        return tuple(tokens)


def _words(text: str) -> Iterator[str]:
    # The leading space makes a word the same token at the start of a text as inside it.
    return (
        found[0] for found in _WORD.finditer(" " + text.lower().encode(errors="replace").decode())
    )


def _fewer_long(counts: Counter[str]) -> Counter[str]:
    """The words, but of those that are no words of a language only the most frequent, as each merge
    looks through all of them."""
    left = _MOST_LONG
    kept = Counter[str]()
    for word, count in (
        counts.items() if sum(map(_excess, counts)) <= left else counts.most_common()
    ):
        left -= _excess(word)
        if left >= 0 or not _excess(word):
            kept[word] = count
    return kept


def _excess(word: str) -> int:
    return len(word) if len(word) > _LONG else 0


def _whole(number: object) -> int:
    if not isinstance(number, int) or isinstance(number, bool):
        raise TypeError(f"{number!r} is no number of a token")
    return number


def _merged(tokens: list[int], pair: Pair, token: int) -> list[int]:
    found: list[int] = []
    position = 0
    while position < len(tokens):
        if tuple(tokens[position : position + 2]) == pair:
            found.append(token)
            position += 2
        else:
            found.append(tokens[position])
            position += 1
    return found


def _merges(words: list[list[int]], counts: list[int], most: int) -> list[Pair]:
    """Merge greedily; only words that hold the merged pair are counted anew."""
    frequency: Counter[Pair] = Counter()
    holders: dict[Pair, set[int]] = {}

    def count(number: int, sign: int) -> set[Pair]:
        pairs = list(pairwise(words[number]))
        for pair in pairs:
            frequency[pair] += sign * counts[number]
            holders.setdefault(pair, set()).add(number)
        return set(pairs)

    changed = {pair for number in range(len(words)) for pair in count(number, 1)}
    heap = [(-frequency[pair], pair) for pair in changed]
    heapq.heapify(heap)
    merges: list[Pair] = []
    while heap and len(merges) < most:
        negative, best = heapq.heappop(heap)
        if -negative != frequency[best]:
            continue  # counted anew since: its true frequency is in the heap as well
        if frequency[best] < 2:
            break
        token = SMALLEST_VOCABULARY + len(merges)
        merges.append(best)
        changed = set()
        for number in holders.pop(best):
            changed |= count(number, -1)
            words[number] = _merged(words[number], best, token)
            changed |= count(number, 1)
        for pair in changed - {best}:
            heapq.heappush(heap, (-frequency[pair], pair))
    return merges
