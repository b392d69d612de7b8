"""Other people's networks and methods behind ScarNet's own door. Each needs its own package, and says which where it is absent."""

from scarnet.peers.back_end import BackEnd, Request, back_end

__all__ = ["BackEnd", "Request", "back_end"]
