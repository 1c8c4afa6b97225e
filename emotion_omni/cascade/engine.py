"""The embedded engine: hear, answer, speak, on two CPU cores with weights that pip can bring.

Composes the three parts and lets them overlap: the first clause is spoken while the rest is being
written. It owns which weights each part gets; nothing here knows how a part works.
"""

from __future__ import annotations

import logging
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from emotion_omni import audio, emotion, processors, weights
from emotion_omni.recognition import speech_emotion
from emotion_omni.recognition.whisper_ct2 import Ear, corrections
from emotion_omni.response import guard, smollm2, smollm2_responder
from emotion_omni.response.guard import Meaning
from emotion_omni.response.sentence_encoder import SentenceEncoder
from emotion_omni.response.smollm2_responder import Writer
from emotion_omni.synthesis import kokoro
from emotion_omni.synthesis.kokoro import KokoroSynthesizer
from emotion_omni.types import Audio, Delivery, Done, Event, Heard, Plan, Speech, Text, Turn

log = logging.getLogger(__name__)

UNSURE = 0.50  # a tone less likely than not is shown, not answered: a wrong guess hurts more than none


@dataclass
class EmbeddedEngine:
    ear: Ear
    writer: Writer
    synthesizer: KokoroSynthesizer
    meaning: Meaning
    name: str = "embedded"
    hz: int = kokoro.HZ

    @classmethod
    def load(cls, threads: int = processors.THREADS) -> EmbeddedEngine:
        """Fetch what is missing and load all parts; a few seconds once everything is cached."""
        import torch

        torch.set_num_threads(threads)
        fetch = weights.fetch
        for name in ("config.json", "tokenizer.json", "vocabulary.txt"):
            fetch(f"whisper-base/{name}")
        encoder = SentenceEncoder.load(fetch("minilm/model.safetensors"), fetch("minilm/tokenizer.json"))
        meaning = Meaning(encoder, guard.SHIPPED)
        return cls(
            Ear.load(fetch("whisper-base/model.bin").parent, fetch("silero/vad.onnx"), speech_emotion.SHIPPED, threads),
            Writer(answer_folder(), meaning, threads=1),
            KokoroSynthesizer.load(threads=threads),
            meaning,
        )

    def respond(self, turn: Turn, *, seed: int = 0) -> Iterator[Event]:
        started = time.perf_counter()
        heard, timings = self._hear(turn)
        timings["heard"] = time.perf_counter() - started
        yield heard
        tone = heard.emotion.label if heard.emotion.confidence >= UNSURE else "neutral"
        event = self.meaning.event(heard.transcript, tone)
        planned = emotion.answer_with(tone, event)
        timings["planned"] = time.perf_counter() - started
        yield Plan(planned)
        pieces = self.writer.reply(heard.transcript, tone, event, turn.earlier, seed=seed)
        try:
            for piece in pieces:
                timings.setdefault("first_text", time.perf_counter() - started)
                yield Text(piece)
                for sound in self.synthesizer.synthesize(piece, Delivery(planned), seed=seed) if turn.speak else ():
                    timings.setdefault("first_speech", time.perf_counter() - started)
                    yield Speech(sound)
        finally:
            pieces.close()
        timings["done"] = time.perf_counter() - started
        yield Done(timings)

    def speak(self, text: str, emotion: str) -> Iterator[Audio]:
        """Given words in a given emotion."""
        return self.synthesizer.synthesize(text, Delivery(emotion))

    def _hear(self, turn: Turn) -> tuple[Heard, dict[str, float]]:
        transcript, tone = corrections(turn)
        if transcript is not None and tone is not None:
            return Heard(transcript, emotion.certain(tone)), {}
        return self.ear.hear(audio.check(turn.audio.samples, turn.audio.hz), transcript, tone)


def answer_folder() -> Path:
    """SmolLM2 with our adapter merged in, as CTranslate2 wants it; made once (about 15 s) and kept.

    The folder's name holds the hashes of both ingredients, so a new adapter makes a new folder.
    """
    import safetensors.numpy

    adapter = smollm2_responder.SHIPPED
    source = weights.find("smollm2/smollm2-135m-instruct-q4_1.gguf")
    folder = weights.cache() / "converted" / f"smollm2-int8-{source.sha256[:8]}-{weights.sha256(adapter)[:8]}"
    with weights.locked(folder):
        if not (folder / "tokenizer.json").exists():
            log.info("Preparing the language model, once: %s", folder)
            checkpoint = smollm2.read_gguf(weights.fetch(source.name))
            with safetensors.safe_open(adapter, "np") as file:
                scale = float(file.metadata()["scale"])
            smollm2.merge_adapter(checkpoint.tensors, safetensors.numpy.load_file(adapter), scale)
            with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
                smollm2.write_ctranslate2(checkpoint, Path(scratch))
                shutil.rmtree(folder, ignore_errors=True)
                shutil.copytree(scratch, folder.with_suffix(".new"), dirs_exist_ok=True)
                folder.with_suffix(".new").replace(folder)
    return folder
