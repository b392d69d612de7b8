"""ScarNet engine: myocardial scar on late gadolinium enhancement (LGE) cardiac MRI. Research use only.

One package for 3D Slicer, the command line and the browser. Importing it imports nothing heavy; each room
(`series`, `network`, `segmentation`, ...) imports what it needs, and only rooms before it.
"""

__version__ = "0.3.0"

RESEARCH_USE = (
    "For research use only. Not a medical device: not cleared or approved for diagnosis or treatment. "
    "Every result must be checked by a qualified reader."
)
