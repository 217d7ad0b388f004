"""The installed model's tokens, held against the published ones."""

from __future__ import annotations

import pytest
from tokenizers import Tokenizer

from export.whisper import vocabulary
from tritalk import environment
from tritalk.asr import model_config
from tritalk.asr.model_config import WhisperModel

FOLDER = environment.repository_root() / "model_repository" / "asr" / "1"

# suppress_tokens of OpenAI's generation_config.json for every multilingual Whisper, and the six
# special tokens in it.
PUBLISHED = """
1 2 7 8 9 10 14 25 26 27 28 29 31 58 59 60 61 62 63 90 91 92 93 359 503 522 542 873 893 902 918 922
931 1350 1853 1982 2460 2627 3246 3253 3268 3536 3846 3961 4183 4667 6585 6647 7273 9061 9383 10428
10929 11938 12033 12331 12562 13793 14157 14635 15265 15618 16553 16604 18362 18956 20075 21675
22520 26130 26161 26435 28279 29464 31650 32302 32470 36865 42863 47425 49870 50254 50258 50358
50359 50360 50361 50362
"""


@pytest.fixture(scope="module")
def model() -> WhisperModel:
    return model_config.read(FOLDER / "whisper.json")


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.from_file(str(FOLDER / "tokenizer.json"))


def test_what_is_never_said_is_what_openai_publishes(model: WhisperModel) -> None:
    published = {int(token) for token in PUBLISHED.split()}
    assert set(model.barred) == published | {model.no_timestamps}


def test_special_tokens_have_their_names(model: WhisperModel, tokenizer: Tokenizer) -> None:
    names = {
        model.end: "<|endoftext|>",
        model.start: "<|startoftranscript|>",
        model.transcribe: "<|transcribe|>",
        model.no_timestamps: "<|notimestamps|>",
        model.first_timestamp: "<|0.00|>",
        model.languages["en"]: "<|en|>",
        model.languages["zh"]: "<|zh|>",
        model.languages["su"]: "<|su|>",
        model.vocabulary - 1: "<|30.00|>",
    }
    assert {token: tokenizer.id_to_token(token) for token in names} == names
    assert tokenizer.encode(" ").ids == [model.blank]


@pytest.mark.parametrize("text", [" Hello, world!", "你好，世界。", " naïve café — 1,000 €"])
def test_text_survives_the_tokenizer(tokenizer: Tokenizer, text: str) -> None:
    ids = tokenizer.encode(text).ids
    assert tokenizer.decode(ids) == text
    assert max(ids) < vocabulary.TEXT_TOKENS


def test_the_decoder_drops_special_tokens(model: WhisperModel, tokenizer: Tokenizer) -> None:
    ids = [model.start, *tokenizer.encode(" Yes.").ids, model.end]
    assert tokenizer.decode(ids) == " Yes."
