"""Writes the graph of the embedding model that comes with doctrain. With --check only compares.

The package with the weights brings a graph too, as its exporter made it: attention in a dozen steps, and guards that this
model needs not. Here is the same arithmetic in ONNX Runtime's larger steps (Attention, SkipLayerNormalization, BiasGelu), with
mean and length in the graph. It holds no weights, only their places in the file of the package, whose SHA-256 is pinned.
"""

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

from doctrain_mesh.embedding import minilm
from doctrain_mesh.embedding.onnx_model import WHOLE_OUTPUT

LAYERS, HEADS = 6, 12
EPSILON = 1e-12
FUSED = "com.microsoft"
WEIGHTS_PREFIX = "inner."
EMBEDDINGS = "embeddings."


class Weights:
    """The tensors of the package's file, by the names that the model's authors gave them, and where each stands in it."""

    def __init__(self) -> None:
        path = minilm.weights()
        self._content, self._file = path.read_bytes(), path.name
        graph = onnx.load_from_string(self._content).graph
        self._tensors = {tensor.name: tensor for tensor in graph.initializer}
        self._matrices = self._named_by_bias(graph)

    def _named_by_bias(self, graph: GraphProto) -> dict[str, str]:
        """The exporter lost the names of the matrices; the biases that are added to their products kept theirs."""
        products = {node.output[0]: node.input[1] for node in graph.node if node.op_type == "MatMul"}
        named = {}
        for node in graph.node:
            biases = [name for name in node.input if name.endswith(".bias")]
            product = next((name for name in node.input if name in products), None)
            if node.op_type == "Add" and biases and product:
                named[biases[0].removeprefix(WEIGHTS_PREFIX).replace(".bias", ".weight")] = products[product]
        return named

    def place(self, name: str, kept_as: str) -> TensorProto:
        """A tensor that says where its bytes are; ``kept_as`` is its name in the file."""
        found = self._tensors[kept_as]
        offset = self._content.find(found.raw_data)
        if offset < 0 or self._content.find(found.raw_data, offset + 1) >= 0:
            raise SystemExit(f"The bytes of {kept_as} are not at one place in the file.")
        placed = TensorProto(name=name, data_type=found.data_type, dims=found.dims, data_location=TensorProto.EXTERNAL)
        for key, value in (("location", self._file), ("offset", offset), ("length", len(found.raw_data))):
            placed.external_data.add(key=key, value=str(value))
        return placed

    def kept_as(self, name: str) -> str:
        """The name in the file; of a quantised tensor, what ``_q`` and ``_scale`` are added to."""
        return self._matrices.get(name, WEIGHTS_PREFIX + name)


class Graph:
    """The graph while it is built; every method answers the name of what it added."""

    def __init__(self, weights: Weights) -> None:
        self._weights = weights
        self._nodes: list[NodeProto] = []
        self._tensors: list[TensorProto] = []

    def step(self, kind: str, inputs: Sequence[str], output: str, domain: str = "", **attributes: Any) -> str:
        """One operation."""
        self._nodes.append(helper.make_node(kind, inputs, [output], domain=domain, **attributes))
        return output

    def number(self, name: str, value: int | list[int]) -> str:
        """A constant."""
        self._tensors.append(numpy_helper.from_array(np.array(value, dtype=np.int64), name))
        return name

    def weight(self, name: str) -> str:
        """A tensor of floats."""
        self._tensors.append(self._weights.place(name, self._weights.kept_as(name)))
        return name

    def quantised(self, name: str) -> tuple[str, str]:
        """A tensor of bytes, and its scales."""
        for part in ("_q", "_scale"):
            self._tensors.append(self._weights.place(name + part, self._weights.kept_as(name) + part))
        return f"{name}_q", f"{name}_scale"

    def matrix(self, name: str) -> str:
        """The same multiplied out, which is done once, when the graph is loaded."""
        return self.multiplied(*self.quantised(name), name)

    def multiplied(self, small: str, scale: str, output: str) -> str:
        """Bytes as floats."""
        return self.step("Mul", [self.step("Cast", [small], f"{output}_cast", to=TensorProto.FLOAT), scale], output)

    def normalised(self, inputs: Sequence[str], name: str, output: str, bias: str = "") -> str:
        """Layer normalisation; of a sum when there are two inputs."""
        gain, shift = self.weight(f"{name}.weight"), self.weight(f"{name}.bias")
        if not bias:
            return self.step("LayerNormalization", [*inputs, gain, shift], output, axis=-1, epsilon=EPSILON)
        return self.step("SkipLayerNormalization", [*inputs, gain, shift, self.weight(bias)], output, FUSED, epsilon=EPSILON)

    def model(self) -> ModelProto:
        """The whole; tokens in, vectors out."""
        inputs = [helper.make_tensor_value_info(name, TensorProto.INT64, ["texts", "tokens"]) for name in ("input_ids", "attention_mask")]
        outputs = [helper.make_tensor_value_info(WHOLE_OUTPUT, TensorProto.FLOAT, ["texts", minilm.DIMENSIONS])]
        graph = helper.make_graph(self._nodes, "all-MiniLM-L6-v2", inputs, outputs, self._tensors)
        versions = [helper.make_opsetid("", 18), helper.make_opsetid(FUSED, 1)]
        return helper.make_model(graph, opset_imports=versions, ir_version=10, producer_name="doctrain")


def embeddings(graph: Graph) -> str:
    """Words and places, normalised. Words are looked up as bytes: only those of the text become floats."""
    words, scales = graph.quantised(f"{EMBEDDINGS}word_embeddings.weight")
    small = graph.step("Gather", [words, "input_ids"], "words_q")
    said = graph.multiplied(small, graph.step("Gather", [scales, "input_ids"], "words_scale"), "words")
    types = graph.step("Gather", [graph.weight(f"{EMBEDDINGS}token_type_embeddings.weight"), graph.number("first", 0)], "type")
    places = graph.step("Add", [graph.matrix(f"{EMBEDDINGS}position_embeddings.weight"), types], "places")
    length = graph.step("Shape", ["input_ids"], "length", start=1, end=2)
    start = graph.number("start", [0])
    placed = graph.step("Add", [said, graph.step("Slice", [places, start, length, start], "placed")], "embedded")
    return graph.normalised([placed], f"{EMBEDDINGS}LayerNorm", "layer.0")


def layer(graph: Graph, number: int, hidden: str, mask: str) -> str:
    """One layer of the encoder."""
    name = f"encoder.layer.{number}"
    parts = [f"{name}.attention.self.{part}" for part in ("query", "key", "value")]
    matrix = graph.step("Concat", [graph.matrix(f"{part}.weight") for part in parts], f"{name}.attention.weight", axis=1)
    bias = graph.step("Concat", [graph.weight(f"{part}.bias") for part in parts], f"{name}.attention.bias", axis=0)
    seen = graph.step("Attention", [hidden, matrix, bias, mask], f"{name}.seen", FUSED, num_heads=HEADS)
    out = graph.step("MatMul", [seen, graph.matrix(f"{name}.attention.output.dense.weight")], f"{name}.attended")
    attended = graph.normalised(
        [hidden, out], f"{name}.attention.output.LayerNorm", f"{name}.middle", f"{name}.attention.output.dense.bias"
    )
    wide = graph.step("MatMul", [attended, graph.matrix(f"{name}.intermediate.dense.weight")], f"{name}.wide")
    active = graph.step("BiasGelu", [wide, graph.weight(f"{name}.intermediate.dense.bias")], f"{name}.active", FUSED)
    narrow = graph.step("MatMul", [active, graph.matrix(f"{name}.output.dense.weight")], f"{name}.narrow")
    return graph.normalised([attended, narrow], f"{name}.output.LayerNorm", f"layer.{number + 1}", f"{name}.output.dense.bias")


def build() -> bytes:
    """The graph's file."""
    graph = Graph(Weights())
    hidden, mask = embeddings(graph), graph.step("Cast", ["attention_mask"], "mask", to=TensorProto.INT32)
    for number in range(LAYERS):
        hidden = layer(graph, number, hidden, mask)
    # The sum points where the mean does, and only the direction is kept.
    counted = graph.step("Cast", ["attention_mask"], "counted", to=TensorProto.FLOAT)
    row = graph.number("row", [1])
    total = graph.step("MatMul", [graph.step("Unsqueeze", [counted, row], "counted_row"), hidden], "total_row")
    graph.step("LpNormalization", [graph.step("Squeeze", [total, row], "total")], WHOLE_OUTPUT, axis=-1, p=2)
    return graph.model().SerializeToString(deterministic=True)


def main() -> None:
    built = build()
    if "--check" in sys.argv[1:]:
        if not minilm.GRAPH.exists() or minilm.GRAPH.read_bytes() != built:
            sys.exit(f"{minilm.GRAPH.name} differs from scripts/gen_minilm.py. Run: make model")
        return
    minilm.GRAPH.write_bytes(built)


if __name__ == "__main__":
    main()
