"""Data sets, augmentation, losses and the loop that turn labelled LGE into a model folder."""
