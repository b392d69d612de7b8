"""The networks: ScarNet in its sizes, its blocks, loading weights. Nothing here imports torch until one is built."""

from scarnet.network.registry import ModelCard, find_model, list_models, read_card, verify
from scarnet.network.runtime import LoadedNetwork, load_network

__all__ = ["LoadedNetwork", "ModelCard", "find_model", "list_models", "load_network", "read_card", "verify"]
