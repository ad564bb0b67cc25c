"""The words of the demo: captions, questions and answers about digit scenes,
as numbers and back."""

from collections.abc import Iterable, Sequence

from camport.demo.scenes import LABELS, PLURALS
from camport.errors import InputError, nearest

PAD, START, END = 0, 1, 2
"""Tokens that are no words: behind the end, before the first word, after the last."""

CAPTION_WORDS = (
    "<pad>",
    "<start>",
    "<end>",
    "a",
    "an",
    *LABELS,
    "left",
    "of",
    "above",
    ",",
    "and",
    "from",
    "to",
    "right",
)
"""The captioner's vocabulary, by token."""

CAPTION_LENGTH = 14
"""Tokens of the longest caption of three digits, start and end among them."""

QUESTION_WORDS: tuple[str, ...] = (
    *("<pad>", "how", "many", "digits", "is", "there", "a", "an", "which", "digit"),
    *LABELS,
    *PLURALS,
    *("leftmost", "rightmost", "topmost"),
)
"""The question answerer's vocabulary, by token."""

QUESTION_LENGTH = 4
"""Tokens of the longest question."""

ANSWERS = ("0", "1", "2", "3", "4", "5", "no", "yes", *LABELS)
"""What the question answerer can say, by class."""


def caption_tokens(caption: str) -> list[int]:
    """A caption as tokens with start and end, padded to CAPTION_LENGTH;
    InputError for a word that is none of its."""
    words = caption.replace(",", " ,").split()
    tokens = [START, *_looked_up(words, CAPTION_WORDS, "caption"), END]
    if len(tokens) > CAPTION_LENGTH:
        raise InputError(
            f"the caption {caption!r} has {len(words)} words; at most {CAPTION_LENGTH - 2} are read"
        )
    return tokens + [PAD] * (CAPTION_LENGTH - len(tokens))


def caption_text(tokens: Iterable[int]) -> str:
    """The words up to the end: the inverse of `caption_tokens`."""
    words: list[str] = []
    for token in tokens:
        if token == END:
            break
        if token not in (PAD, START):
            words.append(CAPTION_WORDS[token])
    return " ".join(words).replace(" ,", ",")


def question_tokens(question: str) -> list[int]:
    """A question as tokens, padded to QUESTION_LENGTH;
    InputError where it is empty or has a word that is none of its.

    "how many sevens?", "is there a three?", "which digit is leftmost?" and their like.
    """
    words = question.lower().replace("?", " ").split()
    if not words:
        raise InputError('the question is empty; ask one, e.g. "how many sevens?"')
    if len(words) > QUESTION_LENGTH:
        raise InputError(
            f"the question {question!r} has {len(words)} words; at most {QUESTION_LENGTH} are read"
        )
    tokens = _looked_up(words, QUESTION_WORDS, "question")
    return tokens + [PAD] * (QUESTION_LENGTH - len(tokens))


def _looked_up(words: Sequence[str], vocabulary: Sequence[str], what: str) -> list[int]:
    for word in words:
        if word not in vocabulary or word.startswith("<"):
            near = nearest(word, vocabulary) or list(vocabulary[3:9])
            raise InputError(
                f"the {what} has the word {word!r}, which the network does not know; nearest:"
                f" {near}"
            )
    return [vocabulary.index(word) for word in words]
