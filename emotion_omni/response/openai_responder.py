"""A responder behind any OpenAI-compatible server (vLLM, Ollama, llama.cpp, hosted), streamed over HTTP.

The server renders its own chat template, so a person's words are sent with ``<|`` broken up: they cannot become control
tokens. The key is read from the environment for each reply and appears in no error.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Generator, Sequence
from contextlib import closing
from typing import Any

import httpx

from emotion_omni.response.chat import ReplyFilter, ReplyGuard, clauses
from emotion_omni.response.config import OpenAIResponderConfig
from emotion_omni.response.openai_stream import ChatStream, Limits, ServerError
from emotion_omni.response.prompt import messages
from emotion_omni.types import Exchange, Heard, Plan


class OpenAIResponder:
    """Keeps nothing between replies but counts, in ``net``. ``transport``: for tests."""

    openers = False

    def __init__(
        self, config: OpenAIResponderConfig, guard: ReplyGuard, transport: httpx.BaseTransport | None = None
    ) -> None:
        self.config, self.filter = config, ReplyFilter(guard)
        limits = Limits(
            config.connect_timeout, config.timeout, config.gap_timeout, config.total_timeout, config.retries
        )
        self._stream = ChatStream(config.base_url, config.model, config.api_key_env, limits, transport)

    @classmethod
    def load(cls, config: OpenAIResponderConfig, guard: ReplyGuard) -> OpenAIResponder:
        """Does not call the server yet: it may start later than we do."""
        return cls(config, guard)

    def reply(
        self, heard: Heard, plan: Plan, history: Sequence[Exchange] = (), *, seed: int = 0
    ) -> Generator[str, None, None]:
        """See :class:`emotion_omni.response.responder.Responder`. A seed repeats a reply only where the server does.

        Raises :class:`EmotionOmniError` (code ``server``).
        """

        def write(attempt: int, refused: str) -> Generator[str, None, None]:
            return self._clauses(self.request(heard, plan, history, seed + attempt, refused))

        return self.filter.reply(heard, plan, history, seed, write)

    def request(
        self, heard: Heard, plan: Plan, history: Sequence[Exchange] = (), seed: int = 0, refused: str = ""
    ) -> dict[str, Any]:
        """The JSON body of a call."""
        body = {
            "model": self.config.model,
            "messages": messages(heard, plan, history, _content, seed, refused),
            "temperature": self.config.temperature,
            "top_p": self.config.top_p,
            "max_tokens": self.config.max_tokens,
            "seed": seed,
            "stream": True,
        }
        return body | (json.loads(self.config.extra) if self.config.extra else {})

    def _clauses(self, body: dict[str, Any]) -> Generator[str, None, None]:
        written: list[str] = []
        reasons: list[str] = []
        thought = False

        def texts() -> Generator[str, None, None]:
            nonlocal thought
            key = os.environ.get(self.config.api_key_env, "")
            with closing(self._stream.choices(body, key)) as choices:
                for choice in choices:
                    delta = choice.get("delta") or {}
                    thought = thought or bool(delta.get("reasoning_content") or delta.get("reasoning"))
                    written.append(_words_of(delta.get("content")))
                    reasons.append(choice.get("finish_reason") or "")
                    yield "".join(written)

        spoke = False
        with closing(texts()) as growing:
            for clause in clauses(growing, lambda: "length" not in reasons):
                spoke = True
                yield clause
        if not spoke and "length" in reasons and (thought or "".join(written).strip()):
            raise ServerError(
                f"{self.config.model!r} used up all {self.config.max_tokens} tokens on thinking. Turn its thinking off "
                'on the server or with extra, such as {"reasoning_effort": "none"}, or raise max_tokens.'
            )


def _words_of(content: Any) -> str:
    """A string, or the text of the parts that some servers send instead."""
    if isinstance(content, list):
        return "".join(str(part.get("text") or "") for part in content if isinstance(part, dict))
    return str(content or "")


def _content(words: str, max_tokens: int) -> str:
    """A person's words without control tokens; a token has about four characters, and a word at least one."""
    return " ".join(re.sub(r"<(?=[|/\w])", "< ", words).split()[:max_tokens])[: 4 * max_tokens]
