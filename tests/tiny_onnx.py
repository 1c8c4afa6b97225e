"""Tiny ONNX files with the inputs and outputs of CosyVoice2's speech tokenizer and speaker encoder, written by hand."""

from __future__ import annotations

from pathlib import Path

from emotion_omni.synthesis.onnx_encoders import SpeakerEncoder, SpeechTokenizer


def write_tokenizer(folder: Path) -> SpeechTokenizer:
    """Inputs and output like the published tokenizer's; a token is its loudest band, plus the number of frames."""
    nodes = (
        node("MaxPool", ["feats"], "fourth", kernel_shape=[1], strides=[4])
        + node("ArgMax", ["fourth"], "band", axis=1, keepdims=0)
        + node("Cast", ["feats_length"], "length", to=7)
        + node("Add", ["band", "length"], "indices")
    )
    tensors = (
        tensor(11, "feats", 1, [1, 128, "frames"])
        + tensor(11, "feats_length", 6, [1])
        + tensor(12, "indices", 7, [1, "tokens"])
    )
    (folder / "speech_tokenizer_v2.onnx").write_bytes(network(nodes, tensors))
    return SpeechTokenizer(folder / "speech_tokenizer_v2.onnx")


def write_speaker_encoder(folder: Path) -> SpeakerEncoder:
    """Input and output like the published encoder's: the loudest moment of each band, spread over 192 numbers."""
    nodes = (
        node("ReduceMax", ["input"], "loudest", axes=[1], keepdims=1)
        + node("Concat", ["loudest"] * 3, "thrice", axis=2)
        + node("MaxPool", ["thrice"], "output", kernel_shape=[240 - 192 + 1])
    )
    tensors = tensor(11, "input", 1, [1, "frames", 80]) + tensor(12, "output", 1, [1, 1, 192])
    (folder / "campplus.onnx").write_bytes(network(nodes, tensors))
    return SpeakerEncoder(folder / "campplus.onnx")


def field(number: int, value: int | bytes | str) -> bytes:
    """One field of a protocol buffer: a varint or bytes of known length."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    value = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(value)) + value


def varint(value: int) -> bytes:
    return bytes([value]) if value < 128 else bytes([value & 127 | 128]) + varint(value >> 7)


def node(kind: str, inputs: list[str], output: str, **attributes: int | list[int]) -> bytes:
    body = b"".join(field(1, name) for name in inputs) + field(2, output) + field(4, kind)
    for name, value in attributes.items():
        typed = (
            field(3, value) + field(20, 2)
            if isinstance(value, int)
            else b"".join(field(8, each) for each in value) + field(20, 7)
        )
        body += field(5, field(1, name) + typed)
    return field(1, body)


def tensor(number: int, name: str, kind: int, shape: list[int | str]) -> bytes:
    dimensions = b"".join(field(1, field(1, size) if isinstance(size, int) else field(2, size)) for size in shape)
    return field(number, field(1, name) + field(2, field(1, field(1, kind) + field(2, dimensions))))


def network(nodes: bytes, tensors: bytes) -> bytes:
    return field(1, 8) + field(8, field(1, "") + field(2, 17)) + field(7, nodes + field(2, "tiny") + tensors)
