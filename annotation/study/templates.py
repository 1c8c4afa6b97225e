"""The templates: which clips an item shows, which scales it asks for, and the texts around it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from annotation.study.scales import SCALES, Scale


@dataclass(frozen=True)
class Template:
    """What kind of item is shown, and which questions are asked about it."""

    name: str
    tab: str  # one of TABS
    title: str
    clips: tuple[str, ...]  # the roles of the clips that an item must have
    scales: tuple[str, ...]
    main: str  # the scale that agreement, gold and the results' first picture are about
    instructions: tuple[str, ...]
    modes: tuple[str, ...] = ("both",)  # the modes that every item is made in (see presentation.py)

    @property
    def judged(self) -> tuple[str, ...]:
        """The roles that the questions are about: the answers, or the recording."""
        return tuple(role for role in self.clips if role != "query")

    def asked(self, guess: bool) -> tuple[Scale, ...]:
        """The scales of an item that comes with a model's guess, or without one."""
        return tuple(SCALES[name] for name in self.scales if name != "guess_right" or guess)


ABOUT_GUESSES = "Sometimes you are shown what a model heard. It is often wrong: trust your ears."
_LISTEN = "Listen to every recording to the end. You may hear it again as often as you like."
_INDEPENDENT = "There is no right taste: we want your own impression, not what you think others would say."

TEMPLATES: dict[str, Template] = {
    template.name: template
    for template in (
        Template(
            "emotion-recognition",
            "emotion",
            "Emotion recognition",
            ("speech",),
            (
                "primary",
                "secondary",
                "intensity",
                "valence",
                "arousal",
                "dominance",
                "heard_from",
                "guess_right",
                "note",
            ),
            "primary",
            (
                "You will hear short recordings of people speaking.",
                _LISTEN,
                "Judge the feeling that the voice carries, also where the words tell another story.",
                ABOUT_GUESSES,
                _INDEPENDENT,
            ),
        ),
        Template(
            "empathy",
            "empathy",
            "Empathy of the answer",
            ("query", "reply"),
            (
                "empathy",
                "relevance",
                "fluency",
                "emotional_reactions",
                "interpretations",
                "explorations",
                "emotion_mos",
                "naturalness",
                "safety",
                "note",
            ),
            "empathy",
            (
                "You will hear what a person said, and the answer of a machine.",
                _LISTEN,
                "Put yourself in the place of the person who spoke. How would you feel about being answered like this?",
                _INDEPENDENT,
            ),
        ),
        Template(
            "compare",
            "compare",
            "Comparison of two answers",
            ("query", "a", "b"),
            ("preference", "certainty", "note"),
            "preference",
            (
                "You will hear what a person said, and two answers.",
                _LISTEN,
                "Choose the answer you would rather be given: words and voice together. "
                "Say “no difference” where there is none.",
                _INDEPENDENT,
            ),
        ),
        Template(
            "words-voice",
            "emotion",
            "Words and voice apart",
            ("speech",),
            ("primary", "intensity", "note"),
            "primary",
            (
                "You will be shown the words alone, or hear a voice whose words are masked, or get both.",
                _LISTEN,
                "Judge the feeling from what you are given, and from nothing else.",
                _INDEPENDENT,
            ),
            modes=("words", "voice", "both"),
        ),
        Template(
            "correction",
            "empathy",
            "Corrected answer",
            ("query", "reply"),
            ("rewrite", "rewrite_emotion", "note"),
            "rewrite_emotion",
            (
                "You will hear what a person said, and the answer of a machine.",
                _LISTEN,
                "Rewrite the answer as you would have wanted it: short, spoken language, one to three sentences.",
                _INDEPENDENT,
            ),
        ),
    )
}
TABS = ("emotion", "empathy", "compare")
CONSENT = (
    "Your answers are stored under a pseudonym, with the time they took and which parts of a clip were played.",
    "They are used for research and may be published as data without your name.",
    "You may stop at any time, skip what you like, and withdraw: then everything you gave is erased.",
    "Some recordings carry strong feelings. If that is too much, skip the recording or stop.",
)
STATEMENTS = ("I am at least 18 years old.", "I have read this and take part of my own free will.")


def choices() -> Iterable[tuple[str, str]]:
    """(title, name) of every template, for a menu."""
    return ((template.title, template.name) for template in TEMPLATES.values())
