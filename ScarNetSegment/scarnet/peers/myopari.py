"""The EMIDEC network of myopari (MIT licence) on ONNX Runtime: its own files, its own preparation of images.

myopari's modules import napari and ask for a GPU; only `processors/functions_utils.py`, which prepares and restores images, is
loaded from its package here, and the network it ships is run on the processor.
"""

import importlib.util
from importlib import metadata
from pathlib import Path
from types import ModuleType

import numpy as np

from scarnet.errors import ModelError, UsageError
from scarnet.files import sha256_of
from scarnet.network.runtime import thread_count
from scarnet.peers.back_end import BackEnd, Request
from scarnet.peers.finish import finished
from scarnet.segmentation import ScarSegmentation

NETWORK = Path("Resources") / "tiramisu_emidec_fp32.onnx"
REMARK = "myopari's network is named after EMIDEC and its training patients are not listed: on EMIDEC it may have seen those it is judged on"


def myopari() -> BackEnd:
    """Raises UsageError where the package is absent, ModelError where it lacks its network."""
    found = importlib.util.find_spec("myopari")
    if found is None or not found.submodule_search_locations:
        raise UsageError(
            "myopari is not installed: pip install --no-deps myopari scikit-image (without napari) or pip install myopari."
        )
    folder = Path(next(iter(found.submodule_search_locations)))
    network, helpers = folder / NETWORK, folder / "processors" / "functions_utils.py"
    for path in (network, helpers):
        if not path.is_file():
            raise ModelError(f"The installed myopari has no {path.name}; version 0.1.6 has it.")
    tools = _load(helpers)
    session = _session(network)
    version, sha256 = metadata.version("myopari"), sha256_of(network)

    def segment(request: Request, *, on_progress=None, is_cancelled=None) -> ScarSegmentation:
        image = request.series.image
        # Its percentiles are taken over values above zero: PSIR is brought there first. Its panel hands over columns first.
        shifted = image - image.min() if image.min() < 0 else image
        prepared = tools.preprocess_data_array(np.ascontiguousarray(shifted.transpose(2, 1, 0), np.float64))
        labels = tools.predict_data_model_emidec(prepared, session, device="cpu", onnx=True)
        return finished(
            request.series,
            np.ascontiguousarray(labels.transpose(2, 1, 0), np.uint8),
            model={"name": "myopari", "version": version, "sha256": sha256, "runtime": "onnxruntime", "licence": "MIT"},
            parameters={"network": NETWORK.name},
            warnings=(REMARK + ".",),
        )

    return BackEnd("myopari", "myopari", segment, trained_on=None, remark=REMARK)


def _load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("_myopari_functions", path)
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except ImportError as error:
        raise UsageError(f"myopari needs {error.name}: pip install scikit-image.") from None
    return module


def _session(path: Path):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = thread_count()
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
