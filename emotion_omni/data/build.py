"""Builds a corpus: writing, judging the texts, speaking and listening overlap, and any kill costs the items in hand.

Texts are written ahead by threads (a server works meanwhile), judged in the order of the plan, and handed to workers
while they have room; a writer that is faster waits. What is finished is on disk before the next is taken.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from emotion_omni import json_lines
from emotion_omni.data.audio_filter import first_words
from emotion_omni.data.dialogue import NoText, WrittenDialogue
from emotion_omni.data.plan import CorpusPlan, ResponderWriter, ServerWriter
from emotion_omni.data.pools import Pool
from emotion_omni.data.response_cache import ResponseCache
from emotion_omni.data.scenarios import Scenario, as_row, scenarios
from emotion_omni.data.shards import Corpus
from emotion_omni.data.text_filter import TextFilter
from emotion_omni.data.worker import Finished, Task, rows_of

MOST_SAMPLES = 1000  # worker seconds of single dialogues, for a forecast
LINE_EVERY = 5.0  # seconds between lines of progress
WRITTEN_AHEAD = 8  # texts for each that a writer writes at once
Say = Callable[[str], None]


class DialogueWriter(Protocol):
    """``concurrent``: how many calls of :meth:`write` may run at once. ``tokens``: paid for so far, by kind."""

    concurrent: int

    @property
    def tokens(self) -> Mapping[str, int]: ...

    def write(self, scenario: Scenario) -> WrittenDialogue:
        """Raises :class:`NoText` for this scenario alone; any other error stops the run, which can go on later."""


def load_writer(plan: CorpusPlan, cache: Path) -> DialogueWriter:
    """``cache``: folder of the answers of servers and models."""
    if isinstance(plan.writer, ServerWriter):
        from emotion_omni.data.server_writer import ChatWriter

        return ChatWriter(plan.writer, ResponseCache(cache))
    from emotion_omni.data.exchange_writer import ExchangeWriter

    written = ExchangeWriter(scenarios(plan), plan.seed, plan.writer.folder)
    if isinstance(plan.writer, ResponderWriter):
        from emotion_omni.data.responder_writer import AnsweringWriter

        return AnsweringWriter(written, plan.writer, ResponseCache(cache))
    return written


def load_text_filter(plan: CorpusPlan) -> TextFilter:
    held_out = [str(row.get("text", "")) for name in plan.leaks for _, row in json_lines.read_file(Path(name))]
    if not plan.filters.meaning:
        return TextFilter(plan.filters, None, held_out)
    from emotion_omni.response.sentence_encoder import load_encoder

    encoder = load_encoder()
    return TextFilter(plan.filters, lambda texts: encoder(texts).numpy(), held_out)


@dataclass
class Progress:
    """What is done, for people. ``timings``: seconds by stage, summed over the workers."""

    total: int
    workers: int
    already: int = 0
    spoken: int = 0
    kept: int = 0
    samples: list[float] = field(default_factory=list)
    tokens: dict[str, int] = field(default_factory=dict)
    turned_away: Counter[str] = field(default_factory=Counter)
    timings: Counter[str] = field(default_factory=Counter)
    started: float = field(default_factory=time.monotonic)

    @property
    def rejected(self) -> int:
        return sum(self.turned_away.values())

    def add(self, finished: Finished) -> None:
        self.timings.update(finished.timings)
        self.spoken += bool(finished.timings)
        self.samples += [round(sum(finished.timings.values()), 3)]
        if finished.reasons:
            self.turned_away[first_words(finished.reasons)[0]] += 1
        else:
            self.kept += 1

    def line(self, in_hand: int) -> str:
        new = self.kept + self.rejected
        elapsed = time.monotonic() - self.started
        minutes = (self.total - self.already - new) * elapsed / 60 / max(new, 1)
        left = f"about {minutes:.0f} min left" if new else "no estimate yet"
        each = ", ".join(f"{name} {seconds / max(self.spoken, 1):.1f} s" for name, seconds in self.timings.items())
        return (
            f"{self.already + new}/{self.total} dialogues, {self.kept} kept and {self.rejected} rejected now, "
            f"{in_hand} in hand; {each or 'no sound yet'} each; {left}"
        )

    def report(self) -> dict[str, Any]:
        """Not part of the corpus: another run takes other times."""
        seconds = time.monotonic() - self.started
        return {
            "seconds": round(seconds, 1),
            "workers": self.workers,
            "dialogues": self.kept + self.rejected,
            "spoken": self.spoken,
            "tokens": self.tokens,
            "samples": self.samples[:MOST_SAMPLES],
            "dialogues_per_hour": round(3600 * (self.kept + self.rejected) / max(seconds, 1e-9), 1),
            "seconds_per_spoken_dialogue": {
                name: round(total / max(self.spoken, 1), 3) for name, total in sorted(self.timings.items())
            },
        }


def build(
    plan: CorpusPlan, folder: Path, pool: Callable[[], Pool], say: Say, limit: int = 0, cache: Path | None = None
) -> tuple[Corpus, Progress]:
    """Fill the folder as the plan says; goes on where an earlier run ended. ``limit``: only the first dialogues.

    Raises :class:`EmotionOmniError`: ``corpus``, ``disk``, ``server``, ``weights``; the same call then goes on.
    """
    corpus = Corpus.open(folder, plan)
    writer = load_writer(plan, cache or folder / "cache")
    run = _Run(corpus, pool, say, limit or plan.dialogues)
    try:
        for scenario, text in texts(writer, scenarios(plan), limit or plan.dialogues):
            run.take_text(scenario, text)
        run.finish()
        run.progress.tokens = dict(writer.tokens)
    finally:
        run.close()
    return corpus, run.progress


def texts(
    writer: DialogueWriter, rows: Iterator[Scenario], limit: int
) -> Iterator[tuple[Scenario, WrittenDialogue | NoText]]:
    """Texts in the order of the plan, written ahead by threads.

    Those of finished shards too: later ones are compared with them. What servers wrote comes from the cache.
    """

    def write(scenario: Scenario) -> WrittenDialogue | NoText:
        try:
            return writer.write(scenario)
        except NoText as error:
            return error

    waiting: deque[tuple[Scenario, Future[WrittenDialogue | NoText]]] = deque()
    with ThreadPoolExecutor(writer.concurrent) as threads:
        try:
            for scenario in rows:
                if scenario.index >= limit:
                    break
                waiting.append((scenario, threads.submit(write, scenario)))
                if len(waiting) >= writer.concurrent * WRITTEN_AHEAD:
                    first, future = waiting.popleft()
                    yield first, future.result()
            while waiting:
                first, future = waiting.popleft()
                yield first, future.result()
        finally:
            threads.shutdown(wait=False, cancel_futures=True)


class _Run:
    """One call of :func:`build`. The pool starts with the first text that has to be spoken."""

    def __init__(self, corpus: Corpus, pool: Callable[[], Pool], say: Say, limit: int) -> None:
        self._corpus, self._new_pool, self._say = corpus, pool, say
        self._pool: Pool | None = None
        self._judge = load_text_filter(corpus.plan)
        self._done = {shard for shard in corpus.shards if corpus.is_done(shard)}
        self._open = {shard: len(corpus.indices(shard)) for shard in corpus.shards if shard not in self._done}
        self._said = time.monotonic()
        self.progress = Progress(limit, 0)

    def take_text(self, scenario: Scenario, text: WrittenDialogue | NoText) -> None:
        reason = self._judge.reject(scenario, text) if isinstance(text, WrittenDialogue) else f"unwritten: {text}"
        shard = self._corpus.shard_of(scenario.index)
        if shard in self._done or self._corpus.has(scenario.index):
            self.progress.already += 1
            if shard not in self._done:
                self._count_down(shard)
        elif reason or not isinstance(text, WrittenDialogue):
            rows = (
                rows_of(scenario, text, self._corpus.plan) if isinstance(text, WrittenDialogue) else [as_row(scenario)]
            )
            self._put(Finished(scenario.index, rows, {}, [reason]))
        else:
            self._pool = self._pool or self._new_pool()
            self.progress.workers = self._pool.workers
            while not self._pool.has_room:
                self._collect(self._pool, 1.0)
            self._pool.give(Task(scenario, text))
            self._collect(self._pool, 0.0)

    def finish(self) -> None:
        while self._pool and self._pool.in_hand:
            self._collect(self._pool, 1.0)
        self._say(self.progress.line(0))

    def close(self) -> None:
        if self._pool:
            self._pool.close()

    def _collect(self, pool: Pool, seconds: float) -> None:
        for finished in pool.take(seconds):
            self._put(finished)
        if time.monotonic() - self._said >= LINE_EVERY:
            self._said = time.monotonic()
            self._say(self.progress.line(pool.in_hand))

    def _put(self, finished: Finished) -> None:
        self._corpus.put(finished)
        self.progress.add(finished)
        if finished.reasons and finished.reasons[0].startswith("quarantined"):
            self._say(f"dialogue {finished.index}: {finished.reasons[0]}")
        self._count_down(self._corpus.shard_of(finished.index))

    def _count_down(self, shard: int) -> None:
        self._open[shard] -= 1
        if self._open[shard] == 0 and self._corpus.is_complete(shard):
            ledger = self._corpus.write_shard(shard)
            self._say(f"shard {shard} of {len(self._corpus.shards)}: {ledger['kept']} of {ledger['tried']} kept")
