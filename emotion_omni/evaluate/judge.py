"""A judge: any model behind an OpenAI-compatible server, asked for a number by a rubric.

Rubrics: the emotional score of the paper (after URO-Bench's UnderEmotion), SD-Eval's (Ao et al. 2024), the emotion
consensus of CE-CoT, helpfulness as VoiceBench asks it. ``EMOTION_OMNI_JUDGE_URL``, ``…_MODEL`` and ``…_KEY`` name the
server. What a judge says is worth no more than its agreement with people (:mod:`.judge_calibration`).
"""

from __future__ import annotations

import json
import os
import re
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from emotion_omni.evaluate.measure import NotRun
from emotion_omni.response.openai_stream import ChatStream, Limits
from emotion_omni.types import EmotionOmniError, Exchange

URL, MODEL, KEY = "EMOTION_OMNI_JUDGE_URL", "EMOTION_OMNI_JUDGE_MODEL", "EMOTION_OMNI_JUDGE_KEY"
LIMITS = Limits(5.0, 60.0, 30.0, 120.0, 3)
MAX_TOKENS = 400


@dataclass(frozen=True)
class Rubric:
    """``scale``: lowest and highest value. ``answer``: the pattern of the value in the judge's text."""

    name: str
    text: str
    scale: tuple[float, float]
    answer: str = r"\[\[\s*(\d+(?:\.\d+)?)\s*\]\]"


RUBRICS = {
    one.name: one
    for one in (
        Rubric(
            "empathy",
            "Rate how well the reply meets the speaker's emotion, from 1 to 5.\n"
            "1: it fails to notice the emotion, or is unrelated. 2: it somewhat acknowledges it, without empathy. "
            "3: it recognizes the emotion and shows some empathy, but stays shallow. 4: it recognizes it and answers "
            "with "
            "empathy, relevant and compassionate. 5: excellent detection, deep alignment, supportive and genuine.\n"
            "Length is no merit. Give one sentence of reasons, then the number as [[x]].",
            (1, 5),
        ),
        Rubric(
            "sd-eval",
            "Rate the reply from 1 to 10: does its sentiment fit the speaker's, is it natural, coherent, engaging and "
            "grounded in what was said? Length is no merit. First your reasons in one or two sentences, then "
            "`Rating: [[x]]`.",
            (1, 10),
        ),
        Rubric(
            "direction",
            "Is the direction of the reply's emotion right for how the words were said (no cheer for what hurts, no "
            "comfort "
            "for what pleases)? Give one sentence of reasons, then [[1]] for yes or [[0]] for no.",
            (0, 1),
        ),
        Rubric(
            "helpfulness",
            "Rate the reply of a spoken assistant from 1 to 5: 1 useless or wrong, 3 partly helpful, 5 correct, "
            "complete and "
            "fit to be heard. Length is no merit. One sentence of reasons, then the number as [[x]].",
            (1, 5),
        ),
    )
}


@dataclass(frozen=True)
class Case:
    """What the judge reads. ``spoken_as``: the emotion that the reply is spoken with, empty for words alone."""

    words: str
    tone: str
    reply: str
    earlier: tuple[Exchange, ...] = ()
    spoken_as: str = ""

    @property
    def text(self) -> str:
        before = [f"Speaker ({one.heard}): {one.transcript}\nReply: {one.reply}" for one in self.earlier]
        voice = f" (spoken in a {self.spoken_as} voice)" if self.spoken_as else ""
        return "\n".join([*before, f"Speaker ({self.tone}): {self.words}", f"Reply{voice}: {self.reply}"])


class Judge:
    """``known``: a file of verdicts by request, so that no case is paid for twice."""

    def __init__(self, url: str, model: str, known: Path, transport: httpx.BaseTransport | None = None) -> None:
        self.model, self._known = model, known
        self._stream = ChatStream(url, model, KEY, LIMITS, transport)
        self._verdicts: dict[str, float] = {}
        if known.exists():
            for line in known.read_text(encoding="utf-8").splitlines():
                try:
                    request, value = json.loads(line)
                    self._verdicts[request] = float(value)
                except (ValueError, TypeError):
                    continue

    @classmethod
    def from_environment(cls, cache: Path) -> Judge:
        """Raises :class:`NotRun` where no server is named."""
        url, model = os.environ.get(URL, ""), os.environ.get(MODEL, "")
        if not url or not model:
            raise NotRun(
                f"it needs a judge: set {URL} (such as http://127.0.0.1:11434/v1) and {MODEL} to any OpenAI-compatible "
                f"server; a key, if it asks for one, in {KEY}"
            )
        return cls(url, model, cache / f"judge-{re.sub(r'[^A-Za-z0-9.-]', '_', model)}.jsonl")

    def rate(self, rubric: Rubric, case: Case, seed: int = 0) -> float | None:
        """The number, ``None`` where the judge gave none on its scale. Raises :class:`EmotionOmniError`."""
        messages = [
            {"role": "system", "content": rubric.text},
            {"role": "user", "content": case.text.replace("<|", "< |")},
        ]
        request = json.dumps([self.model, messages, seed], ensure_ascii=False)
        if request not in self._verdicts:
            found = value_in(self._ask(messages, seed), rubric)
            if found is None:
                return None
            self._verdicts[request] = found
            self._known.parent.mkdir(parents=True, exist_ok=True)
            with open(self._known, "a", encoding="utf-8") as file:
                file.write(json.dumps([request, found], ensure_ascii=False) + "\n")
        return self._verdicts[request]

    def _ask(self, messages: list[dict[str, str]], seed: int) -> str:
        body: dict[str, Any] = {
            "model": self.model,
            "messages": messages,
            "temperature": 0.0,
            "seed": seed,
            "max_tokens": MAX_TOKENS,
            "stream": True,
        }
        text = ""
        with closing(self._stream.choices(body, os.environ.get(KEY, ""))) as choices:
            for choice in choices:
                text += (choice.get("delta") or {}).get("content") or ""
        return text


def value_in(text: str, rubric: Rubric) -> float | None:
    """The last value on the scale, as the judge may think aloud before."""
    for match in reversed(re.findall(rubric.answer, text)):
        if rubric.scale[0] <= float(match) <= rubric.scale[1]:
            return float(match)
    return None


def share_of_scale(value: float, rubric: Rubric) -> float:
    """From 0 at the lowest to 1 at the highest value."""
    low, high = rubric.scale
    return (value - low) / (high - low)


def check_rubric(name: str) -> Rubric:
    """Raises :class:`EmotionOmniError` (code ``rubric``)."""
    if name not in RUBRICS:
        raise EmotionOmniError(f"There is no rubric {name!r}. Use one of: {', '.join(RUBRICS)}.", "rubric")
    return RUBRICS[name]
