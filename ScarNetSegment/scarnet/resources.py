"""Where the files that ship with the engine lie: beside it in Slicer and in a checkout, inside it after pip install."""

import os
from pathlib import Path

from scarnet.errors import ScarNetError

_PACKAGE = Path(__file__).resolve().parent
_ROOTS = (_PACKAGE / "_resources", _PACKAGE.parent / "Resources", _PACKAGE.parent.parent / "Resources")

#: Set to keep models elsewhere than in the home folder.
MODELS_VARIABLE = "SCARNET_MODELS"


def shipped(name: str) -> Path:
    """The shipped folder or file `name` ("Models", "SampleData/LGEShortAxis"). Raises ScarNetError if it is absent."""
    for root in _ROOTS:
        if (root / name).exists():
            return root / name
    raise ScarNetError(f"The installation lacks its own '{name}'; install slicer-scarnet again.")


def user_models_folder() -> Path:
    """Where models that the user adds are kept; not created here."""
    chosen = os.environ.get(MODELS_VARIABLE)
    return Path(chosen) if chosen else Path.home() / ".scarnet" / "models"
