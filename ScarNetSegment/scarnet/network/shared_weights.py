"""An ONNX file that reads its weights from the safetensors file beside it: one set of numbers on disk, not two."""

import json
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import load_file

#: Elements; smaller tensors stay in the ONNX file.
SMALLEST = 512


def share_weights(path: Path, weights: Path) -> None:
    """Let the large tensors of the ONNX file `path` be read from `weights`, fp16 safetensors in the same folder.

    The exporter transposes matrices and multiplies kernels by the batch norm behind them; both are put back as nodes, which ONNX
    Runtime and OpenVINO compute once, when they load the file. What is not found in `weights` stays in the file.
    """
    model = onnx.load(path)
    stored, places = load_file(weights), _places(weights)
    nodes, kept = [], []
    by_content = {_content(array): name for name, array in stored.items()}
    for tensor in model.graph.initializer:
        value = numpy_helper.to_array(tensor)
        found = _found(tensor.name, value, stored, by_content) if value.size >= SMALLEST else None
        if found is None:
            kept.append(tensor)
            continue
        name, transposed, scale = found
        half = TensorProto(name=f"{tensor.name}.stored", data_type=TensorProto.FLOAT16, dims=stored[name].shape)
        half.data_location = TensorProto.EXTERNAL
        for key, entry in zip(("location", "offset", "length"), (weights.name, *places[name]), strict=True):
            half.external_data.add(key=key, value=str(entry))
        kept.append(half)
        steps = [("Cast", {"to": TensorProto.FLOAT}, [])]
        if transposed:
            steps.append(("Transpose", {"perm": [1, 0]}, []))
        if scale is not None:
            kept.append(numpy_helper.from_array(scale, f"{tensor.name}.scale"))
            steps.append(("Mul", {}, [f"{tensor.name}.scale"]))
        last = half.name
        for number, (kind, attributes, more) in enumerate(steps, start=1):
            result = tensor.name if number == len(steps) else f"{tensor.name}.{number}"
            nodes.append(helper.make_node(kind, [last, *more], [result], **attributes))
            last = result
    for part in (*model.graph.node, *model.graph.value_info, model.graph):
        del part.metadata_props[:]  # where in Python each node came from: more than all the rest
    nodes += model.graph.node
    del model.graph.node[:], model.graph.initializer[:]
    model.graph.node.extend(nodes)
    model.graph.initializer.extend(kept)
    path.write_bytes(model.SerializeToString())
    onnx.checker.check_model(path)  # by its path: it looks for the weights beside it


def _found(
    name: str, value: np.ndarray, stored: dict[str, np.ndarray], by_content: dict
) -> tuple[str, bool, np.ndarray | None] | None:
    """Which stored tensor `value` is, whether transposed, and by what factors of its first axis, if by any."""
    if value.dtype != np.float32:
        return None
    if (same := by_content.get(_content(value))) is not None:
        return same, False, None
    if value.ndim == 2 and (same := by_content.get(_content(value.T))) is not None:
        return same, True, None
    if name not in stored or stored[name].shape != value.shape:
        return None
    kernel, rest = stored[name].astype(np.float64), tuple(range(1, value.ndim))
    power = (kernel**2).sum(rest, keepdims=True)
    scale = ((kernel * value).sum(rest, keepdims=True) / np.where(power > 0, power, 1)).astype(np.float32)
    return (name, False, scale) if np.allclose(kernel * scale, value, rtol=1e-5, atol=0) else None


def _content(array: np.ndarray) -> tuple:
    return array.shape, array.astype(np.float32).tobytes()


def _places(weights: Path) -> dict[str, tuple[int, int]]:
    """Offset and length in bytes of every tensor in a safetensors file (its header is JSON after eight bytes of length)."""
    with weights.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(size))
    header.pop("__metadata__", None)
    return {
        name: (8 + size + entry["data_offsets"][0], int(np.subtract(*entry["data_offsets"][::-1])))
        for name, entry in header.items()
    }
