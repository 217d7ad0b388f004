"""Whisper's multilingual vocabulary: text tokens, special tokens, what is never said."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

from export.whisper.checkpoint import CheckpointError

_CODES = """
en zh de es ru ko fr ja pt tr pl ca nl ar sv it id hi fi vi he uk el ms cs ro da hu ta no th ur hr
bg lt la mi ml cy sk te fa lv bn sr az sl kn et mk br eu is hy ne mn bs kk sq sw gl mr pa si km sn
yo so af oc ka be tg sd gu am yi lo uz fo ht ps tk nn mt sa lb my bo tl mg as tt haw ln ha ba jw su
"""
LANGUAGES = tuple(_CODES.split())
"""In the order of their tokens. Source: openai-whisper, `whisper/tokenizer.py`."""

TEXT_TOKENS = 50257
VOCABULARY = 51865
END_OF_TEXT = TEXT_TOKENS
START = END_OF_TEXT + 1
FIRST_LANGUAGE = START + 1
_TASKS = FIRST_LANGUAGE + len(LANGUAGES)
TRANSLATE, TRANSCRIBE, START_OF_LM, START_OF_PREVIOUS, NO_SPEECH, NO_TIMESTAMPS = range(
    _TASKS, _TASKS + 6
)
FIRST_TIMESTAMP = NO_TIMESTAMPS + 1

_MUSIC = "♩♪♫♬♭♮♯"
_SYMBOLS = """
" # ( ) * + / : ; < = > @ [ \\ ] ^ _ ` { | } ~ 「 」 『 』
<< >> <<< >>> -- --- -( -[ (' (" (( )) ((( ))) [[ ]] {{ }} ♪♪ ♪♪♪
"""


def text_tokens(tokenizer_json: Path) -> list[bytes]:
    """The bytes of each text token out of a Hugging Face `tokenizer.json` with byte-level BPE.

    Raises:
        CheckpointError: The file is no such tokenizer, or not the multilingual Whisper's.
    """
    try:
        vocabulary: dict[str, int] = json.loads(tokenizer_json.read_bytes())["model"]["vocab"]
        characters = {character: byte for byte, character in _byte_characters().items()}
        tokens = {
            number: bytes(characters[character] for character in text)
            for text, number in vocabulary.items()
        }
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise CheckpointError(f"{tokenizer_json} is not a byte-level BPE tokenizer") from error
    return [tokens[number] for number in range(len(tokens))]


def build_tokenizer(tokens: Sequence[bytes]) -> Tokenizer:
    """The tokenizer of the multilingual Whisper.

    Args:
        tokens: The bytes of the text tokens in the order of their ids.

    Raises:
        CheckpointError: They are not the multilingual Whisper's.
    """
    # The last text token is empty: a place kept free by GPT-2's vocabulary of 50257.
    if len(tokens) != TEXT_TOKENS or tokens[-1] != b"":
        raise CheckpointError(
            f"the vocabulary has {len(tokens)} text tokens, the multilingual Whisper's has "
            f"{TEXT_TOKENS}; English-only checkpoints (.en) are not supported"
        )
    characters = _byte_characters()

    def text(token: bytes) -> str:
        return "".join(characters[byte] for byte in token)

    vocabulary = {text(token): number for number, token in enumerate(tokens)}
    pairs = [(text(left), text(right)) for left, right in merges(tokens)]
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=pairs))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    names = ["endoftext", "startoftranscript", *LANGUAGES]
    names += ["translate", "transcribe", "startoflm", "startofprev", "nospeech", "notimestamps"]
    names += [f"{index * 0.02:.2f}" for index in range(VOCABULARY - FIRST_TIMESTAMP)]
    tokenizer.add_special_tokens([AddedToken(f"<|{name}|>", special=True) for name in names])
    return tokenizer


def non_speech_tokens(tokenizer: Tokenizer) -> list[int]:
    """Tokens that begin annotations such as `[music]` or `♪`, which nobody says.

    The rule is openai-whisper's `Tokenizer.non_speech_tokens`: a dash or an apostrophe may stand
    in a word, not begin one; of a symbol of several tokens only music notes are barred, by the
    first.
    """

    def encode(text: str) -> list[int]:
        ids: list[int] = tokenizer.encode(text, add_special_tokens=False).ids
        return ids

    barred = {encode(" -")[0], encode(" '")[0]}
    for symbol in [*_SYMBOLS.split(), *_MUSIC]:
        for ids in (encode(symbol), encode(f" {symbol}")):
            if len(ids) == 1 or symbol in _MUSIC:
                barred.add(ids[0])
    return sorted(barred)


def _byte_characters() -> dict[int, str]:
    """GPT-2's printable character for each byte."""
    printable = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {byte: chr(byte) for byte in printable} | {
        byte: chr(256 + index) for index, byte in enumerate(others)
    }


def merges(tokens: Sequence[bytes]) -> list[tuple[bytes, bytes]]:
    """The pair that each token was merged from.

    Tokens are in the order in which BPE learnt them, so the pair of a token is what its bytes
    become when all tokens before it are merged.
    """
    ranks = {token: rank for rank, token in enumerate(tokens) if token}
    found = []
    for rank, token in enumerate(tokens):
        if len(token) > 1:
            parts = [token[index : index + 1] for index in range(len(token))]
            while len(parts) > 2:
                pairs = [left + right for left, right in zip(parts, parts[1:], strict=False)]
                best = min(range(len(pairs)), key=lambda i: ranks.get(pairs[i], rank))
                parts[best : best + 2] = [pairs[best]]
            found.append((parts[0], parts[1]))
    return found
