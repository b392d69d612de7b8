"""nnU-Net's own commands, wherever it is installed: in this environment, or in one of its own."""

import json
import os
import shutil
import subprocess
import sys
from collections import deque
from dataclasses import dataclass
from pathlib import Path

from scarnet.errors import ModelError, ScarNetError, UsageError

#: Set to the folder of the environment that nnU-Net is installed in (the one that holds `bin` or `Scripts`).
VARIABLE = "SCARNET_NNUNET"
INSTALL = (
    "nnU-Net is not installed: pip install nnunetv2, best in an environment of its own, and set "
    f"{VARIABLE} to that environment's folder."
)
TRAINERS = Path(__file__).resolve().parent / "nnunet_trainers"
#: What a checkpoint of nnU-Net holds beside tensors; anything else in it could be a program.
HARMLESS = (
    "numpy.",
    "torch.device",
    "torch.dtype",
    "collections.",
    "_codecs.encode",
    "torch._utils.",
    "torch.torch_version.",
)


@dataclass(frozen=True)
class NnUNet:
    """An installation: the folder of its commands."""

    programs: Path

    @property
    def python(self) -> str:
        return self._program("python")

    def _program(self, name: str) -> str:
        found = shutil.which(name, path=str(self.programs))
        if found is None:
            raise UsageError(f"{self.programs} holds no {name}: {INSTALL}")
        return found

    def version(self) -> str:
        return self.ask("from importlib.metadata import version as v; print(v('nnunetv2'), v('torch'))")

    def device(self, device: str) -> str:
        """'auto' is a GPU where nnU-Net's own PyTorch sees one."""
        if device != "auto":
            return device
        return "cuda" if self.ask("import torch; print(torch.cuda.is_available())") == "True" else "cpu"

    def ask(self, code: str, *arguments: str) -> str:
        done = subprocess.run([self.python, "-c", code, *arguments], capture_output=True, text=True, timeout=300)
        if done.returncode:
            raise ScarNetError(
                f"nnU-Net's environment failed: {(done.stderr.strip().splitlines() or ['no message'])[-1]}"
            )
        return done.stdout.strip().splitlines()[-1]

    def check_checkpoint(self, path: Path) -> None:
        """Raises ModelError where the pickle in a checkpoint names what no nnU-Net needs: nnU-Net itself would run it."""
        code = "import sys, json, torch\nprint(json.dumps(torch.serialization.get_unsafe_globals_in_checkpoint(sys.argv[1])))"
        try:
            named = json.loads(self.ask(code, str(path)))
        except ScarNetError as error:
            raise ModelError(f"{path.name} cannot be read as an nnU-Net checkpoint ({error}).") from None
        strange = [name for name in named if not name.startswith(HARMLESS)]
        if strange:
            raise ModelError(
                f"{path.name} holds '{strange[0]}', which no nnU-Net needs and which would run as a program: it is not opened."
            )

    def run(self, command: list[str], folders: Path, log: Path, *, settings: dict[str, str] | None = None) -> None:
        """One of its commands, with its three folders inside `folders`; what it prints goes to the end of `log`.

        Raises ScarNetError with its last line when it fails.
        """
        environment = {**os.environ, **(settings or {})}
        environment |= {f"nnUNet_{name}": str(folders / name) for name in ("raw", "preprocessed", "results")}
        environment |= {"nnUNet_extTrainer": str(TRAINERS), "nnUNet_compile": "f"}
        environment.pop("PYTHONPATH", None)  # its packages, not ours
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("a", encoding="utf-8") as file:
            file.write(f"$ {' '.join([command[0], *command[1:]])}\n")
            file.flush()
            try:
                done = subprocess.run(
                    [self._program(command[0]), *command[1:]], stdout=file, stderr=subprocess.STDOUT, env=environment
                )
            except BaseException:
                file.write("stopped\n")
                raise
        if done.returncode:
            with log.open(encoding="utf-8", errors="replace") as file:
                last = [line.strip() for line in deque(file, 20) if line.strip()]
            raise ScarNetError(f"{command[0]} failed: {last[-1] if last else 'no message'} (all of it in {log.name}).")


def find_nnunet() -> NnUNet:
    """The environment that the variable names; else this one; else whatever is on the path. Raises UsageError."""
    chosen = os.environ.get(VARIABLE)
    if chosen:
        places = [Path(chosen) / "bin", Path(chosen) / "Scripts", Path(chosen)]
    else:
        places = [Path(sys.executable).parent]
        if (on_path := shutil.which("nnUNetv2_train")) is not None:
            places.append(Path(on_path).parent)
    for place in places:
        if shutil.which("nnUNetv2_train", path=str(place)):
            return NnUNet(place)
    raise UsageError(f"{VARIABLE} names {chosen}, which holds no nnU-Net. {INSTALL}" if chosen else INSTALL)
