"""Answers the queries of the written exchanges anew with a responder of the project, on this machine, without a server.

Replies are cached by what was asked, as those of servers are.
"""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import replace

from emotion_omni import emotion
from emotion_omni.data.dialogue import NoText, WrittenDialogue, WrittenTurn
from emotion_omni.data.exchange_writer import ExchangeWriter
from emotion_omni.data.plan import ResponderWriter
from emotion_omni.data.response_cache import ResponseCache
from emotion_omni.data.scenarios import Scenario
from emotion_omni.response.planner import Planner
from emotion_omni.response.responder import Responder
from emotion_omni.types import Exchange, Heard


class AnsweringWriter:
    """``parts``: responder and planner, for tests; loaded with the first dialogue otherwise. One call at a time."""

    concurrent = 1

    def __init__(
        self,
        queries: ExchangeWriter,
        config: ResponderWriter,
        cache: ResponseCache,
        parts: tuple[Responder, Planner] | None = None,
    ) -> None:
        self._queries, self._config, self._cache, self._parts = queries, config, cache, parts
        self._lock, self.tokens = threading.Lock(), Counter[str]()

    def write(self, scenario: Scenario) -> WrittenDialogue:
        given = self._queries.write(scenario)
        history: list[Exchange] = []
        turns = []
        for number, turn in enumerate(given.turns):
            answered = self._answer(turn, history, scenario.seed + number)
            turns.append(answered)
            history.append(Exchange(turn.text, turn.emotion, answered.reply, answered.reply_emotion))
        source = f"{self._config.responder}:{given.source.partition(':')[2]}"
        return replace(given, turns=tuple(turns), source=source)

    def _answer(self, turn: WrittenTurn, history: list[Exchange], seed: int) -> WrittenTurn:
        earlier = [[one.transcript, one.heard, one.reply] for one in history]
        asked = {"responder": self._config.responder, "text": turn.text, "tone": turn.emotion, "earlier": earlier}
        request = asked | {"seed": seed}
        with self._lock:
            found = self._cache.get(request)
            if found is None:
                found = self._reply(turn, history, seed)
                self._cache.put(request, found)
        if not found["reply"]:
            raise NoText(f"the responder had no answer to {turn.text!r}")
        news, tone = found["news"], found["reply_emotion"]
        return replace(turn, reply=found["reply"], reply_emotion=tone, news=news, strategy=())

    def _reply(self, turn: WrittenTurn, history: list[Exchange], seed: int) -> dict[str, str]:
        self._parts = self._parts or self._load()
        responder, planner = self._parts
        heard = Heard(turn.text, emotion.one_hot(turn.emotion))
        plan = planner.plan(heard, history)
        reply = "".join(responder.reply(heard, plan, history, seed=seed)).strip()
        return {"reply": reply, "reply_emotion": plan.emotion, "news": plan.news}

    def _load(self) -> tuple[Responder, Planner]:
        import torch

        from emotion_omni.cascade.parts import load_responder
        from emotion_omni.response.config import RerankedConfig, SmolLM2Config
        from emotion_omni.response.guard import Guard

        guard = Guard.load()
        config = RerankedConfig() if self._config.responder == "reranked" else SmolLM2Config()
        return load_responder(config, torch.device("cpu"), guard), Planner(guard)
