"""Fixtures that tests share: one simulated patient, the shipped sample, and real patients where they are."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

from scarnet.phantom import HeartParameters, PhantomParameters, simulate, write_dicom
from scarnet.phantom.study import small_hearts, write_study
from scarnet.phantom.zoo import Variant
from scarnet.resources import shipped

# What is landed is tried on the same examples every time; at a desk hypothesis looks further.
settings.register_profile("ci", derandomize=True, deadline=None)
settings.register_profile("desk", deadline=None)
settings.load_profile("ci" if os.environ.get("CI") else "desk")

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT.parent / "shared" / "data"


@pytest.fixture(scope="session", autouse=True)
def _own_model_folder(tmp_path_factory):
    """No test sees or changes the models of whoever runs it."""
    os.environ["SCARNET_MODELS"] = str(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="session")
def phantom():
    """A whole simulated patient, as large as real ones."""
    return simulate(seed=20)


@pytest.fixture(scope="session")
def small_phantom():
    """The same heart on coarse pixels and few slices: for tests that only move data about."""
    return simulate(PhantomParameters(heart=HeartParameters(), size=96, pixel_mm=3.0, slices=5, gap_mm=8.0), seed=1)


@pytest.fixture(scope="session")
def dicom_folder(phantom, tmp_path_factory):
    folder = tmp_path_factory.mktemp("dicom") / "LGE"
    write_dicom(phantom, folder)
    return folder


@pytest.fixture(scope="session")
def sample_folder():
    return shipped("SampleData/LGEShortAxis")


@pytest.fixture(scope="session")
def emidec():
    folder = DATA / "emidec"
    if not folder.is_dir():
        pytest.skip("REAL PATIENTS ARE NOT HERE (../shared/data/emidec): nothing was tested on real images")
    return folder


@pytest.fixture(scope="session")
def hearts():
    return small_hearts()


@pytest.fixture(scope="session")
def plain(hearts, tmp_path_factory):
    """The plain study of the zoo: eight files of one series, 10 mm apart."""
    return write_study(Variant("plain", others=()), tmp_path_factory.mktemp("plain") / "s", hearts)
