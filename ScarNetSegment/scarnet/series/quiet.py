"""Reading without a word on what is read."""

import logging
import os
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet() -> Iterator[None]:
    """pydicom comments on odd values and quotes them: a patient's name does not belong in a log."""
    logger = logging.getLogger("pydicom")
    level = logger.level
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logger.setLevel(logging.CRITICAL)
        try:
            yield
        finally:
            logger.setLevel(level)


_ONE_AT_A_TIME = threading.Lock()


@contextmanager
def without_standard_error() -> Iterator[None]:
    """ITK's readers of MetaImage and HDF5 write there themselves, and name files; what is wrong is said by this program.

    Of the whole process, so for a moment only: what other threads write meanwhile is lost too.
    """
    with _ONE_AT_A_TIME:
        try:
            kept = os.dup(2)
        except OSError:  # there is none, as in a program without a console
            yield
            return
        try:
            if sys.stderr is not None:
                sys.stderr.flush()
            with open(os.devnull, "wb") as nowhere:
                os.dup2(nowhere.fileno(), 2)
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)
