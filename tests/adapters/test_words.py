"""Words out of tokens: every vocabulary's own marks, unknown words and bytes,
against lists written by hand."""

import pytest

from camport.adapters.text.words import words_of

CASES = [
    (
        "<start> a <unk> with a dog <end>",
        [("a", 1, 2), ("<unk>", 2, 3), ("with", 3, 4), ("a", 4, 5), ("dog", 5, 6)],
    ),
    ("[CLS] a [UNK] dog [SEP] x", [("a", 1, 2), ("[UNK]", 2, 3), ("dog", 3, 4)]),
    (
        "<s> ▁a ▁caf <0xC3> <0xA9> ▁au ▁lait </s>",
        [("a", 1, 2), ("café", 2, 5), ("au", 5, 6), ("lait", 6, 7)],
    ),
    ("▁yes <0x0A> ▁a ▁dog </s>", [("yes", 0, 1), ("a", 2, 3), ("dog", 3, 4)]),
    ("▁yes <0x0A> dog", [("yes", 0, 1), ("dog", 2, 3)]),
    ("Ġt - shirt", [("t-shirt", 0, 3)]),
    ("Ġ3 . 5 Ġm .", [("3.5", 0, 3), ("m", 3, 4), (".", 4, 5)]),
    ("Ġ1 , 000 , Ġso", [("1,000", 0, 3), (",", 3, 4), ("so", 4, 5)]),
    ("Ġdon 't Ġgo . <|endoftext|>", [("don't", 0, 2), ("go", 2, 3), (".", 3, 4)]),
    ("Ġa ĠcafÃ©", [("a", 0, 1), ("café", 1, 2)]),
    ("Ġna ÃĦ ve", [("naÄve", 0, 3)]),
    (
        "<|startoftext|> pho to</w> of</w> a</w> dog</w> <|endoftext|>",
        [("photo", 1, 3), ("of", 3, 4), ("a", 4, 5), ("dog", 5, 6)],
    ),
    (
        "[CLS] a play ##ing dog . [SEP] [PAD]",
        [("a", 1, 2), ("playing", 2, 4), ("dog", 4, 5), (".", 5, 6)],
    ),
    ("<pad> <start> a seven <end> <pad>", [("a", 2, 3), ("seven", 3, 4)]),
]


@pytest.mark.parametrize(("pieces", "words"), CASES, ids=[c[0] for c in CASES])
def test_words(pieces, words):
    assert [(w.text, w.start, w.end) for w in words_of(pieces.split())] == words
