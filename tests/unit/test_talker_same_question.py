from __future__ import annotations

import time

import pytest

from tritalk.talker.same_question import normalised


@pytest.mark.parametrize(
    "written",
    [
        ("What is love?", "what is love", "  What   is\tlove ?", "WHAT IS LOVE?!", "What is love…"),
        ("“What is love?”", "'What is love?'", "What is “love”?", "Ｗｈａｔ ｉｓ ｌｏｖｅ？"),
        ("Don’t you know?", "don't you know", "Don´t you know"),
        ("Well, what now?", "well what now"),
        ("¿Qué tal?", "qué tal", "¡Que\u0301 tal!"),
        ("Straße", "STRASSE"),
        ("Comment ça va ?", "comment ça va?"),
        ("你好，世界！", "你好,世界!", "你好 世界", "「你好，世界」"),
        ("C++ 是什么？", "C++是什么"),
        ("我有 5 个苹果。", "我有5个苹果"),
        ("ｶﾞｽとは?", "ガスとは？", "カ\u3099ス とは"),
        ("5–3", "5-3", "5−3"),
        ("soft\u00adware", "software\u200b", "\ufeffsoftware"),
        ("what is C.", "what is C?"),
    ],
    ids=lambda written: written[0],
)
def test_questions_that_are_written_differently_are_the_same(written: tuple[str, ...]) -> None:
    assert len({normalised(question) for question in written}) == 1


@pytest.mark.parametrize(
    "asked",
    [
        ("What is C?", "What is C++?", "What is C#?"),
        ("What is net?", "What is .NET?"),
        ("3.5 + 2", "35 + 2", "3 5 + 2"),
        ("How much is 5?", "How much is 5!?", "How much is -5?", "How much is 5%?"),
        ("$5", "€5", "5"),
        ("x2", "x²"),
        ("1½", "11/2", "1/2"),
        ("(2+3)*4", "2+(3*4)"),
        ("At 3:30?", "At 330?"),
        ("How long is 6'?", 'How long is 6"?', "How long is 6?"),
        ("a = b", "a != b"),
        ("we're", "were"),
        ("What does ? mean?", "What does ! mean?"),
        ("5!是多少", "5是多少"),
        ("等于.5吗", "等于5吗"),
        ("naïve", "naive"),
        ("안녕 하세요", "안녕하세요"),
        ("?!", "...", "!"),
        ("猫", "描"),
    ],
    ids=lambda asked: asked[0],
)
def test_questions_that_mean_different_things_differ(asked: tuple[str, ...]) -> None:
    assert len({normalised(question) for question in asked}) == len(asked)


def test_nothing_but_marks_is_still_something() -> None:
    assert normalised("?!") == "?!"
    assert normalised(" \u200b") == ""


@pytest.mark.parametrize("unit", ["!", "a,", "好,", "'", " ", "\ufdfa"])
def test_the_longest_question_takes_no_time(unit: str) -> None:
    began = time.perf_counter()
    normalised((unit * 8000)[:8000])
    assert time.perf_counter() - began < 2
