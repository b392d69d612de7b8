"""The Slicer module's panel without Qt: what it knows, decides and does. The widget only shows it."""

from scarnet.panel.parameters import PanelParameters
from scarnet.panel.presenter import Presenter

__all__ = ["PanelParameters", "Presenter"]
