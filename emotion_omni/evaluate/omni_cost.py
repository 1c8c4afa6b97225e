"""What a reply of the end-to-end model costs: time by stage, speed beside the memory's, several replies at once.

A decoding step reads every weight it uses and the keys and values so far. So it cannot be faster than their bytes
divided by the memory's bandwidth, which is measured in the same run. Random weights cost as much as trained ones; only
the length of a reply would differ, so its text is given.

Times are seconds from the end of the query; percentiles are of the counted turns, nearest rank.

Axes: B answers at once, T frames, N text tokens.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from emotion_omni import processors
from emotion_omni.omni import encoders
from emotion_omni.omni.config import OmniConfig, SpeechSampling
from emotion_omni.omni.generation import ReplyGenerator, SpeechChunk
from emotion_omni.omni.language_model import cast_parameters
from emotion_omni.omni.model import Omni, Query
from emotion_omni.omni.model_runner import ModelRunner
from emotion_omni.omni.speech_decoder import TextInputs
from emotion_omni.synthesis.codec import CodecVocoder
from emotion_omni.synthesis.token2wav import Token2Wav
from emotion_omni.types import Audio

WARM_UP = 2  # turns that do not count
READ_BYTES = {"cpu": 2**28, "cuda": 2**32}  # far more than any cache holds
QUERY_SECONDS = 3.5
ANSWER = "Oh, that is hard to hear. I am here, and there is no hurry at all. Do you want to tell me more about it?"
AT_ONCE = (1, 4, 16)
# speech as long as people's: with random weights EOS hardly ever comes
LENGTH = SpeechSampling(max_tokens_per_text_token=6.0, max_extra_tokens=0)
VOCODERS = {"codec": "our own", "cosyvoice2": "random"}


def measure(
    config: OmniConfig, name: str, runs: int, device: str | None = None, compiled: bool | None = None
) -> dict[str, Any]:
    """The report. ``compiled``: by default where there is a GPU."""
    on = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    on_gpu = on.type == "cuda"
    compiled = on_gpu if compiled is None else compiled
    bench = Bench.load(config, on, compiled)
    speed = bandwidth(on)
    turns = [bench.turn(seed) for seed in range(runs + WARM_UP)][WARM_UP:]
    text, speech = bench.decoding(runs)
    report: dict[str, Any] = {
        "config": name,
        "machine": processors.describe() | ({"device": torch.cuda.get_device_name(on)} if on_gpu else {}),
        "dtype": str(bench.dtype).removeprefix("torch."),
        "compiled": compiled,
        "runs": runs,
        "threads": torch.get_num_threads(),
        "query_seconds": QUERY_SECONDS,
        "answer_tokens": len(bench.words),
        "weights": {
            "language_model": config.language_model.name,
            "speech_decoder": "random",
            "vocoder": VOCODERS[config.voice],
        },
        "first_audio_p50": percentile([turn["first_audio"] for turn in turns], 50),
        "first_audio_p95": percentile([turn["first_audio"] for turn in turns], 95),
        "stages_p50": {
            stage: percentile([turn[stage] for turn in turns], 50) for stage in turns[0] if stage != "first_audio"
        },
        "memory_bandwidth_gb_s": round(speed / 1e9, 1),
        "text_decoding": _beside_floor(text, bench.text_bytes(), speed),
        "speech_decoding": _beside_floor(speech, bench.speech_bytes(), speed),
        "at_once": {str(count): bench.at_once(count, max(2, runs // 4)) for count in AT_ONCE},
    }
    report["process_peak_mb"] = round(processors.peak_megabytes())
    if on_gpu:
        report["device_peak_mb"] = round(torch.cuda.max_memory_allocated(on) / 1e6)
    return report


def _beside_floor(seconds: float, read: int, speed: float) -> dict[str, float]:
    floor = read / speed
    return {
        "ms_per_token": round(seconds * 1e3, 3),
        "tokens_per_second": round(1 / seconds, 1),
        "read_mb": round(read / 1e6, 1),
        "floor_ms": round(floor * 1e3, 3),
        "times_the_floor": round(seconds / floor, 2),
    }


@dataclass
class Bench:
    """The model, its encoders and its vocoder, on one device."""

    config: OmniConfig
    device: torch.device
    dtype: torch.dtype
    semantic: encoders.Encoder
    emotion: encoders.Encoder
    model: Omni
    runner: ModelRunner
    vocoder: Token2Wav | CodecVocoder
    query: Audio
    words: tuple[int, ...]

    @classmethod
    def load(cls, config: OmniConfig, device: torch.device, compiled: bool) -> Bench:
        dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
        model = cast_parameters(Omni.build(config, str(device), dtype), dtype)
        model.language_model.merge_adapter()  # as the engine does
        runner = ModelRunner(model, static=compiled, compiled=compiled)
        vocoder: Token2Wav | CodecVocoder = CodecVocoder.load() if config.voice == "codec" else Token2Wav.random()
        generator = np.random.default_rng(0)
        sound = Audio(generator.normal(0, 0.1, int(QUERY_SECONDS * 16_000)).clip(-1, 1).astype(np.float32), 16_000)
        return cls(
            config,
            device,
            dtype,
            encoders.semantic_encoder(config.semantic, device),
            encoders.emotion_encoder(config.emotion, device),
            model,
            runner,
            vocoder,
            sound,
            model.prompt_builder.answer(ANSWER)[:-1],
        )

    @torch.inference_mode()
    def encode(self, marks: Marks) -> Query:
        """The frames of both encoders."""
        prepared = encoders.prepare(self.query)
        marks("prepare")
        words, lengths = self.semantic([prepared])
        marks("encode_words")
        tone, tone_lengths = self.emotion([prepared])
        marks("encode_tone")
        return Query(words.to(self.device), lengths, tone.to(self.device), tone_lengths)

    def turn(self, seed: int) -> dict[str, float]:
        """One query to its first sound → seconds of each stage, and of all."""
        marks = Marks(self.device)
        query = self.encode(marks)
        generator = ReplyGenerator(self.model, runner=self.runner)
        reading = generator.prefill(query, [self.model.prompt_builder.prompt()], [seed], [self.words])
        marks("prefill")
        tokens: Sequence[int] = ()
        with closing(generator.stream(reading, [seed])) as pieces:
            first = True
            for piece in pieces:
                if isinstance(piece, SpeechChunk):
                    tokens = piece.tokens[0]
                    marks("speech_tokens")
                    break
                if first:
                    marks("first_text")
                    first = False
        self.vocoder.stream(seed).push(tokens)
        marks("vocoder")
        return marks.laps | {"first_audio": sum(marks.laps.values())}

    def decoding(self, runs: int) -> tuple[float, float]:
        """Seconds per text token and per speech token, one reply at a time: medians, of the best turn."""
        query = self.encode(Marks(self.device))
        text, speech = [], []
        for seed in range(WARM_UP + max(2, runs // 4)):
            generator = ReplyGenerator(self.model, runner=self.runner)
            reading = generator.prefill(query, [self.model.prompt_builder.prompt()], [seed], [self.words])
            steps, pieces = [], []
            reading.step()
            while not reading.done:
                steps.append(timed(lambda: pieces.append(reading.step()), self.device))  # noqa: B023 (run at once)
            reading.close()
            text.append(float(np.median(steps)))
            speech.append(self._speech_step(seed))
        return min(text[WARM_UP:]), min(speech[WARM_UP:])

    @torch.inference_mode()
    def _speech_step(self, seed: int) -> float:
        stream = self.runner.start_speech([seed], SpeechSampling(max_extra_tokens=200), chunked=True)
        weight = self.model.speech_decoder.embedding.weight
        shape = (1, len(self.words), self.config.speech.width)
        states, embeddings = (torch.randn(shape, device=self.device, dtype=weight.dtype) for _ in range(2))
        emotion = torch.randn(1, 1, self.config.emotion.width, device=self.device, dtype=weight.dtype)
        stream.add_text(TextInputs(states, embeddings, emotion, torch.tensor([len(self.words)], device=self.device)))
        stream.end_text()
        took = []
        token, speaking = (
            torch.full((1,), self.config.speech.sos_token_id, device=self.device),
            torch.ones(1, dtype=torch.bool, device=self.device),
        )
        for _ in range(3 * self.config.speech.speech_chunk):
            took.append(timed(lambda: stream.step(token, speaking), self.device))
        self.runner.release_speech(stream)
        return float(np.median(took))

    def at_once(self, count: int, runs: int) -> dict[str, float]:
        """``count`` replies in one batch → seconds to the first speech tokens, and tokens per second of all."""
        one = self.encode(Marks(self.device))
        query = Query(
            one.semantic.repeat(count, 1, 1),
            one.semantic_lengths.repeat(count),
            one.emotion.repeat(count, 1, 1),
            one.emotion_lengths.repeat(count),
        )
        first, rate = [], []
        for seed in range(runs + 1):
            seeds, started = list(range(seed, seed + count)), time.perf_counter()
            generator = ReplyGenerator(self.model, speech_sampling=LENGTH, runner=self.runner)
            reading = generator.prefill(
                query, [self.model.prompt_builder.prompt()] * count, seeds, [self.words] * count
            )
            heard, tokens = None, 0
            with closing(generator.stream(reading, seeds)) as pieces:
                for piece in pieces:
                    if isinstance(piece, SpeechChunk):
                        heard = heard or time.perf_counter() - started
                        tokens += sum(map(len, piece.tokens))
                    else:
                        tokens += sum(map(len, piece.ids))
            synchronize(self.device)
            first.append(heard or math.nan)
            rate.append(tokens / (time.perf_counter() - started))
        return {
            "first_speech_tokens_s": percentile(first[1:], 50),
            "tokens_per_second": round(float(np.median(rate[1:])), 1),
        }

    def text_bytes(self) -> int:
        """What a text token reads: layers, output matrix, keys and values of the prompt and of half the answer."""
        causal = self.model.causal_lm
        shape = causal.config
        unread = 0 if shape.tie_word_embeddings else size_of(causal.get_input_embeddings())  # all but one row
        rows = len(self.model.prompt_builder.prompt().before) + QUERY_SECONDS * 10 + len(self.words) / 2
        head = getattr(shape, "head_dim", None) or shape.hidden_size // shape.num_attention_heads
        cached = 2 * shape.num_hidden_layers * shape.num_key_value_heads * head * rows * self.dtype.itemsize
        return size_of(causal) - unread + int(cached)

    def speech_bytes(self) -> int:
        """What a speech token reads: the blocks and the output matrix."""
        decoder = self.model.speech_decoder
        return size_of(decoder.blocks) + size_of(decoder.out)


class Marks:
    """Seconds from one mark to the next."""

    def __init__(self, device: torch.device) -> None:
        self.device, self.laps = device, dict[str, float]()
        synchronize(device)
        self.last = time.perf_counter()

    def __call__(self, name: str) -> None:
        synchronize(self.device)
        now = time.perf_counter()
        self.laps[name], self.last = now - self.last, now


def bandwidth(device: torch.device) -> float:
    """Bytes per second read by a matrix-vector product, as in decoding. The best of eight."""
    width, dtype = 4096, torch.bfloat16 if device.type == "cuda" else torch.float32
    matrix = torch.ones(READ_BYTES[device.type] // (dtype.itemsize * width), width, dtype=dtype, device=device)
    vector = torch.ones(width, dtype=dtype, device=device)
    return matrix.numel() * matrix.element_size() / min(timed(lambda: matrix @ vector, device) for _ in range(8))


def timed(run: Callable[[], object], device: torch.device) -> float:
    synchronize(device)
    started = time.perf_counter()
    run()
    synchronize(device)
    return time.perf_counter() - started


def synchronize(device: torch.device) -> None:
    """Wait for a GPU to finish; otherwise only the launch is timed."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def size_of(module: torch.nn.Module) -> int:
    """Bytes of its weights; shared ones count once."""
    return sum({value.data_ptr(): value.numel() * value.element_size() for value in module.parameters()}.values())


def percentile(values: Sequence[float], share: int) -> float:
    ordered = sorted(values)
    return round(ordered[max(0, math.ceil(share / 100 * len(ordered)) - 1)], 4)


def as_text(report: dict[str, Any]) -> str:
    lines = [
        f"{report['config']} in {report['dtype']} on {report['machine'].get('device', report['machine']['processor'])}"
    ]
    lines.append(f"first sound  p50 {report['first_audio_p50']:.3f} s  p95 {report['first_audio_p95']:.3f} s")
    lines += [f"  {stage:20}{seconds:8.3f} s" for stage, seconds in report["stages_p50"].items()]
    lines.append(f"memory reads {report['memory_bandwidth_gb_s']:.1f} GB/s")
    for name in ("text_decoding", "speech_decoding"):
        one = report[name]
        floor = f"{one['times_the_floor']:.2f} times the floor"
        lines.append(f"{name.replace('_', ' '):16}{one['ms_per_token']:9.2f} ms per token, {floor}")
    for count, one in report["at_once"].items():
        first = f"first speech tokens after {one['first_speech_tokens_s']:.2f} s"
        lines.append(f"{count:>3} at once: {one['tokens_per_second']:.0f} tokens/s, {first}")
    return "\n".join(lines)
