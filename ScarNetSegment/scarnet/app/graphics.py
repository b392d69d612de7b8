"""Can this computer draw at all? Asked in a process of its own: without a GL library VTK ends the process, it does not raise."""

import os
import subprocess
import sys

from scarnet.errors import ScarNetError

#: Draws one small picture off screen and ends with 0 where that works.
_PROBE = """
import vtkmodules.vtkRenderingOpenGL2
from vtkmodules.vtkRenderingCore import vtkRenderer, vtkRenderWindow
window = vtkRenderWindow()
window.SetOffScreenRendering(1)
window.SetSize(16, 16)
window.AddRenderer(vtkRenderer())
window.Render()
print(window.GetClassName(), flush=True)
"""
#: Names VTK's window class. On Linux those that need no display first; "" is VTK's own choice.
WINDOW_VARIABLE = "VTK_DEFAULT_OPENGL_WINDOW"
_WINDOWS = ("vtkEGLRenderWindow", "vtkOSOpenGLRenderWindow", "") if sys.platform.startswith("linux") else ("",)
PROBE_SECONDS = 60


def check_graphics() -> dict[str, str]:
    """Environment variables under which VTK can draw here, as it is or with OSMesa.

    Raises ScarNetError, saying what to install, where nothing works.
    """
    chosen = os.environ.get(WINDOW_VARIABLE)
    for window in (chosen,) if chosen else _WINDOWS:
        settings = {WINDOW_VARIABLE: window} if window else {}
        if _draws(settings):
            return settings
    raise ScarNetError(
        "Images cannot be drawn: no OpenGL library was found. On Debian and Ubuntu: apt install libegl1 libgl1 "
        "libgl1-mesa-dri (or libosmesa6); no graphics card is needed."
    )


def _draws(settings: dict[str, str]) -> bool:
    try:
        done = subprocess.run(
            [sys.executable, "-c", _PROBE], env={**os.environ, **settings}, capture_output=True, timeout=PROBE_SECONDS
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0 and b"Window" in done.stdout
