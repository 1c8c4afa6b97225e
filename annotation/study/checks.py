"""Checks of raters: the sound check, training with feedback, traps and gold items, spoken by our own voice.

Every study gets those of its template. The recordings are in ``voice/``, spoken by the embedded engine
(``python -m annotation voice`` records them again), so that a study can open without loading a model.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from annotation.study.clips import Clips, equalized, flac
from annotation.study.templates import Template
from emotion_omni import audio, emotion
from emotion_omni.types import Audio, EmotionOmniError

FOLDER = Path(__file__).with_name("voice")
DIGITS = ("four seven two", "nine one six", "three eight five")


@dataclass(frozen=True)
class Line:
    """A line that our voice speaks. ``name`` is that of the file."""

    name: str
    text: str
    emotion: str = "neutral"


_TRAPS = tuple(
    Line(f"choose-{name}", f"This is a test of your attention. Please choose: {name}.") for name in emotion.NAMES
)
_TRAP_VALUES = {
    "lowest": "This is a test of your attention. Please give the lowest value to every question.",
    "highest": "This is a test of your attention. Please give the highest value to every question.",
    "answer-a": "This is a test of your attention. Please choose answer A.",
    "answer-b": "This is a test of your attention. Please choose answer B.",
}
LINES: dict[str, Line] = {
    line.name: line
    for line in (
        *(Line(f"digits-{number}", digits + ".") for number, digits in enumerate(DIGITS)),
        *_TRAPS,
        *(Line(f"trap-{name}", text) for name, text in _TRAP_VALUES.items()),
        Line("angry", "How dare you! I am absolutely furious with you!", "angry"),
        Line("happy", "This is the happiest day of my life! We won!", "happy"),
        Line("sad", "I miss her so much. I just cannot stop crying.", "sad"),
        Line("fearful", "Please help me. Somebody is in the house. I am so scared.", "fearful"),
        Line("disgusted", "Ugh, that is disgusting. It makes me feel sick.", "disgusted"),
        Line("asks-dog", "My dog died this morning. We had him for twelve years.", "sad"),
        Line("asks-exam", "I passed the exam! I really passed it!", "happy"),
        Line("asks-job", "They let me go today, after nine years. I do not know what to do now.", "sad"),
        Line(
            "kind-dog",
            "I am so sorry. Twelve years is a long time, and he was family. Do you want to tell me about him?",
            "calm",
        ),
        Line("kind-exam", "Congratulations! You worked for this. How will you celebrate?", "happy"),
        Line("kind-job", "I am sorry, after nine years that must hurt. What worries you most right now?", "calm"),
        Line("cold-dog", "The next train to the airport leaves at nine.", "neutral"),
        Line("cold-exam", "That is a pity. Bananas are rich in potassium.", "neutral"),
        Line("cold-job", "Great news! Have a wonderful day!", "happy"),
    )
}


@dataclass(frozen=True)
class Check:
    """An item with an expected answer. ``clips``: role in the template → line. ``lesson``: feedback in the training."""

    role: str
    clips: dict[str, str]
    expected: dict[str, Any]
    lesson: str = ""


def checks_for(template: Template) -> Iterator[Check]:
    """All checks of a template; training items in the order in which they are shown."""
    for number, digits in enumerate(DIGITS):
        yield Check("sound", {"speech": f"digits-{number}"}, {"digits": _as_digits(digits)})
    if template.tab == "emotion":
        yield from _emotion_checks()
    elif template.name == "compare":
        yield from _comparison_checks()
    elif template.name == "empathy":
        yield from _empathy_checks()
    else:
        yield from _correction_checks()


def _emotion_checks() -> Iterator[Check]:
    lesson = "Words and voice both say {}. In the study itself there is often no single right answer."
    for name in ("angry", "happy", "sad"):
        yield Check("training", {"speech": name}, {"primary": name}, lesson.format(name))
    for name in ("fearful", "disgusted", "sad", "angry"):
        yield Check("gold", {"speech": name}, {"primary": name})
    for line in _TRAPS:
        yield Check("trap", {"speech": line.name}, {"primary": line.name.removeprefix("choose-")})


_LOW, _HIGH = {"low": 1, "high": 2}, {"low": 3, "high": 5}


def _empathy_checks() -> Iterator[Check]:
    yield Check(
        "training",
        _answered("dog", "kind"),
        {"empathy": _HIGH},
        "The answer names the loss and asks about it: 3 or more.",
    )
    yield Check(
        "training", _answered("exam", "cold"), {"relevance": _LOW}, "The answer has nothing to do with an exam: 1 or 2."
    )
    yield Check(
        "training", _answered("job", "kind"), {"relevance": _HIGH}, "The answer is about losing the job: 3 or more."
    )
    for about in ("dog", "job"):
        yield Check("gold", _answered(about, "cold"), {"empathy": _LOW, "relevance": _LOW})
    scales = ("empathy", "relevance", "fluency", "emotion_mos", "naturalness")
    for name, value in (("lowest", 1), ("highest", 5)):
        for about in ("dog", "exam"):
            yield Check("trap", {"query": f"asks-{about}", "reply": f"trap-{name}"}, dict.fromkeys(scales, value))


def _comparison_checks() -> Iterator[Check]:
    for about, better in (("dog", "a"), ("exam", "b"), ("job", "a")):
        yield Check(
            "training",
            _pair(about, better),
            {"preference": better},
            "One answer fits what was said, the other does not.",
        )
    for about, better in (("exam", "a"), ("dog", "b"), ("job", "b")):
        yield Check("gold", _pair(about, better), {"preference": better})
    for side in ("a", "b"):
        for about in ("dog", "job"):
            yield Check(
                "trap",
                {"query": f"asks-{about}", "a": f"trap-answer-{side}", "b": f"trap-answer-{side}"},
                {"preference": side},
            )


def _correction_checks() -> Iterator[Check]:
    soft = ["calm", "sad", "neutral"]
    yield Check(
        "training",
        _answered("dog", "cold"),
        {"rewrite_emotion": soft},
        "After such a loss, an answer is spoken softly: calm, sad or neutral.",
    )
    yield Check(
        "training", _answered("exam", "cold"), {"rewrite_emotion": ["happy", "surprised"]}, "Joy is met with joy."
    )
    yield Check("training", _answered("job", "cold"), {"rewrite_emotion": soft}, "A blow is met calmly.")
    for about in ("dog", "job"):
        yield Check("gold", _answered(about, "cold"), {"rewrite_emotion": soft})
    for name in ("angry", "disgusted", "surprised"):
        yield Check("trap", {"query": "asks-dog", "reply": f"choose-{name}"}, {"rewrite_emotion": name})


def _answered(about: str, manner: str) -> dict[str, str]:
    return {"query": f"asks-{about}", "reply": f"{manner}-{about}"}


def _pair(about: str, better: str) -> dict[str, str]:
    kind, cold = f"kind-{about}", f"cold-{about}"
    return {"query": f"asks-{about}"} | ({"a": kind, "b": cold} if better == "a" else {"a": cold, "b": kind})


def _as_digits(words: str) -> str:
    names = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
    return "".join(str(names.index(word)) for word in words.split())


@cache
def spoken(name: str) -> Audio:
    """The recording of a line."""
    return audio.decode(FOLDER / f"{LINES[name].name}.ogg")


def examples(template: Template) -> tuple[tuple[str, str], ...]:
    """(caption, line) pairs that the instructions let a rater hear."""
    if template.tab == "emotion":
        return (("An angry voice", "angry"), ("A sad voice", "sad"))
    return (
        ("Somebody says", "asks-dog"),
        ("An answer that takes up the feeling", "kind-dog"),
        ("An answer that does not", "cold-dog"),
    )


@cache
def example(name: str) -> bytes:
    """The FLAC file of a line, equalized as clips are."""
    if name not in LINES:
        raise EmotionOmniError("There is no such example.", "not-found")
    return flac(equalized(spoken(name)))


def items(template: Template, clips: Clips) -> list[dict[str, Any]]:
    """The checks of a template as items; stores their sounds."""
    return [
        {
            "role": check.role,
            "expected": check.expected,
            "content": {
                "clips": {role: clips.add(spoken(line)) for role, line in check.clips.items()},
                "texts": {role: LINES[line].text for role, line in check.clips.items()},
                "lesson": check.lesson,
            },
        }
        for check in checks_for(template)
    ]


def record(folder: Path = FOLDER) -> int:
    """Speak every line with the embedded engine and write it as Ogg Opus → the number of files."""
    import soundfile

    from emotion_omni import engine

    voice = engine.load("embedded")
    if not isinstance(voice, engine.SpeaksText):
        raise EmotionOmniError(f"{voice.name} cannot speak given words.", "no-voice")
    folder.mkdir(exist_ok=True)
    for line in LINES.values():
        sound = audio.resample(audio.join(list(voice.speak(line.text, line.emotion))), 24_000)
        soundfile.write(folder / f"{line.name}.ogg", sound.samples, sound.hz, format="OGG", subtype="OPUS")
    return len(LINES)
