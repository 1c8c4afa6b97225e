"""A responder for two CPU cores that writes well: Qwen2.5-1.5B in four bits with our adapter, best of several.

Several first sentences are written in one batch, which costs little more than one; likelihood and the reranker choose.
While that sentence is spoken, several ways to go on are written after it, and the best is taken.

Axes: B rows, V vocabulary.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import safetensors

from emotion_omni import processors, weights
from emotion_omni.response.chat import ReplyFilter
from emotion_omni.response.config import Qwen2Config
from emotion_omni.response.guard import Guard
from emotion_omni.response.int4_decoder import Decoding, Int4Decoder
from emotion_omni.response.int4_graph import Tensors, write_graph
from emotion_omni.response.openers import opener, without_interjections
from emotion_omni.response.qwen2 import EOS, Qwen2File, Qwen2Shape
from emotion_omni.response.qwen2_prompt import prompt_of
from emotion_omni.response.reranker import Reranker
from emotion_omni.sentences import sentence_end
from emotion_omni.types import EmotionOmniError, Exchange, Heard, Plan

log = logging.getLogger(__name__)

GGUF = "qwen2/qwen2.5-coder-1.5b-instruct-q4_k_m.gguf"
SHIPPED = Path(__file__).parent / "weights" / "qwen2_responder.safetensors"  # trained by us, with its card
MAX_PROMPT = 1200  # tokens; eight turns have about 600
MAX_TOKENS = 64  # of a reply: about three spoken sentences
MAX_OPENING = 28  # tokens within which a first sentence should end
ENOUGH = 0.75  # share of the rows that are waited for


@dataclass
class Row:
    """A reply, or what follows the tokens ``before``, while it is written. ``log_probability``: sum over its tokens."""

    tokens: list[int] = field(default_factory=list)
    log_probability: float = 0.0
    finished: bool = False
    text: str = ""
    before: tuple[int, ...] = ()
    opening_tokens: int = 0  # of the first sentence; 0 while it has not ended

    @property
    def opening(self) -> str:
        """The first sentence, empty while there is none; it has ended once something follows it."""
        end = sentence_end(self.text)
        return self.text[:end] if end or self.finished else ""

    @property
    def mean_log_probability(self) -> float:
        return self.log_probability / (len(self.tokens) or 1)

    def first_sentence(self) -> Row:
        """What is left if it is cut after its first sentence; finished if that is all."""
        if not self.opening or self.opening == self.text:
            return self
        return Row(self.tokens[: self.opening_tokens], self.log_probability, False, self.opening)


class Qwen2Responder:
    """``filter`` counts how often the guard acted."""

    def __init__(self, config: Qwen2Config, decoder: Int4Decoder, reranker: Reranker, guard: Guard) -> None:
        self.config, self.decoder, self.reranker, self.guard = config, decoder, reranker, guard
        self.filter, self.openers = ReplyFilter(guard), config.openers
        self._eos = decoder.tokenizer.token_to_id(EOS)

    @classmethod
    def load(cls, config: Qwen2Config, guard: Guard) -> Qwen2Responder:
        """Raises :class:`EmotionOmniError` (codes ``weights``, ``checkpoint``)."""
        decoder = Int4Decoder(prepare_model(Path(config.weights or SHIPPED)), threads=processors.THREADS)
        return cls(config, decoder, Reranker.load(config.reranker), guard)

    def reply(
        self, heard: Heard, plan: Plan, history: Sequence[Exchange] = (), *, seed: int = 0
    ) -> Generator[str, None, None]:
        """See :class:`emotion_omni.response.responder.Responder`."""

        opening = opener(heard, plan, history, seed) if self.openers else ""

        def write(attempt: int, refused: str) -> Generator[str, None, None]:
            return self._write(heard, plan, history, opening, np.random.default_rng([seed, len(history), attempt]))

        return self.filter.reply(heard, plan, history, seed, write, opening)

    def _write(
        self, heard: Heard, plan: Plan, history: Sequence[Exchange], opening: str, rng: np.random.Generator
    ) -> Generator[str, None, None]:
        """The best of several first sentences, then the best of several ways to go on after it.

        The model does not see the opening: it has learned to begin with what was said.
        """
        prompt = self._prompt(heard, plan, history)
        state = self.decoder.start(prompt).take([0] * self.config.candidates)
        rows = [Row() for _ in range(state.rows)]
        self._advance(state, rows, MAX_OPENING, lambda row: bool(row.opening), rng)
        begun = [index for index, row in enumerate(rows) if row.opening] or list(range(len(rows)))
        fits = lambda texts: self.reranker.scores(heard, plan, history, texts)  # noqa: E731
        chosen = begun[self._best([rows[index] for index in begun], heard, plan, fits)]
        row = rows[chosen].first_sentence()
        said = without_interjections(row.text) if opening else row.text
        if said:
            yield said
        if row.finished:
            return
        more = state.take([chosen] * self.config.candidates, len(prompt) + len(row.tokens) - 1)
        more.append(np.full((more.rows, 1), row.tokens[-1], np.int64))
        rows = [Row(before=tuple(row.tokens)) for _ in range(more.rows)]
        self._advance(more, rows, MAX_TOKENS - len(row.tokens), lambda one: one.finished, rng)
        ended = [one for one in rows if one.finished and one.text.strip()]
        if ended:
            rest = ended[self._best(ended, heard, plan, lambda texts: fits([f"{row.text}{text}" for text in texts]))]
            yield from _sentences(rest.text if said else rest.text.lstrip())

    def _advance(
        self,
        state: Decoding,
        rows: Sequence[Row],
        most: int,
        is_ready: Callable[[Row], bool],
        rng: np.random.Generator,
    ) -> None:
        """At most so many tokens for each row, until enough of them are ready."""
        for _ in range(most):
            self._step(state, rows, rng)
            if sum(is_ready(row) for row in rows) >= ENOUGH * len(rows):
                return

    def _prompt(self, heard: Heard, plan: Plan, history: Sequence[Exchange]) -> list[int]:
        """Token ids; the oldest turns are left out, and in the end words cut off, until they are few enough."""
        while True:
            ids = self.decoder.tokenizer.encode(prompt_of(heard, plan, history), add_special_tokens=False).ids
            if len(ids) <= MAX_PROMPT:
                return ids
            if history:
                history = history[1:]
            else:
                heard = replace(heard, transcript=heard.transcript[: len(heard.transcript) // 2])

    def _best(self, rows: Sequence[Row], heard: Heard, plan: Plan, fits: Callable[[list[str]], Sequence[float]]) -> int:
        """By likelihood and by how well the reranker says that it fits; what the guard refuses comes last."""
        texts = [(row.opening or row.text).strip() for row in rows]
        refused = [bool(self.guard.fault(text, plan.news, heard.transcript)) for text in texts]
        scores = [
            fit + self.config.fluency * row.mean_log_probability - 100 * bad
            for fit, row, bad in zip(fits(texts), rows, refused, strict=True)
        ]
        return int(np.argmax(scores))

    def _text(self, row: Row) -> str:
        before = self.decoder.tokenizer.decode(list(row.before)) if row.before else ""
        text = self.decoder.tokenizer.decode([*row.before, *row.tokens])
        return text[len(before) :] if before else text.lstrip()

    def _step(self, state: Decoding, rows: Sequence[Row], rng: np.random.Generator) -> None:
        """One more token for each row; a finished row is given one that nobody reads."""
        chosen = []
        for row, logits in zip(rows, state.logits, strict=True):
            token, log_probability = sample(logits, self.config, rng)
            chosen.append(token)
            if row.finished:
                continue
            row.log_probability += log_probability
            row.finished = token == self._eos
            if not row.finished:
                row.tokens.append(token)
                row.text = self._text(row)
                if not row.opening_tokens and row.opening:
                    row.opening_tokens = len(row.tokens) - 1  # this one begins the next sentence
        if not all(row.finished for row in rows):
            state.append(np.array(chosen, np.int64)[:, None])


def _sentences(text: str) -> Iterator[str]:
    """They join to the text."""
    at = 0
    while at < len(text):
        end = sentence_end(text, at) or len(text)
        yield text[at:end]
        at = end


def sample(logits: np.ndarray, config: Qwen2Config, rng: np.random.Generator) -> tuple[int, float]:
    """[V] → a token and its log probability at temperature 1. Holtzman et al. 2020: top p, within the top k."""
    largest = np.argpartition(logits, -config.top_k)[-config.top_k :]
    largest = largest[np.argsort(-logits[largest])]
    top = logits[largest].astype(np.float64)
    weights_ = np.exp((top - top[0]) / config.temperature)
    weights_ /= weights_.sum()
    kept = int(np.searchsorted(np.cumsum(weights_), config.top_p)) + 1
    index = int(rng.choice(kept, p=weights_[:kept] / weights_[:kept].sum()))
    log_total = float(top[0]) + float(np.log(np.exp(logits - logits[largest[0]]).sum()))
    return int(largest[index]), float(top[index]) - log_total


def prepare_model(adapter: Path = SHIPPED) -> Path:
    """The model in four bits with the adapter merged in: made once (about a minute) and kept.

    The folder's name holds the hashes of both, so that another adapter gets another folder.
    """
    folder = _folder(adapter)
    with weights.locked(folder):
        if not is_prepared(adapter):
            log.info("Preparing the language model, once: %s", folder)
            file = Qwen2File(weights.fetch(GGUF))
            scratch = folder.with_suffix(".new")
            shutil.rmtree(scratch, ignore_errors=True)
            scratch.mkdir(parents=True)
            write_graph(with_adapter(file, adapter), Qwen2Shape(), scratch)
            (scratch / "tokenizer.json").write_text(file.tokenizer().to_str(), encoding="utf-8")
            shutil.rmtree(folder, ignore_errors=True)
            scratch.replace(folder)
    return folder


def is_prepared(adapter: Path = SHIPPED) -> bool:
    """Whether :func:`prepare_model` has nothing to fetch or convert."""
    return (_folder(adapter) / "tokenizer.json").exists()


def _folder(adapter: Path) -> Path:
    name = f"qwen2-int4-{weights.find(GGUF).sha256[:8]}-{weights.sha256(adapter)[:8]}"
    return weights.cache() / "converted" / name


def with_adapter(tensors: Tensors, path: Path) -> Tensors:
    """W + scale · B A where the adapter has ``NAME.lora_A`` [R, I] and ``NAME.lora_B`` [O, R]: Hu et al. 2021, eq. 3.

    Raises :class:`EmotionOmniError` (code ``checkpoint``).
    """
    with weights.part_explained(path, "qwen2-responder"), safetensors.safe_open(path, "np") as file:
        scale, adapter = (
            float(file.metadata()["scale"]),
            dict(zip(file.keys(), map(file.get_tensor, file.keys()), strict=True)),
        )
    names = {name.removesuffix(".lora_A") for name in adapter if name.endswith(".lora_A")}
    if not names or {f"{name}.lora_{half}" for name in names for half in "AB"} != set(adapter):
        raise EmotionOmniError(
            f"{path.name} does not hold an adapter of Qwen2: it needs a lora_A and a lora_B of each tensor it changes.",
            "checkpoint",
        )

    def merged(name: str) -> np.ndarray:
        value, stem = tensors(name), name.removesuffix(".weight")
        if stem not in names:
            return value
        down, up = (adapter[f"{stem}.lora_{half}"].astype(np.float32) for half in "AB")
        return value + scale * (up @ down)

    return merged
