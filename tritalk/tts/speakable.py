"""From what a language model writes to what an English voice can say.

Markup, code and pictures are for the eye: they go, and their words stay. What has a sound but no
letters (addresses, symbols, long numbers) becomes words. Dates, times, amounts, units, titles and
common abbreviations are left to the voice's own pronunciation, which reads them well.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Callable

_Replacement = str | Callable[[re.Match[str]], str]

_MAX_NUMBER_DIGITS = 15
"""A longer number is read digit by digit."""

_TOP_LEVEL_DOMAINS = "com|org|net|edu|gov|info|io|ai|dev|app|co|uk|us|de|fr|eu|tv|me"
_LABEL = r"[A-Za-z0-9-]{1,63}"
_HOST = r"[^\s/?#:,()\"]{0,250}[^\s/?#:,()\".!]"
_PATH = r"(?:[:/?#][^\s()\"]*[\w/=&])?"

_SYMBOLS = {
    "≈": " about ",
    "±": " plus or minus ",
    "≤": " at most ",
    "≥": " at least ",
    "≠": " is not ",
    "√": " the square root of ",
    "∞": " infinity ",
    "×": " times ",
    "÷": " divided by ",
    "→": " to ",
    "№": " number ",
    "§": " section ",
    "₿": " bitcoins ",
    "₽": " roubles ",
    "₺": " lira ",
    "₴": " hryvnia ",
    "₪": " shekels ",
    "₫": " dong ",
    "₱": " pesos ",
    "•": "\n",
    "·": " ",
    "\t": " ",
    "\u00a0": " ",
    "‐": "-",
    "‑": "-",
    "−": "-",
    "⁄": "/",
    "‘": "'",
    "’": "'",
    "„": '"',
    "«": '"',
    "»": '"',
    "ß": "ss",
    "æ": "ae",
    "œ": "oe",
    "ø": "o",
    "ł": "l",
    "đ": "d",
    "þ": "th",
    "Æ": "Ae",
    "Œ": "Oe",
    "Ø": "O",
    "Ł": "L",
    "Đ": "D",
    "Þ": "Th",
}
_TABLE = {ord(symbol): word for symbol, word in _SYMBOLS.items()}
_VULGAR_FRACTIONS = "½⅓⅔¼¾⅕⅖⅗⅘⅙⅚⅛⅜⅝⅞"
# Symbols that the voice's own pronunciation knows.
_READ_SYMBOLS = frozenset("°™©®+=<>~^|$£€¥₹₩¢" + _VULGAR_FRACTIONS)


def speakable(text: str) -> str:
    """Lines of plain words, numbers and punctuation; empty when nothing in the text has a sound.

    Args:
        text: What a language model, or a person, may write.
    """
    text = unicodedata.normalize("NFC", html.unescape(text)).translate(_TABLE)
    for pattern, replacement in _MARKUP + _WORDS:
        text = pattern.sub(replacement, text)
    text = "".join(_pronounceable(character) for character in text)
    for pattern, replacement in _TIDYING:
        text = pattern.sub(replacement, text)
    lines = [line.lstrip(" ,;:").rstrip() for line in text.splitlines()]
    lines = [line for line in lines if any(character.isalnum() for character in line)]
    # Where the last line ends the sentence may go on: it is left as it is.
    return "\n".join([*map(_closed, lines[:-1]), *lines[-1:]])


def _closed(line: str) -> str:
    """The line with a full stop, so that headings and points of a list are not run together."""
    return line if line[-1] in ".,;:!?…\"')”" else f"{line}."


def _pronounceable(character: str) -> str:
    """The character, what stands for it in English, or nothing."""
    if character in _READ_SYMBOLS or character.isascii():
        return character if character.isprintable() or character == "\n" else ""
    category = unicodedata.category(character)
    if category[0] == "L":
        return _letter(character)
    if category[0] == "N":
        return unicodedata.normalize("NFKC", character)
    if category[0] == "P":
        plain = unicodedata.normalize("NFKC", character)
        return plain if plain.isascii() or plain in "—–“”…" else " "
    return " " if category[0] in "ZS" else ""


def _letter(character: str) -> str:
    name = unicodedata.name(character, "")
    if name.startswith("LATIN"):
        # What lies beyond Western Europe the voice does not know; its base letter it does.
        return character if character < "\u0100" else _base_letter(character)
    if name.startswith("GREEK SMALL LETTER") or name.startswith("GREEK CAPITAL LETTER"):
        return f" {name.split()[3].lower()} "
    plain = unicodedata.normalize("NFKC", character)
    return plain if plain.isascii() else " "


def _base_letter(character: str) -> str:
    decomposed = unicodedata.normalize("NFKD", character)
    return "".join(part for part in decomposed if part.isascii())


def _site(match: re.Match[str]) -> str:
    return match[1].removeprefix("www.").replace(".", " dot ")


def _mail(match: re.Match[str]) -> str:
    return f"{match[1].replace('.', ' dot ')} at {match[2].replace('.', ' dot ')}"


def _row(match: re.Match[str]) -> str:
    cells = [cell.strip() for cell in match[0].strip().strip("|").split("|")]
    return ", ".join(cell for cell in cells if cell.strip(":- "))


def _digits(match: re.Match[str]) -> str:
    digits = match[0].replace(",", "")
    return " ".join(digits) if len(digits) > _MAX_NUMBER_DIGITS else match[0]


def _telephone(match: re.Match[str]) -> str:
    groups = re.findall(r"\d+", match[0])
    plus = "plus " if match[0].startswith("+") else ""
    return plus + ", ".join(" ".join(group) for group in groups)


def _rules(*rules: tuple[str, _Replacement]) -> list[tuple[re.Pattern[str], _Replacement]]:
    return [(re.compile(pattern, re.MULTILINE), replacement) for pattern, replacement in rules]


_MARKUP = _rules(
    # Code is not for the ear; a block that is cut off by a clause's end loses its fence only.
    (r"^[ ]*```[^`]*^[ ]*```[ ]*$", "\n"),
    (r"^[ ]*```[ ]*[\w+-]*[ ]*$", ""),
    (r"!?\[([^\][]*)\]\([^()]*\)", r"\1"),
    (r"\[\^?\d{1,3}\]", ""),
    (r"<((?:https?|mailto)[^<>\s]*)>", r"\1"),
    (r"</?[A-Za-z][^<>]{0,200}>|<!--[^>]{0,500}-->", " "),
    (r"^[ ]*(?:[-*_][ ]?){3,}$", ""),
    (r"^[ ]*\|.*$", _row),
    (r"^[ ]*#{1,6}[ ]+", ""),
    (r"^[ ]*(?:>[ ]?)+", ""),
    (r"^[ ]*[-*+][ ]+", ""),
    (r"^[ ]*(\d{1,3})[.)][ ]+(?=\S)", r"\1, "),
    (r"(?<=\d)[ ]?\*[ ]?(?=\d)", " times "),
    (r"\*{1,3}|~~|`+", ""),
    (r"\\[dt]?frac\{([^{}]*)\}\{([^{}]*)\}", r"\1 over \2"),
    (r"\\(?:times|cdot)\b", " times "),
    (r"\\[()\[\]]|\$\$|\$(?!\d)|[\\{}]", " "),
)
_WORDS = _rules(
    (r"\b([\w.+-]{1,64})@((?:" + _LABEL + r"\.){1,4}[A-Za-z]{2,10})\b", _mail),
    (rf"\b(?:https?|ftp)://({_HOST}){_PATH}", _site),
    (rf"\b(www\.{_HOST}){_PATH}", _site),
    (rf"\b((?:{_LABEL}\.){{1,4}}(?:{_TOP_LEVEL_DOMAINS}))\b(?![.]\w){_PATH}", _site),
    (r"\be\.g\.", "for example"),
    (r"\bi\.e\.", "that is"),
    (r"\b(?:US|CA|AU|NZ)\$(?=\d)", "$"),
    (r"(?<![\w.,])(\d[\d,.]{0,20})[ ]?([€£¥])(?!\d)", r"\2\1"),
    (
        r"(?<![\w.-])(?:\+\d{1,3}[ .-]?)?(?:\(\d{2,4}\)[ ]?|\d{3}[ .-])\d{3,4}[ .-]\d{4}(?![\w-])",
        _telephone,
    ),
    (r"\+\d{1,3}(?:[ .-]\d{2,4}){2,5}\b", _telephone),
    (r"\d[\d,]*\d", _digits),
    (rf"(?<=\d)[ ]?([{_VULGAR_FRACTIONS}])", r" and \1"),
    (r"(?<=\w)_+(?=\w)", " "),
    (r"(?<!\w)_+|_+(?!\w)", ""),
)
_TIDYING = _rules(
    # The pronunciation takes a bracket for the beginning of a link to phonemes.
    (r"[\[\]]", " "),
    (r"[ ]{2,}", " "),
    (r"\.{2,}", "…"),
    (r"[!?]*\?[!?]*", "?"),
    (r"!{2,}", "!"),
    (r"([,;:…—–-])(?:[ ]?\1)+", r"\1"),
    (r"\([ ]*\)|\"[ ]*\"", " "),
    (r"[ ]+(?=[.,;:!?…])", ""),
)
