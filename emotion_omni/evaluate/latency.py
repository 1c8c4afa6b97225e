"""Time to the first sound and the first content of the reply: the embedded engine beside a naive cascade, in one run.

The naive cascade is what one would write first with the same models: faster-whisper on audio padded to 30 s, the
language model through transformers, the voice on the whole reply, one after the other. Both answer the same queries
alternately (A B A B …), so a drift of the machine affects both.

All times are seconds from the end of the query. Percentiles are of the counted turns, nearest rank.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from emotion_omni import audio, engine, processors, streams, weights
from emotion_omni.cascade.engine import CascadeEngine
from emotion_omni.response.openers import every_opener
from emotion_omni.response.qwen2 import BOS, EOS
from emotion_omni.response.qwen2_prompt import Note, user_turn
from emotion_omni.response.qwen2_responder import Qwen2Responder
from emotion_omni.response.responder import Responder
from emotion_omni.synthesis.synthesizer import Synthesizer
from emotion_omni.types import Audio, Delivery, Done, EmotionOmniError, Speech, Text, Turn

EXAMPLES = Path(__file__).parents[2] / "assets" / "examples"
WARM_UP = 2  # turns that do not count

_COLD = """
import json, sys, time
started = float(sys.argv[1])
from emotion_omni import audio, engine, processors
from emotion_omni.types import Turn
processors.disable_thread_spinning()
chosen = engine.load("embedded")
ready = time.time() - started
list(chosen.respond(Turn(audio.decode(sys.argv[2]))))
print(json.dumps([ready, processors.peak_megabytes()]))
"""


def measure(runs: int, file: str | None = None) -> dict[str, Any]:
    """The report: percentiles of both, by stage, the machine, cold start and peak memory."""
    queries = [audio.decode(path) for path in ([file] if file else sorted(EXAMPLES.glob("*.wav")))]
    if not queries:
        raise EmotionOmniError("The example clips are missing. Name a clip of 3 to 4 s with --file.", "missing")
    ready, peak = _cold(file or str(sorted(EXAMPLES.glob("*.wav"))[0]))
    ours = CascadeEngine.load()
    naive = _Naive(ours.synthesizer)
    turns: list[dict[str, Any]] = []
    theirs: list[float] = []
    for number in range(runs + WARM_UP):
        query = queries[number % len(queries)]
        turn, plain = _one(ours, query), naive.first_audio(query)
        if number >= WARM_UP:
            turns.append(turn)
            theirs.append(plain)
        streams.note(f"turn {number + 1}/{runs + WARM_UP}: {turn['first_audio']:.2f} s, naive {plain:.2f} s")
    first, content = ([turn[name] for turn in turns] for name in ("first_audio", "first_content"))
    stages = list(turns[0]["stages"])
    return {
        "machine": processors.describe(),
        "runs": runs,
        "query_seconds": [round(query.seconds, 2) for query in queries],
        "first_audio_p50": _percentile(first, 50),
        "first_audio_p95": _percentile(first, 95),
        "first_content_p50": _percentile(content, 50),
        "first_content_p95": _percentile(content, 95),
        "gap_p50": _percentile([turn["gap"] for turn in turns], 50),
        "gap_p95": _percentile([turn["gap"] for turn in turns], 95),
        "naive_first_audio_p50": _percentile(theirs, 50),
        "naive_first_audio_p95": _percentile(theirs, 95),
        "first_audio_ratio": round(_percentile(first, 50) / _percentile(theirs, 50), 3),
        "first_content_ratio": round(_percentile(content, 50) / _percentile(theirs, 50), 3),
        "stages_p50": {stage: _percentile([turn["stages"][stage] for turn in turns], 50) for stage in stages},
        "stages_p95": {stage: _percentile([turn["stages"][stage] for turn in turns], 95) for stage in stages},
        "real_time_factor_p50": _percentile([turn["done"] / turn["spoken"] for turn in turns], 50),
        "reply_seconds_p50": _percentile([turn["spoken"] for turn in turns], 50),
        "decode_tokens_per_second": _decode_speed(ours.responder),
        "peak_memory_mb": round(peak),
        "cold_start_s": round(ready, 2),
        "naive_recogniser": naive.recognizer,
    }


def as_text(report: dict[str, Any]) -> str:
    lines = [f"{report['machine']['processor']}, {report['machine']['cores']} cores, {report['runs']} turns"]
    lines.append(f"{'':24}{'p50':>8}{'p95':>8}")
    lines.append(f"{'first sound':24}{report['first_audio_p50']:8.2f}{report['first_audio_p95']:8.2f} s")
    lines.append(f"{'first content':24}{report['first_content_p50']:8.2f}{report['first_content_p95']:8.2f} s")
    lines.append(f"{'longest gap inside':24}{report['gap_p50']:8.2f}{report['gap_p95']:8.2f} s")
    lines.append(f"{'naive cascade':24}{report['naive_first_audio_p50']:8.2f}{report['naive_first_audio_p95']:8.2f} s")
    for stage, middle in report["stages_p50"].items():
        lines.append(f"  {stage:22}{middle:8.2f}{report['stages_p95'][stage]:8.2f} s")
    for key in (
        "first_audio_ratio",
        "first_content_ratio",
        "real_time_factor_p50",
        "decode_tokens_per_second",
        "peak_memory_mb",
        "cold_start_s",
    ):
        lines.append(f"{key:24}{report[key]:8}")
    return "\n".join(lines)


def _one(chosen: engine.Engine, query: Audio) -> dict[str, Any]:
    """Seconds as in the engine's own timings; ``gap``: the longest silence while the player waits inside a reply."""
    openers = {phrase for phrase, _ in every_opener()}
    started = time.perf_counter()
    spoken, gap, heard_until, first_content, piece = 0.0, 0.0, 0.0, 0.0, ""
    for event in chosen.respond(Turn(query)):
        if isinstance(event, Text):
            piece = event.piece.strip()
        elif isinstance(event, Speech):
            now = time.perf_counter() - started
            gap = max(gap, now - heard_until) if spoken else 0.0
            heard_until = max(now, heard_until) + event.audio.seconds
            spoken += event.audio.seconds
            first_content = first_content or (0.0 if piece in openers else now)
        elif isinstance(event, Done):
            marks = event.timings
    stages = {name: marks[name] for name in ("voice_activity", "encode", "words", "tone")}
    stages["plan"] = marks["planned"] - marks["heard"]
    stages["write_first_piece"] = marks["first_text"] - marks["planned"]
    stages["speak_first_piece"] = marks["first_speech"] - marks["first_text"]
    first = {"first_audio": marks["first_speech"], "first_content": first_content or marks["first_speech"]}
    return first | {"gap": gap, "done": marks["done"], "spoken": spoken, "stages": stages}


class _Naive:
    """The same models, without any optimization."""

    def __init__(self, synthesizer: Synthesizer) -> None:
        import torch

        from emotion_omni.response.qwen2 import Qwen2File, Qwen2Shape
        from emotion_omni.response.qwen2_responder import GGUF
        from emotion_omni.train.qwen2_responder import base_model

        self._torch, self._synthesizer = torch, synthesizer
        self._transcribe, self.recognizer = _recognizer(weights.fetch("whisper-base/model.bin").parent)
        file = Qwen2File(weights.fetch(GGUF))
        self._tokenizer, self._model = file.tokenizer(), base_model(file, Qwen2Shape()).eval()

    def first_audio(self, query: Audio) -> float:
        started = time.perf_counter()
        text = self._transcribe(audio.resample(query, 16_000).samples)
        prompt = f"{BOS}user\n{text}{EOS}\n{BOS}assistant\n"
        ids = self._torch.tensor([self._tokenizer.encode(prompt).ids])
        eos = self._tokenizer.token_to_id(EOS)
        settings = {"max_new_tokens": 40, "do_sample": False, "eos_token_id": eos, "pad_token_id": eos}
        with self._torch.inference_mode():
            out = self._model.generate(ids, attention_mask=self._torch.ones_like(ids), **settings)
        reply = self._tokenizer.decode(out[0, ids.shape[1] :].tolist())
        list(self._synthesizer.synthesize(reply, Delivery("neutral")))
        return time.perf_counter() - started


def _recognizer(folder: Path) -> tuple[Callable[[np.ndarray], str], str]:
    """faster-whisper with its defaults; if it is not installed, the same network on audio padded to 30 s."""
    try:
        from faster_whisper import WhisperModel
    except ImportError:
        return _padded_recognizer(folder), "ctranslate2 on audio padded to 30 s (faster-whisper is not installed)"
    model = WhisperModel(str(folder), device="cpu", compute_type="int8", cpu_threads=2)

    def transcribe(samples: np.ndarray) -> str:
        segments, _ = model.transcribe(samples, language="en", beam_size=1)
        return " ".join(segment.text for segment in segments).strip()

    return transcribe, "faster-whisper"


def _padded_recognizer(folder: Path) -> Callable[[np.ndarray], str]:
    import ctranslate2
    import tokenizers
    import torch

    from emotion_omni.recognition.whisper_decoder import PROMPT
    from emotion_omni.recognition.whisper_encoder import WhisperEncoder

    model = ctranslate2.models.Whisper(str(folder), compute_type="int8", intra_threads=2)
    mel_of = WhisperEncoder.load(folder / "model.bin").log_mel
    tokenizer = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))

    def transcribe(samples: np.ndarray) -> str:
        padded = np.pad(samples, (0, 480_000 - len(samples)))
        mel = ctranslate2.StorageView.from_array(mel_of(torch.from_numpy(padded)[None]).numpy())
        return tokenizer.decode(model.generate(mel, [list(PROMPT)], beam_size=1)[0].sequences_ids[0])

    return transcribe


def _decode_speed(responder: Responder) -> float:
    """Tokens per second of the language model alone, one row, after its prompt: the best of three."""
    assert isinstance(responder, Qwen2Responder)  # that of the preset
    decoder, best, tokens = responder.decoder, 0.0, 24
    prompt = decoder.tokenizer.encode(user_turn(Note(("sad",)), "I lost my job today.")).ids
    for _ in range(3):
        state = decoder.start(prompt)
        started = time.perf_counter()
        for _ in range(tokens):
            state.append(state.logits.argmax(1)[:, None])
        best = max(best, tokens / (time.perf_counter() - started))
    return round(best, 1)


def _cold(clip: str) -> tuple[float, float]:
    """A new process: seconds until the engine is ready, and its peak memory after one turn."""
    command = [sys.executable, "-c", _COLD, str(time.time()), clip]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    if ran.returncode:
        raise EmotionOmniError(f"The engine did not start in a fresh process:\n{ran.stderr[-800:]}", "cold-start")
    ready, peak = json.loads(ran.stdout.splitlines()[-1])
    return ready, peak


def _percentile(values: list[float], share: int) -> float:
    ordered = sorted(values)
    return round(ordered[max(0, math.ceil(share / 100 * len(ordered)) - 1)], 4)
