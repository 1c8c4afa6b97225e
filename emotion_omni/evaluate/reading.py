"""Is what is written said as a good reader would say it? ``python -m emotion_omni evaluate --only reading``

``reading_lines.tsv``: 300 written lines with numbers, dates, money, units, abbreviations, addresses, foreign letters
and chat spellings, each with the words that a good reader says. First the normalized text is compared with them, then
each line is spoken by Kokoro and heard back by the recognizer. Case, punctuation and spaces do not count.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jiwer
from anyascii import anyascii
from transformers.models.whisper.english_normalizer import EnglishTextNormalizer

from emotion_omni import audio, processors
from emotion_omni.evaluate.words import ours
from emotion_omni.recognition.whisper_ct2 import WhisperCT2Recognizer
from emotion_omni.synthesis.kokoro import KokoroSynthesizer
from emotion_omni.synthesis.text_normalization import normalize_text
from emotion_omni.types import Audio, Delivery

LINES = Path(__file__).with_name("reading_lines.tsv")
WRONG = 0.2  # word error rate of a line above which it counts as wrong: more than one word in five


class Line(NamedTuple):
    written: str
    spoken: str  # how a good reader says it, in words


def lines(path: Path = LINES) -> list[Line]:
    with open(path, newline="", encoding="utf-8") as file:
        return [Line(*row) for row in csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE)]


def measure(every: Sequence[Line], limit: int = 0, note: Callable[[str], None] = lambda text: None) -> dict[str, Any]:
    """The report: normalized text of all lines, and the sound of ``limit`` of them (0: all), spread evenly."""
    voice, recognizer = KokoroSynthesizer.load(), ours(WhisperCT2Recognizer.load())
    wrong_text = [line for line in every if words(normalize_text(line.written)) != words(line.spoken)]
    count = min(limit or len(every), len(every))
    chosen = [every[at * len(every) // count] for at in range(count)]
    heard = []
    for at, line in enumerate(chosen, 1):
        heard.append(recognizer(speak(voice, line.written)))
        if at % 20 == 0:
            note(f"{at} of {len(chosen)} lines spoken and heard")
    return {
        "machine": processors.describe(),
        "text": {"lines": len(every), "wrong": len(wrong_text), "wrong_lines": [line.written for line in wrong_text]},
        "sound": sound_report(chosen, heard),
    }


def speak(voice: KokoroSynthesizer, text: str) -> Audio:
    pieces = list(voice.synthesize(text, Delivery("neutral")))
    return audio.join(pieces)


def sound_report(chosen: Sequence[Line], heard: Sequence[str]) -> dict[str, Any]:
    """``wer``: mean over all expected words; ``wrong``: lines above :data:`WRONG`, listed with what was heard."""
    found = [errors(line.spoken, text) for line, text in zip(chosen, heard, strict=True)]
    rates = [wrong / total for wrong, total in found]
    wrong_lines = [
        {"written": line.written, "expected": line.spoken, "heard": text, "wer": round(rate, 2)}
        for line, text, rate in zip(chosen, heard, rates, strict=True)
        if rate > WRONG
    ]
    return {
        "lines": len(chosen),
        "wer": round(sum(wrong for wrong, _ in found) / sum(total for _, total in found), 4),
        "bound": WRONG,
        "wrong": len(wrong_lines),
        "wrong_lines": wrong_lines,
    }


def errors(expected: str, heard: str) -> tuple[int, int]:
    """Word errors and the number of expected words.

    A recognizer writes "$5" or "five dollars" for the same sound: the heard text is compared as it is read out by our
    normalizer and as Whisper's own normalizer spells both; the smaller count is taken.
    """
    whisper = EnglishTextNormalizer({})
    pairs = ((words(expected), words(normalize_text(heard))), (words(whisper(expected)), words(whisper(heard))))
    counts = [_errors(*pair) for pair in pairs]
    return min(counts), len(words(expected))


def _errors(expected: list[str], heard: list[str]) -> int:
    if "".join(expected) == "".join(heard):  # "good night" and "goodnight"
        return 0
    if not expected:
        return len(heard)
    found = jiwer.process_words(" ".join(expected), " ".join(heard))
    return found.substitutions + found.deletions + found.insertions


def words(text: str) -> list[str]:
    """Lower-case words without accents; single letters in a row are one word, so that "F B I" is "FBI"."""
    found: list[str] = []
    spelled = False
    for word in re.findall(r"[a-z0-9$%.']*[a-z0-9%]", anyascii(text).lower().replace("-", " ")):
        word = word.strip("'.")
        if len(word) == 1 and spelled:
            found[-1] += word
        else:
            found.append(word)
        spelled = len(word) == 1
    return [word for word in found if word]


def as_text(report: dict[str, Any]) -> str:
    text, sound = report["text"], report["sound"]
    rows = [f"  heard {line['heard']!r} for {line['written']!r}" for line in sound["wrong_lines"]]
    summary = (
        f"{text['lines']} lines: {text['wrong']} wrong in the text; {sound['lines']} heard back with a word error rate "
        f"of {sound['wer']:.1%}, {sound['wrong']} of them above {sound['bound']:.0%}"
    )
    return "\n".join([summary, *rows])
