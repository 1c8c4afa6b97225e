"""What a corpus shall be: its size, its balance, who writes, who speaks, what is kept. Settings only; imports no torch.

Read from YAML; an unknown key or a value out of range is refused by name.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

import yaml

from emotion_omni.data.domains import domains
from emotion_omni.emotion import NAMES
from emotion_omni.strict import Strict, nearest, refuse
from emotion_omni.types import EmotionOmniError
from emotion_omni.weights import KOKORO_VOICES

LARGEST = 10_000_000  # dialogues
HUNDRED = Path(__file__).parent / "plans" / "hundred.yaml"


@dataclass(frozen=True)
class ExchangesWriter(Strict):
    """The written exchanges that come with the package: no model, no server. ``folder``: others of the same form."""

    kind: Literal["exchanges"] = "exchanges"
    folder: str = ""


@dataclass(frozen=True)
class ResponderWriter(Strict):
    """The queries of the written exchanges, answered anew by a responder of the project on this machine."""

    kind: Literal["responder"] = "responder"
    folder: str = ""
    responder: Literal["smollm2", "reranked"] = "reranked"


@dataclass(frozen=True)
class ServerWriter(Strict):
    """A chat model behind any OpenAI-compatible server. Seconds, retries and keys as for the responder ``openai``.

    ``requests``: at once; ``per_minute``: at most, 0 without a limit. ``attempts``: at a dialogue whose form is wrong.
    ``transcripts``: a file with one JSON object a line, each with ``text``: rewriting mode, in which every dialogue
    starts from a line of it. ``price_in``, ``price_out``: of a million tokens, for the forecast.
    ``varies``: say so where the server does not repeat an answer to the same request and seed.
    """

    base_url: str
    model: str
    kind: Literal["server"] = "server"
    api_key_env: str = "OPENAI_API_KEY"
    temperature: float = 0.9
    max_tokens: int = 700
    requests: int = 4
    per_minute: int = 0
    attempts: int = 3
    retries: int = 5
    timeout: float = 120.0
    total_timeout: float = 300.0
    transcripts: str = ""
    extra: str = ""
    price_in: float = 0.0
    price_out: float = 0.0
    varies: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require(self.base_url.startswith(("http://", "https://")), "base_url", "an http:// or https:// address")
        self._require(bool(self.model.strip()), "model", "the name of a model of that server")
        self._positive("max_tokens", "requests", "attempts", "timeout", "total_timeout")
        for name in ("per_minute", "retries", "price_in", "price_out", "temperature"):
            self._require(getattr(self, name) >= 0, name, "0 or more")


WriterSettings = ExchangesWriter | ResponderWriter | ServerWriter


@dataclass(frozen=True)
class Mix(Strict):
    """Shares of the dialogues, each from 0 to 1. The rest are plain ones of a single turn.

    ``tone_contrast``: sets of the same words in several tones with different right answers. ``conflict``: words against
    tone. ``multi_turn``: 2 to 4 turns. ``cues``: share of the plain ones that begin with a non-verbal cue.
    """

    tone_contrast: float = 0.15
    conflict: float = 0.03
    multi_turn: float = 0.05
    cues: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self._share("tone_contrast", "conflict", "multi_turn", "cues")
        self._require(
            self.tone_contrast + self.conflict + self.multi_turn <= 1, "multi_turn", "at most 1 with the others"
        )


@dataclass(frozen=True)
class Speech(Strict):
    """``synthesizer``: ``kokoro``, or ``fake``: short tones, to rehearse a plan without a model.

    ``queries``, ``replies``: voices of the person and of the machine; empty for a balanced choice of ours. The shares
    are of queries: ``level``: spoken up to 12 dB louder or softer; ``room``: in a room; ``noise``: with noise behind;
    ``codec``: through a telephone. ``reply_audio``: whether replies are spoken too.
    """

    synthesizer: Literal["kokoro", "fake"] = "kokoro"
    queries: tuple[str, ...] = ()
    replies: tuple[str, ...] = ("af_heart", "am_echo")
    level: float = 0.0
    room: float = 0.0
    noise: float = 0.0
    codec: float = 0.0
    reply_audio: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        self._share("level", "room", "noise", "codec")
        for name in (*self.queries, *self.replies) if self.synthesizer == "kokoro" else ():
            if name not in KOKORO_VOICES:
                raise refuse(f"speech names the voice {name!r}. Allowed: {', '.join(KOKORO_VOICES)}.")


@dataclass(frozen=True)
class Filters(Strict):
    """What a dialogue must keep to; 0 switches a limit off, except that of an error rate.

    ``recognizer``: ``embedded`` listens to every query, ``none`` skips the error rate and the emotion.
    ``max_wer``: word error rate of a query, and of a reply, as the recognizer hears them. ``min_emotion``: probability
    that the shipped head gives the meant emotion of a query. ``min_quality``: opinion score that DistillMOS predicts.
    ``max_silence``: share of the clip. ``near``: estimated Jaccard index of word triples, ``meaning``: cosine of
    sentence vectors, from which two dialogues are duplicates. ``form``: whether replies are held to the rules of the
    written exchanges (length, stock phrases, human lives, tones named back).
    """

    recognizer: Literal["embedded", "none"] = "embedded"
    max_wer: float = 0.3
    min_emotion: float = 0.0
    min_quality: float = 0.0
    min_seconds: float = 0.4
    max_seconds: float = 30.0
    max_silence: float = 0.6
    max_clipped: float = 0.01
    near: float = 0.8
    meaning: float = 0.0
    form: bool = True
    listen_to_replies: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("min_emotion", "max_silence", "max_clipped", "near", "meaning"):
            self._share(name)
        self._require(0 <= self.min_quality <= 5, "min_quality", "from 0 to 5")
        self._require(self.max_wer >= 0, "max_wer", "0 or more")
        self._require(0 <= self.min_seconds < self.max_seconds, "min_seconds", "less than max_seconds")


@dataclass(frozen=True)
class Split(Strict):
    """Shares of the texts that are held out. No voice of a person and no text is in two splits."""

    dev: float = 0.05
    test: float = 0.05

    def __post_init__(self) -> None:
        super().__post_init__()
        self._share("dev", "test")
        self._require(self.dev + self.test < 1, "test", "less than 1 with dev")


@dataclass(frozen=True)
class CorpusPlan(Strict):
    """``dialogues``: how many are tried; filters keep fewer. ``domains``, ``emotions``: empty for all.

    ``shard``: dialogues a file. ``licence``: of the text and sound, as the card states it. ``leaks``: files of JSON
    lines with ``text`` that no dialogue may repeat, such as the texts of test sets.
    """

    dialogues: int
    name: str = "emotional-qa"
    seed: int = 0
    language: Literal["en"] = "en"
    domains: tuple[str, ...] = ()
    emotions: tuple[str, ...] = ()
    writer: WriterSettings = ExchangesWriter()
    mix: Mix = Mix()
    speech: Speech = Speech()
    filters: Filters = Filters()
    split: Split = Split()
    shard: int = 100
    licence: str = "apache-2.0"
    leaks: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        self._require(1 <= self.dialogues <= LARGEST, "dialogues", f"from 1 to {LARGEST}")
        self._require(1 <= self.shard <= 10_000, "shard", "from 1 to 10000")
        for name, known in (("domains", list(domains())), ("emotions", list(NAMES))):
            for one in getattr(self, name):
                if one not in known:
                    raise refuse(f"{name} holds {one!r}. Allowed: {', '.join(known)}.{nearest(one, known)}")
        if self.mix.tone_contrast and len(self.chosen_emotions) < 2:
            raise refuse("mix.tone_contrast needs at least two emotions. Name more, or set it to 0.")

    @property
    def chosen_domains(self) -> tuple[str, ...]:
        return self.domains or tuple(domains())

    @property
    def chosen_emotions(self) -> tuple[str, ...]:
        return self.emotions or NAMES

    @property
    def sha256(self) -> str:
        """Of all settings: the identity of a corpus."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()


def read_plan(path: Path) -> CorpusPlan:
    """A YAML (or JSON) file → the plan. Raises :class:`EmotionOmniError` (codes ``plan``, ``config``)."""
    try:
        settings: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise EmotionOmniError(f"The plan {str(path)!r} cannot be read: {error.strerror}.", "plan") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise EmotionOmniError(f"The plan {str(path)!r} is not YAML: {error}", "plan") from error
    if isinstance(settings, dict) and isinstance(settings.get("writer"), str):
        settings["writer"] = {"kind": settings["writer"]}
    if not isinstance(settings, dict):
        allowed = ", ".join(one.name for one in fields(CorpusPlan))
        raise EmotionOmniError(f"The plan {str(path)!r} must be a mapping of settings: {allowed}.", "plan")
    return CorpusPlan.from_mapping(settings)
