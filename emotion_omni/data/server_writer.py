"""Writes dialogues with a chat model behind an OpenAI-compatible server; every answer is cached by its request.

A dialogue of wrong form is asked for again with another seed, and given up after the plan's attempts. A server that
cannot be reached stops the run, which then goes on: were it a rejection, a rebuild would not be the same.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import threading
import time
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx

from emotion_omni import json_lines
from emotion_omni.data.dialogue import NoText, WrittenDialogue, turn_of
from emotion_omni.data.domains import CUES
from emotion_omni.data.plan import ServerWriter
from emotion_omni.data.response_cache import ResponseCache
from emotion_omni.data.scenarios import Scenario
from emotion_omni.emotion import NAMES, NEWS
from emotion_omni.response.openai_stream import ChatStream, Limits
from emotion_omni.train.exchanges import STRATEGIES
from emotion_omni.types import EmotionOmniError

PROMPT = Path(__file__).with_name("writing_prompt.md")
TURN = {
    "type": "object",
    "additionalProperties": False,
    "required": ["text", "emotion", "intensity", "reply", "reply_emotion", "strategy", "news"],
    "properties": {
        "text": {"type": "string"},
        "emotion": {"enum": list(NAMES)},
        "intensity": {"type": "number"},
        "reply": {"type": "string"},
        "reply_emotion": {"enum": list(NAMES)},
        "strategy": {"type": "array", "items": {"enum": list(STRATEGIES)}},
        "news": {"enum": list(NEWS)},
    },
}
SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "required": ["turns"],
    "properties": {"turns": {"type": "array", "items": TURN}},
}
LETTERS_A_TOKEN = 4  # of English, for servers that do not count


class ChatWriter:
    """``transport``: for tests. ``tokens``: ``in`` and ``out``, estimated from letters; what is cached costs none."""

    def __init__(
        self, config: ServerWriter, cache: ResponseCache, transport: httpx.BaseTransport | None = None
    ) -> None:
        self.config, self.concurrent, self.tokens = config, config.requests, Counter[str]()
        self._cache = cache
        limits = Limits(10.0, config.timeout, config.timeout, config.total_timeout, config.retries)
        self._stream = ChatStream(config.base_url, config.model, config.api_key_env, limits, transport)
        self._pace = Pace(config.per_minute)
        self._counting, self._asking_for_set = threading.Lock(), threading.Lock()
        self._set_words: dict[str, str] = {}
        self._transcripts = _read_transcripts(config.transcripts)

    def write(self, scenario: Scenario) -> WrittenDialogue:
        """Raises :class:`NoText` where no attempt had the right form, ``EmotionOmniError`` (``server``) otherwise."""
        faults = []
        for attempt in range(self.config.attempts):
            try:
                return self._dialogue(scenario, self._answer(self.request(scenario, attempt)))
            except NoText as error:
                faults.append(str(error))
        raise NoText(f"{len(faults)} attempts had the wrong form, the last: {faults[-1]}")

    def request(self, scenario: Scenario, attempt: int) -> dict[str, Any]:
        """The JSON body; it is the same for the same scenario, so the cache knows it."""
        body = {
            "model": self.config.model,
            "messages": [
                {"role": "system", "content": system_prompt()},
                {"role": "user", "content": self._task(scenario)},
            ],
            "temperature": self.config.temperature,
            "max_tokens": self.config.max_tokens,
            "seed": (scenario.seed + attempt) % 2**31,
            "stream": True,
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "dialogue", "strict": True, "schema": SCHEMA},
            },
        }
        return body | (json.loads(self.config.extra) if self.config.extra else {})

    def _task(self, scenario: Scenario) -> str:
        turns = "one turn" if scenario.turns == 1 else f"{scenario.turns} turns that belong together"
        lines = [
            f"Write {turns}. Domain: {scenario.domain}. Situation: {scenario.situation}. The person's style: "
            f"{scenario.style}. The last text is said in this tone: {scenario.emotion}."
        ]
        if scenario.kind == "contrast":
            lines.append(
                f"The text must be exactly: {json.dumps(self._words_of_set(scenario), ensure_ascii=False)}. It is said "
                "in other tones too; answer what it means in this one."
            )
        if scenario.kind == "conflict":
            lines.append("Words and tone must disagree (as in a sad 'I'm fine'); the reply stays open and asks.")
        if scenario.cue:
            lines.append(f"The text begins with a {scenario.cue}, written {CUES[scenario.cue]!r}.")
        if self._transcripts:
            source = self._transcripts[scenario.index % len(self._transcripts)]
            lines.append(f"Keep to this transcript; make it speakable, change nothing of what it says: {source}")
        return "\n".join(lines)

    def _words_of_set(self, scenario: Scenario) -> str:
        """The sentence that a whole tone-contrast set shares: asked for once, and cached like all else."""
        with self._asking_for_set:
            return self._set_words.get(scenario.group) or self._new_words_of_set(scenario)

    def _new_words_of_set(self, scenario: Scenario) -> str:
        group = f"{scenario.group}: a neutral remark about {scenario.situation}"
        seed = int.from_bytes(hashlib.sha256(group.encode()).digest()[:4]) % 2**31
        body = {
            "model": self.config.model,
            "messages": [
                {
                    "role": "user",
                    "content": "Write one sentence of 3 to 12 words that a person could say about "
                    f"{scenario.situation} ({scenario.domain}) happily, sadly, angrily, fearfully or calmly, each "
                    "time with another meaning. It must not name or imply a feeling. Answer with the sentence alone.",
                }
            ],
            "temperature": self.config.temperature,
            "max_tokens": self.config.max_tokens,
            "seed": seed,
            "stream": True,
        }
        words = " ".join(self._answer(body).strip().strip('"').split())
        if not 2 <= len(words.split()) <= 20:
            raise NoText(f"the sentence of a tone-contrast set has {len(words.split())} words", "bad-form")
        self._set_words[scenario.group] = words
        return words

    def _answer(self, body: dict[str, Any]) -> str:
        known = self._cache.get(body)
        if known is not None:
            return str(known["content"])
        self._pace.wait()
        pieces, reasons = [], []
        with closing(self._stream.choices(body, os.environ.get(self.config.api_key_env, ""))) as choices:
            for choice in choices:
                pieces.append(str((choice.get("delta") or {}).get("content") or ""))
                reasons.append(choice.get("finish_reason") or "")
        content = "".join(pieces)
        with self._counting:
            self.tokens["in"] += len(json.dumps(body["messages"])) // LETTERS_A_TOKEN
            self.tokens["out"] += len(content) // LETTERS_A_TOKEN
        self._cache.put(body, {"content": content, "finish_reason": next(filter(None, reasons), "")})
        return content

    def _dialogue(self, scenario: Scenario, content: str) -> WrittenDialogue:
        found = _first_object(content)
        turns = found.get("turns")
        if not isinstance(turns, list) or len(turns) != scenario.turns:
            count = len(turns) if isinstance(turns, list) else "no"
            raise NoText(f"it has {count} turns, not {scenario.turns}", "bad-form")
        written = tuple(turn_of(turn, f"turn {number}") for number, turn in enumerate(turns, 1))
        if written[-1].emotion != scenario.emotion:
            raise NoText(f"its tone is {written[-1].emotion}, not {scenario.emotion}", "bad-form")
        if scenario.kind == "contrast" and _plain(written[-1].text) != _plain(self._words_of_set(scenario)):
            raise NoText("its words are not those of its tone-contrast set", "bad-form")
        return WrittenDialogue(written, f"server:{self.config.model}")


class Pace:
    """At most so many calls a minute, evenly; 0 without a limit."""

    def __init__(self, per_minute: int) -> None:
        self._gap = 60 / per_minute if per_minute else 0.0
        self._next, self._lock = 0.0, threading.Lock()

    def wait(self) -> None:
        with self._lock:
            now = time.monotonic()
            at = max(now, self._next)
            self._next = at + self._gap
        time.sleep(max(0.0, at - now))


def system_prompt() -> str:
    text = PROMPT.read_text(encoding="utf-8")
    return text.replace("{strategies}", ", ".join(STRATEGIES)).replace("{emotions}", ", ".join(NAMES))


def prompt_sha256() -> str:
    return hashlib.sha256(system_prompt().encode()).hexdigest()


def _first_object(content: str) -> dict[str, Any]:
    """The JSON object in an answer; some models wrap it in thoughts and code fences."""
    content = re.sub(r"<think>.*?</think>", "", content, flags=re.DOTALL)
    start, end = content.find("{"), content.rfind("}")
    try:
        found = json.loads(content[start : end + 1])
    except ValueError as error:
        raise NoText(f"it is not JSON: {content[:80]!r}", "bad-form") from error
    if not isinstance(found, dict):
        raise NoText(f"it is no JSON object: {content[:80]!r}", "bad-form")
    return found


def _plain(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.lower()))


def _read_transcripts(name: str) -> list[str]:
    """Raises :class:`EmotionOmniError` (code ``data``) for a file without texts."""
    if not name:
        return []
    texts = [str(row["text"]) for _, row in json_lines.read_file(Path(name)) if row.get("text")]
    if not texts:
        raise EmotionOmniError(f"{name!r} has no line with 'text'. Write {{\"text\": …}} a line.", "data")
    return texts
