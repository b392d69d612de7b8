"""What this Slicer still lacks: told apart, asked for and installed, only after the user's click. No Qt.

Slicer 5.12 installs through `slicer.packaging`, older ones through `slicer.util`; PyTorch comes through the PyTorch extension
alone, which chooses the build that fits the computer's GPU.
"""

import importlib.util
import logging
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from scarnet.errors import ScarNetError
from scarnet.network import find_model, read_card

GPU_DEVICES = ("cuda", "mps")


def read_requirements(path: Path) -> list[str]:
    """Lines of a requirements file, comments left out."""
    lines = (line.split("#")[0].strip() for line in Path(path).read_text(encoding="utf-8").splitlines())
    return [line for line in lines if line]


def missing_requirements(requirements: list[str]) -> list[str]:
    """Those of `requirements` that are not met in this Python."""
    from packaging.requirements import Requirement

    missing = []
    for text in requirements:
        requirement = Requirement(text)
        try:
            met = requirement.specifier.contains(version(requirement.name), prereleases=True)
        except PackageNotFoundError:
            met = False
        if not met:
            missing.append(text)
    return missing


def needs_torch(model: str, device: str) -> bool:
    """The shipped model runs without PyTorch on a processor; a GPU, or a model without ONNX files, needs it."""
    return device in GPU_DEVICES or not any(name.endswith(".onnx") for name in read_card(find_model(model)).files)


def ensure_packages(
    requirements: list[str],
    *,
    ask: Callable[[str], bool],
    wheel_folder: str = "",
    translate: Callable[[str], str] = lambda text: text,
) -> None:
    """Install what is missing of `requirements` after asking; nothing happens, and nothing is asked, when all is there.

    `ask(text)` returns whether the user agrees. `wheel_folder`: install from the wheels in it, without a network. Raises
    ScarNetError with a sentence the user can act on.
    """
    missing = missing_requirements(requirements)
    if not missing:
        return
    names = ", ".join(missing)
    if wheel_folder and not Path(wheel_folder).is_dir():
        raise ScarNetError(translate("There is no package folder at {path}.").format(path=wheel_folder))
    import slicer.util

    try:
        if wheel_folder:
            _agree(
                ask, translate("ScarNet will install from {path}: {names}"), translate, path=wheel_folder, names=names
            )
            slicer.util.pip_install(["--no-index", "--find-links", str(wheel_folder), *missing])
        elif _packaging() is not None:
            _packaging().pip_ensure(missing, requester="ScarNet")  # asks by itself
        else:
            _agree(
                ask,
                translate("ScarNet needs these Python packages, which will be installed now: {names}"),
                translate,
                names=names,
            )
            slicer.util.pip_install(missing)
    except RuntimeError as error:  # what pip_ensure raises when the user says no
        raise ScarNetError(_declined(translate)) from error
    except ScarNetError:
        raise
    except Exception as error:
        logging.exception("ScarNet: pip failed")
        raise ScarNetError(_not_installed(bool(wheel_folder), names, translate)) from error
    still = missing_requirements(missing)
    if still:  # in Slicer's testing mode pip_ensure does nothing
        raise ScarNetError(
            translate("These Python packages are still missing: {names}.").format(names=", ".join(still))
        )


def ensure_torch(translate: Callable[[str], str] = lambda text: text) -> None:
    """PyTorch, through Slicer's PyTorch extension. Raises ScarNetError saying what to do when it is not to be had."""
    if importlib.util.find_spec("torch") is not None:
        return
    try:
        import PyTorchUtils
    except ImportError as error:
        raise ScarNetError(
            translate(
                "This model or device needs PyTorch: install the PyTorch extension (Extensions Manager) and restart, or "
                "choose the shipped model on the processor."
            )
        ) from error
    if PyTorchUtils.PyTorchUtilsLogic().installTorch(askConfirmation=True) is None:
        raise ScarNetError(
            translate("PyTorch was not installed; choose the shipped model on the processor, or try again.")
        )


def _packaging():
    try:
        import slicer.packaging

        return slicer.packaging
    except ImportError:  # Slicer 5.10 and older
        return None


def _agree(ask, text: str, translate, **values) -> None:
    if not ask(text.format(**values)):
        raise ScarNetError(_declined(translate))


def _declined(translate) -> str:
    return translate("The Python packages that are needed were not installed; nothing was changed.")


def _not_installed(from_folder: bool, names: str, translate) -> str:
    if from_folder:
        return translate("The package folder does not hold all that is needed ({names}), with what those need.").format(
            names=names
        )
    return translate(
        "The packages could not be installed ({names}): is the network closed? Without one, put their wheels into a folder "
        "and choose it under Advanced, Package folder."
    ).format(names=names)
