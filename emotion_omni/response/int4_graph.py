"""Qwen2 as an ONNX graph with weights of four bits, for onnxruntime's own kernels on a CPU.

Weights are written tensor by tensor, so that converting takes little more memory than the largest one. Embedding and
output share one table, as in the model.

Each block of 32 weights of a row is kept as q ∈ 0…15 with a scale s and a zero point z: w ≈ s (q − z).
Axes: O rows out, I columns in, N blocks of a row; T positions.
Source: operators of the domain com.microsoft (MatMulNBits, GatherBlockQuantized, GroupQueryAttention); the layer is
that of Yang et al. 2024, "Qwen2 Technical Report", with rotary positions of Su et al. 2021.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import onnx
from onnx import TensorProto, helper

from emotion_omni.response.qwen2 import Qwen2Shape

BLOCK = 32
ACCURACY = 4  # of MatMulNBits: activations are rounded to eight bits inside
MAX_POSITIONS = 4096  # of the rotary tables; eight turns need about 700
CONTRIB = "com.microsoft"

Tensors = Callable[[str], np.ndarray]  # transformers' name → [O, I] or [O], float32


ROWS_AT_ONCE = 4096


def quantize(weight: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """[O, I] → nibbles [O, N, 16], scales [O, N] and zero points [O, ⌈N / 2⌉], two of them in a byte, low one first."""
    parts = [_quantize_rows(weight[at : at + ROWS_AT_ONCE]) for at in range(0, len(weight), ROWS_AT_ONCE)]
    packed, scales, zeros = (np.concatenate(column) for column in zip(*parts, strict=True))
    return packed, scales, zeros


def _quantize_rows(weight: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rows, columns = weight.shape
    blocks = weight.reshape(rows, columns // BLOCK, BLOCK)
    low, high = np.minimum(blocks.min(2), 0.0), np.maximum(blocks.max(2), 0.0)
    scales = np.maximum((high - low) / 15, 1e-10).astype(np.float32)
    zeros = np.clip(np.rint(-low / scales), 0, 15)
    levels = np.clip(np.rint(blocks / scales[:, :, None] + zeros[:, :, None]), 0, 15).astype(np.uint8)
    packed = levels[:, :, 0::2] | (levels[:, :, 1::2] << 4)
    padded = np.pad(zeros.astype(np.uint8), ((0, 0), (0, zeros.shape[1] % 2)))
    return packed, scales, padded[:, 0::2] | (padded[:, 1::2] << 4)


def write_graph(tensors: Tensors, shape: Qwen2Shape, folder: Path) -> None:
    """Write ``model.onnx`` and ``model.onnx.data`` into an existing ``folder``."""
    with open(folder / "model.onnx.data", "wb") as data:
        graph = _Graph(tensors, shape, data)
        model = helper.make_model(
            graph.build(), opset_imports=[helper.make_opsetid("", 21), helper.make_opsetid(CONTRIB, 1)], ir_version=10
        )
    onnx.save_model(model, folder / "model.onnx")


class _Graph:
    """Nodes and initializers while they are collected. Names of values are those of the node that makes them."""

    def __init__(self, tensors: Tensors, shape: Qwen2Shape, data: BinaryIO) -> None:
        self.tensors, self.shape, self.data = tensors, shape, data
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []

    def build(self) -> onnx.GraphProto:
        shape = self.shape
        self._rotary_tables()
        self._lengths()
        hidden, layers = self._embedding(), range(shape.layers)
        normed = self._node(
            "SimplifiedLayerNormalization",
            [hidden, self._vector("model.layers.0.input_layernorm.weight")],
            "first_norm",
            axis=-1,
            stash_type=1,
            epsilon=shape.norm_epsilon,
        )
        for index in layers:
            hidden, normed = self._layer(index, hidden, normed)
        self._constant("last", np.array([-1], np.int64))
        last = self._node("Gather", [normed, "last"], "last_position", axis=1)  # only the next token is wanted
        self._matmul(last, "table", shape.width, shape.vocabulary, "logits")
        float_, int_ = TensorProto.FLOAT, TensorProto.INT64
        cache: list[str | int | None] = ["batch", shape.key_value_heads, "past", shape.head_size]
        grown: list[str | int | None] = ["batch", shape.key_value_heads, "total", shape.head_size]
        pairs = [(index, half) for index in layers for half in ("key", "value")]
        inputs = [
            helper.make_tensor_value_info("input_ids", int_, ["batch", "length"]),
            helper.make_tensor_value_info("attention_mask", int_, ["batch", "total"]),
            *(helper.make_tensor_value_info(f"past.{i}.{half}", float_, cache) for i, half in pairs),
        ]
        outputs = [
            helper.make_tensor_value_info("logits", float_, ["batch", 1, shape.vocabulary]),
            *(helper.make_tensor_value_info(f"present.{i}.{half}", float_, grown) for i, half in pairs),
        ]
        return helper.make_graph(self.nodes, "qwen2", inputs, outputs, self.initializers)

    # --- the model ------------------------------------------------------------------------------------------------

    def _rotary_tables(self) -> None:
        half = self.shape.head_size // 2
        frequencies = self.shape.rotary_base ** (-np.arange(half) / half)
        angles = np.arange(MAX_POSITIONS)[:, None] * frequencies  # [T, half]
        self._initializer("cosines", np.cos(angles).astype(np.float32))
        self._initializer("sines", np.sin(angles).astype(np.float32))

    def _lengths(self) -> None:
        """What GroupQueryAttention asks: the last position of each row, and the total length."""
        self._constant("one", np.array([1], np.int64))
        self._constant("second", np.array(1, np.int64))
        counted = self._node("ReduceSum", ["attention_mask", "one"], "counted", keepdims=0)
        before_last = self._node("Sub", [counted, "one"], "before_last")
        self._node("Cast", [before_last], "positions", to=TensorProto.INT32)
        total = self._node(
            "Gather", [self._node("Shape", ["attention_mask"], "mask_shape"), "second"], "mask_length", axis=0
        )
        self._node("Cast", [total], "total_length", to=TensorProto.INT32)

    def _embedding(self) -> str:
        shape = self.shape
        self._quantized("table", self.tensors("model.embed_tokens.weight"))
        self._constant("table_shape", np.array([shape.vocabulary, shape.width // 2], np.int64))
        rows = self._node("Reshape", ["table.weight", "table_shape"], "table_rows")
        inputs = [rows, "input_ids", "table.scales", "table.zeros"]
        settings = {"bits": 4, "block_size": BLOCK, "gather_axis": 0, "quantize_axis": 1}
        return self._node("GatherBlockQuantized", inputs, "embedded", CONTRIB, **settings)

    def _layer(self, index: int, hidden: str, normed: str) -> tuple[str, str]:
        """(residual stream, its normalized form) → the same after the layer."""
        shape, at = self.shape, f"model.layers.{index}"
        qkv = self._linear(normed, [f"{at}.self_attn.{one}_proj" for one in "qkv"], f"{index}.qkv", biased=True)
        caches = [f"past.{index}.key", f"past.{index}.value"]
        inputs = [qkv, "", "", *caches, "positions", "total_length", "cosines", "sines"]
        attended = f"{index}.attended"
        self._add(
            "GroupQueryAttention",
            inputs,
            [attended, f"present.{index}.key", f"present.{index}.value"],
            CONTRIB,
            num_heads=shape.heads,
            kv_num_heads=shape.key_value_heads,
            do_rotary=1,
            rotary_interleaved=0,
        )
        projected = self._linear(attended, [f"{at}.self_attn.o_proj"], f"{index}.o")
        hidden, normed = self._skip_norm(hidden, projected, f"{at}.post_attention_layernorm.weight", f"{index}.middle")
        gate = self._linear(normed, [f"{at}.mlp.gate_proj"], f"{index}.gate")
        up = self._linear(normed, [f"{at}.mlp.up_proj"], f"{index}.up")
        silu = self._node("Mul", [gate, self._node("Sigmoid", [gate], f"{index}.sigmoid")], f"{index}.silu")
        down = self._linear(self._node("Mul", [silu, up], f"{index}.gated"), [f"{at}.mlp.down_proj"], f"{index}.down")
        after = "model.norm" if index + 1 == shape.layers else f"model.layers.{index + 1}.input_layernorm"
        return self._skip_norm(hidden, down, f"{after}.weight", f"{index}.end")

    def _skip_norm(self, hidden: str, added: str, norm: str, name: str) -> tuple[str, str]:
        outputs = [f"{name}.normed", "", "", f"{name}.sum"]
        self._add(
            "SkipSimplifiedLayerNormalization",
            [hidden, added, self._vector(norm)],
            outputs,
            CONTRIB,
            epsilon=self.shape.norm_epsilon,
        )
        return f"{name}.sum", f"{name}.normed"

    def _linear(self, value: str, sources: Sequence[str], name: str, biased: bool = False) -> str:
        weight = np.concatenate([self.tensors(f"{source}.weight") for source in sources])
        self._quantized(name, weight)
        out = self._matmul(value, name, weight.shape[1], weight.shape[0], f"{name}.out")
        if not biased:
            return out
        self._initializer(f"{name}.bias", np.concatenate([self.tensors(f"{source}.bias") for source in sources]))
        return self._node("Add", [out, f"{name}.bias"], f"{name}.biased")

    # --- nodes and weights ----------------------------------------------------------------------------------------

    def _matmul(self, value: str, name: str, columns: int, rows: int, out: str) -> str:
        inputs = [value, f"{name}.weight", f"{name}.scales", f"{name}.zeros"]
        settings = {"K": columns, "N": rows, "bits": 4, "block_size": BLOCK, "accuracy_level": ACCURACY}
        return self._node("MatMulNBits", inputs, out, CONTRIB, **settings)

    def _node(self, kind: str, inputs: Sequence[str], out: str, domain: str = "", **settings: Any) -> str:
        self._add(kind, inputs, [out], domain, **settings)
        return out

    def _add(self, kind: str, inputs: Sequence[str], outputs: Sequence[str], domain: str = "", **settings: Any) -> None:
        self.nodes.append(helper.make_node(kind, inputs, outputs, domain=domain, **settings))

    def _constant(self, name: str, value: np.ndarray) -> None:
        self.initializers.append(onnx.numpy_helper.from_array(value, name))

    def _vector(self, source: str) -> str:
        self._initializer(source, self.tensors(source))
        return source

    def _quantized(self, name: str, weight: np.ndarray) -> None:
        for suffix, part in zip(("weight", "scales", "zeros"), quantize(weight), strict=True):
            self._initializer(f"{name}.{suffix}", part)

    def _initializer(self, name: str, value: np.ndarray) -> None:
        """Appended to the data file at a multiple of 4,096 bytes, so that it can be mapped."""
        self.data.write(b"\0" * (-self.data.tell() % 4096))
        kind = helper.np_dtype_to_tensor_dtype(value.dtype)
        tensor = TensorProto(name=name, data_type=kind, dims=value.shape, data_location=TensorProto.EXTERNAL)
        contents = np.ascontiguousarray(value).tobytes()
        for key, entry in (("location", "model.onnx.data"), ("offset", self.data.tell()), ("length", len(contents))):
            tensor.external_data.add(key=key, value=str(entry))
        self.initializers.append(tensor)
        self.data.write(contents)
