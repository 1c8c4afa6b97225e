"""Checks of raters: the sound check, training with feedback, traps and gold items, spoken by our own voice.

Every study gets those of its template. The recordings are in ``voice/``, spoken by the embedded engine
(``python -m annotation voice`` records them again), so that a study can open without loading a model. Anybody can get
them. So the examples of the instructions are used in no check, gold items share no recording with the training, the
digits are drawn for each study, and a trap begins as one of the study's own clips where it has any (ITU-T P.808).
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from annotation.study.clips import HZ, Clips, Encoded, encoded, equalized
from annotation.study.templates import Template
from emotion_omni import audio, emotion
from emotion_omni.types import Audio, Delivery, EmotionOmniError

FOLDER = Path(__file__).with_name("voice")
DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
SOUND_CHECKS = 4  # of a study, each with three digits of its own
PAUSE_SECONDS = 0.2  # between the lines of one recording
SPLICED_SECONDS = 2.0  # of the study's own clip, before a trap's instruction
_CHANCE = random.SystemRandom()  # nobody can foretell it
AND = "+"  # between the names of lines that are spoken one after the other


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
        *(Line(f"digit-{number}", f"{digit}.") for number, digit in enumerate(DIGITS)),
        *_TRAPS,
        *(Line(f"trap-{name}", text) for name, text in _TRAP_VALUES.items()),
        Line("angry", "How dare you! I am absolutely furious with you!", "angry"),
        Line("happy", "This is the happiest day of my life! We won!", "happy"),
        Line("sad", "I miss her so much. I just cannot stop crying.", "sad"),
        Line("fearful", "Please help me. Somebody is in the house. I am so scared.", "fearful"),
        Line("disgusted", "Ugh, that is disgusting. It makes me feel sick.", "disgusted"),
        Line("gold-angry", "Get out of my house! I never want to see you again!", "angry"),
        Line("gold-sad", "We buried my father today. I do not know how to go on.", "sad"),
        Line("gold-fearful", "Somebody is following me. Please help me, I am really scared.", "fearful"),
        Line("gold-disgusted", "Oh no, there are maggots in the food. That is revolting.", "disgusted"),
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
        Line("asks-fire", "Our house burned down last night. Everything is gone.", "sad"),
        Line("asks-birth", "My sister had her baby this morning! I am an aunt!", "happy"),
        Line("asks-friend", "My best friend has not spoken to me for weeks, and I do not know why.", "sad"),
        Line("kind-fire", "I am so sorry. What a terrible night that must have been. Are you all safe?", "calm"),
        Line("kind-birth", "How wonderful! Congratulations to all of you. Have you held the baby yet?", "happy"),
        Line("kind-friend", "That silence must hurt. What do you think might have happened?", "calm"),
        Line("cold-fire", "The library closes at six on Fridays.", "neutral"),
        Line("cold-birth", "What a shame. The meeting was moved to Thursday.", "neutral"),
        Line("cold-friend", "Fantastic! That is really funny.", "happy"),
        Line("example-angry", "Stop lying to me! I have had enough of this!", "angry"),
        Line("example-sad", "He left yesterday, and the house is so empty now.", "sad"),
        Line("example-asks", "I failed my driving test again. I feel so stupid.", "sad"),
        Line("example-kind", "That is really discouraging, I am sorry. What went wrong this time?", "calm"),
        Line("example-cold", "A new supermarket has opened in the city center.", "neutral"),
    )
}


@dataclass(frozen=True)
class Check:
    """An item with an expected answer. ``clips``: role in the template → line, or several of them joined by ``+``.

    ``lesson``: feedback in the training. ``instructed``: roles in which a trap says what to answer.
    """

    role: str
    clips: dict[str, str]
    expected: dict[str, Any]
    lesson: str = ""
    instructed: tuple[str, ...] = ()


def checks_for(template: Template) -> Iterator[Check]:
    """All checks of a template; training items in the order in which they are shown."""
    yield from _sound_checks()
    if template.tab == "emotion":
        yield from _emotion_checks()
    elif template.name == "compare":
        yield from _comparison_checks()
    elif template.name == "empathy":
        yield from _empathy_checks()
    else:
        yield from _correction_checks()


def _sound_checks() -> Iterator[Check]:
    """Digits that nobody can know from the source."""
    for number in _CHANCE.sample(range(1000), SOUND_CHECKS):
        digits = f"{number:03d}"
        yield Check("sound", {"speech": AND.join(f"digit-{digit}" for digit in digits)}, {"digits": digits})


def _emotion_checks() -> Iterator[Check]:
    lesson = "Words and voice both say {}. In the study itself there is often no single right answer."
    for name in ("angry", "happy", "sad"):
        yield Check("training", {"speech": name}, {"primary": name}, lesson.format(name))
    for name in ("fearful", "disgusted", "sad", "angry"):
        yield Check("gold", {"speech": f"gold-{name}"}, {"primary": name})
    for line in _TRAPS:
        expected = {"primary": line.name.removeprefix("choose-")}
        yield Check("trap", {"speech": line.name}, expected, instructed=("speech",))


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
    for about in ("fire", "birth", "friend"):
        yield Check("gold", _answered(about, "cold"), {"empathy": _LOW, "relevance": _LOW})
    scales = ("empathy", "relevance", "fluency", "emotion_mos", "naturalness")
    for name, value in (("lowest", 1), ("highest", 5)):
        for about in ("dog", "exam"):
            trap = {"query": f"asks-{about}", "reply": f"trap-{name}"}
            yield Check("trap", trap, dict.fromkeys(scales, value), instructed=("reply",))


def _comparison_checks() -> Iterator[Check]:
    for about, better in (("dog", "a"), ("exam", "b"), ("job", "a")):
        yield Check(
            "training",
            _pair(about, better),
            {"preference": better},
            "One answer fits what was said, the other does not.",
        )
    for about, better in (("birth", "a"), ("fire", "b"), ("friend", "b")):
        yield Check("gold", _pair(about, better), {"preference": better})
    for side in ("a", "b"):
        for about in ("dog", "job"):
            trap = {"query": f"asks-{about}", "a": f"trap-answer-{side}", "b": f"trap-answer-{side}"}
            yield Check("trap", trap, {"preference": side}, instructed=("a", "b"))


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
    for about in ("fire", "friend"):
        yield Check("gold", _answered(about, "cold"), {"rewrite_emotion": soft})
    yield Check("gold", _answered("birth", "cold"), {"rewrite_emotion": ["happy", "surprised"]})
    for name in ("angry", "disgusted", "surprised"):
        trap = {"query": "asks-dog", "reply": f"choose-{name}"}
        yield Check("trap", trap, {"rewrite_emotion": name}, instructed=("reply",))


def _answered(about: str, manner: str) -> dict[str, str]:
    return {"query": f"asks-{about}", "reply": f"{manner}-{about}"}


def _pair(about: str, better: str) -> dict[str, str]:
    kind, cold = f"kind-{about}", f"cold-{about}"
    return {"query": f"asks-{about}"} | ({"a": kind, "b": cold} if better == "a" else {"a": cold, "b": kind})


@cache
def _recording(line: str) -> Audio:
    return audio.decode(FOLDER / f"{LINES[line].name}.ogg")


@cache
def _encoded(line: str) -> Encoded:
    """Every study has the same lines, and equalizing takes a while."""
    return encoded(_recording(line))


def spoken(name: str) -> Audio:
    """The recording of a line, or of several joined by ``+``."""
    return spliced([_recording(line) for line in name.split(AND)])


def _added(name: str, clips: Clips) -> dict[str, Any]:
    return clips.add(spoken(name)) if AND in name else clips.add_encoded(_encoded(name))


def words(name: str) -> str:
    """What a recording says."""
    return " ".join(LINES[line].text for line in name.split(AND))


def spliced(sounds: Sequence[Audio]) -> Audio:
    """Sounds one after the other, each equalized, with a short pause between them."""
    if len(sounds) == 1:
        return sounds[0]
    pause = np.zeros(int(PAUSE_SECONDS * HZ), dtype=np.float32)
    pieces = [piece for sound in sounds for piece in (equalized(sound).samples, pause)]
    return Audio(np.concatenate(pieces[:-1]), HZ)


EXAMPLES = ("example-angry", "example-sad", "example-asks", "example-kind", "example-cold")  # in no check


def examples(template: Template) -> tuple[tuple[str, str], ...]:
    """(caption, line) pairs that the instructions let a rater hear."""
    if template.tab == "emotion":
        return (("An angry voice", "example-angry"), ("A sad voice", "example-sad"))
    return (
        ("Somebody says", "example-asks"),
        ("An answer that takes up the feeling", "example-kind"),
        ("An answer that does not", "example-cold"),
    )


@cache
def example(name: str) -> bytes:
    """The FLAC file of an example, equalized as clips are. Lines of checks are not to be had."""
    if name not in EXAMPLES:
        raise EmotionOmniError("There is no such example.", "not-found")
    return _encoded(name).played


def items(template: Template, clips: Clips, own: Sequence[Mapping[str, Any]] = ()) -> list[dict[str, Any]]:
    """The checks of a template as items; stores their sounds. ``own``: the study's items, into which traps are put."""
    hosts = [item for item in own if _can_host(item, template)]
    found = []
    for check in checks_for(template):
        is_spliced = check.instructed and hosts
        content = _spliced_trap(check, _CHANCE.choice(hosts), clips) if is_spliced else _content(check, clips)
        found.append({"role": check.role, "expected": check.expected, "content": content})
    return found


def _content(check: Check, clips: Clips) -> dict[str, Any]:
    """A check in our own voice. What a trap says is not among the texts, since pages show some of them."""
    texts = {role: words("kind-dog" if role in check.instructed else line) for role, line in check.clips.items()}
    played = {role: _added(line, clips) for role, line in check.clips.items()}
    return {"clips": played, "texts": texts, "lesson": check.lesson}


def _can_host(item: Mapping[str, Any], template: Template) -> bool:
    """An ordinary item with plain clips. Not one whose voice may be taken back: a trap would keep it."""
    content = item["content"]
    modes = ("both", "voice") if "query" in template.clips else ("both",)
    is_plain = content.get("mode", "both") in modes and set(template.clips) <= set(content.get("clips", {}))
    return item["role"] == "rate" and not item.get("contributor") and is_plain


def _spliced_trap(check: Check, host: Mapping[str, Any], clips: Clips) -> dict[str, Any]:
    """A trap that sounds like an item of the study until the instruction comes."""
    played = dict(host["content"]["clips"])
    for role in check.instructed:
        start = clips.beginning(played[role]["played"], SPLICED_SECONDS)
        played[role] = clips.add(spliced([start, spoken(check.clips[role])]))
    mode = {"mode": host["content"]["mode"]} if "mode" in host["content"] else {}
    return {"clips": played, "texts": dict(host["content"].get("texts", {}))} | mode


def record(folder: Path = FOLDER) -> int:
    """Speak every line with the embedded engine and write it as Ogg Opus → the number of files."""
    import soundfile

    from emotion_omni import engine

    voice = engine.load("embedded")
    if not isinstance(voice, engine.SpeaksText):
        raise EmotionOmniError(f"{voice.name} cannot speak given words.", "no-voice")
    folder.mkdir(exist_ok=True)
    for line in LINES.values():
        sound = audio.resample(audio.join(list(voice.speak(line.text, Delivery(line.emotion)))), 24_000)
        soundfile.write(folder / f"{line.name}.ogg", sound.samples, sound.hz, format="OGG", subtype="OPUS")
    return len(LINES)
