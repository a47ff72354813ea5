"""Byte pairs: any text survives, merges equal those of a slow count, and files give the same
tokens.
"""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nearfar.data.content.tokenizer import END, PADDING, SMALLEST_VOCABULARY, START, Tokenizer
from nearfar.errors import UserError

TEXTS = ["a cat sat on the mat", "the cat ate", "that hat, the bat!", "aaaa aaa banana bandana"]


def slow_merges(texts: list[str], count: int) -> list[tuple[int, int]]:
    """Count all pairs anew for each merge. Words are those separated by single spaces, without
    punctuation.
    """
    words = Counter(f" {word}" for text in texts for word in text.split(" "))
    spelled = [([5 + b for b in word.encode()], n) for word, n in words.items()]
    merges: list[tuple[int, int]] = []
    while len(merges) < count:
        pairs: Counter[tuple[int, int]] = Counter()
        for word, n in spelled:
            for pair in pairwise(word):
                pairs[pair] += n
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        if pairs[best] < 2:
            break
        merges.append(best)
        for word, _ in spelled:
            i = 0
            while i < len(word) - 1:
                if (word[i], word[i + 1]) == best:
                    word[i : i + 2] = [SMALLEST_VOCABULARY + len(merges) - 1]
                i += 1
    return merges


@pytest.mark.parametrize("count", [1, 5, 1000])
def test_merges_equal_those_of_a_slow_count(count: int) -> None:
    texts = [text.replace(",", "").replace("!", "") for text in TEXTS]
    merges = Tokenizer.train(texts, SMALLEST_VOCABULARY + count).merges
    assert merges == slow_merges(texts, count)


@settings(deadline=None)
@given(st.text())
def test_any_text_survives_in_lower_case(text: str) -> None:
    tokenizer = Tokenizer.train(TEXTS)
    tokens = tokenizer.encode([text])
    assert tokenizer.decode(tokens.ids[0].tolist()) == text.lower()
    assert tokens.ids.max() < len(tokenizer)


def test_a_lone_surrogate_becomes_a_question_mark() -> None:
    tokenizer = Tokenizer()
    assert tokenizer.decode(tokenizer.encode(["x\ud800y"]).ids[0].tolist()) == "x?y"


def test_frequent_words_become_one_token() -> None:
    tokenizer = Tokenizer.train(["green apple"] * 5 + ["red apple"] * 5)
    assert tokenizer.encode(["Apple green"]).ids.shape == (1, 4)


def test_rows_start_end_and_are_padded() -> None:
    tokens = Tokenizer().encode(["ab", ""])
    assert tokens.ids.dtype == torch.int64
    assert tokens.ids.tolist() == [
        [START, 5 + 32, 5 + 97, 5 + 98, END],
        [START, 5 + 32, END, PADDING, PADDING],
    ]
    assert torch.equal(tokens.mask, tokens.ids != PADDING)
    assert tokens.mask.dtype == torch.bool


def test_long_texts_keep_their_end() -> None:
    tokens = Tokenizer().encode(["abcdefgh"], context=4)
    assert tokens.ids.tolist() == [[START, 5 + 32, 5 + 97, END]]
    assert Tokenizer().encode(["a"], context=9).ids.shape == (1, 9)


def test_no_texts_give_no_rows() -> None:
    assert len(Tokenizer().encode([])) == 0


def test_the_vocabulary_is_at_most_what_was_asked_for() -> None:
    assert len(Tokenizer.train(TEXTS, 270)) == 270
    assert len(Tokenizer.train(TEXTS, 262)) == 262


def test_json_gives_the_same_tokens(tmp_path: Path) -> None:
    tokenizer = Tokenizer.train(TEXTS)
    tokenizer.save(tmp_path / "tokenizer.json")
    again = Tokenizer.from_json((tmp_path / "tokenizer.json").read_text())
    assert again.merges == tokenizer.merges
    assert torch.equal(again.encode(TEXTS).ids, tokenizer.encode(TEXTS).ids)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"merges": 3}', '{"merges": [[1]]}'])
def test_other_json_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="no tokenizer of nearfar"):
        Tokenizer.from_json(text)


def test_a_vocabulary_without_all_bytes_is_refused() -> None:
    with pytest.raises(UserError, match="vocabulary is 100; expected at least 261"):
        Tokenizer.train(TEXTS, 100)
