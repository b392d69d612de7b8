"""DICOMweb (PS3.18): QIDO-RS finds, WADO-RS fetches, STOW-RS stores. Over `dicomweb-client`."""

import logging
import os
from collections.abc import Iterable
from contextlib import contextmanager
from pathlib import Path

import pydicom

from scarnet.files import replacing
from scarnet.pacs.archive import ArchiveError, SeriesRow, StudyRow, by_number, check_patient_id, has_only, newest_first

#: Connecting, and waiting for the next bytes.
TIMEOUT_SECONDS = (10.0, 120.0)


class WebArchive:
    """`url`: the service's root, such as http://pacs:8042/dicom-web.

    User and password, or a bearer token, are taken from the environment: SCARNET_PACS_USER and SCARNET_PACS_PASSWORD, or
    SCARNET_PACS_TOKEN. SCARNET_PACS_CA names a file with the certificates to trust.
    """

    def __init__(self, url: str):
        try:
            import requests
            from dicomweb_client.api import DICOMwebClient
        except ImportError as error:
            raise ArchiveError(
                f"DICOMweb needs another package ({error.name}): pip install 'slicer-scarnet[pacs]'."
            ) from error
        session = requests.Session()
        session.trust_env = False  # no .netrc, no proxy of the environment: patients' images go to the archive alone
        user, token = os.environ.get("SCARNET_PACS_USER"), os.environ.get("SCARNET_PACS_TOKEN")
        if user:
            session.auth = (user, os.environ.get("SCARNET_PACS_PASSWORD", ""))
        elif token:
            session.headers["Authorization"] = f"Bearer {token}"
        if os.environ.get("SCARNET_PACS_CA"):
            session.verify = os.environ["SCARNET_PACS_CA"]
        self._client = DICOMwebClient(url.rstrip("/"), session=session, timeout=TIMEOUT_SECONDS)
        self._client.set_http_retry_params(retry=False)  # whoever asks decides whether to ask again
        for name in ("dicomweb_client", "retrying", "urllib3"):
            logging.getLogger(name).setLevel(logging.CRITICAL)  # they would log addresses, which hold patient IDs

    def studies(self, patient_id: str) -> list[StudyRow]:
        patient_id = check_patient_id(patient_id)
        with _asking("list studies"):
            found = self._client.search_for_studies(
                search_filters={"PatientID": patient_id}, fields=["StudyDescription", "ModalitiesInStudy"]
            )
        return newest_first(
            [
                StudyRow(
                    uid=_text(item, "StudyInstanceUID"),
                    date=_text(item, "StudyDate"),
                    description=_text(item, "StudyDescription"),
                    modalities=_texts(item, "ModalitiesInStudy"),
                )
                for item in found
                if has_only(patient_id, _text(item, "PatientID"))
            ]
        )

    def series(self, study_uid: str) -> list[SeriesRow]:
        with _asking("list series"):
            found = self._client.search_for_series(
                study_uid, fields=["SeriesDescription", "NumberOfSeriesRelatedInstances"]
            )
        return by_number(
            [
                SeriesRow(
                    uid=_text(item, "SeriesInstanceUID"),
                    modality=_text(item, "Modality"),
                    number=_number(item, "SeriesNumber"),
                    description=_text(item, "SeriesDescription"),
                    images=_number(item, "NumberOfSeriesRelatedInstances"),
                )
                for item in found
            ]
        )

    def fetch(self, study_uid: str, series_uids: Iterable[str], folder: Path) -> list[Path]:
        folder, written = Path(folder), []
        folder.mkdir(parents=True, exist_ok=True)
        for uid in series_uids:
            with _asking("fetch a series"):
                # "*": as the archive keeps them. Without it an archive would decompress, or compress anew.
                found = self._client.iter_series(study_uid, uid, media_types=(("application/dicom", "*"),))
                for dataset in found:
                    path = folder / f"{len(written) + 1:05d}.dcm"
                    with replacing(path) as part:
                        dataset.save_as(part, enforce_file_format=True)
                    written.append(path)
        if not written:
            raise ArchiveError("The archive sent no images of these series; were they moved or deleted?")
        return written

    def store(self, files: Iterable[Path]) -> int:
        datasets = [pydicom.dcmread(file) for file in files]
        with _asking("store results"):
            answer = self._client.store_instances(datasets)
        failed = getattr(answer, "FailedSOPSequence", None)
        taken = len(getattr(answer, "ReferencedSOPSequence", None) or [])
        if failed or taken < len(datasets):
            reason = f", failure reason {failed[0].get('FailureReason', '?')}" if failed else ""
            raise ArchiveError(f"The archive took {taken} of {len(datasets)} files{reason}.")
        return taken


@contextmanager
def _asking(what: str):
    """Failures of the network and the archive as one line, without the address, which may hold a patient ID."""
    import requests

    try:
        yield
    except requests.HTTPError as error:
        code = error.response.status_code if error.response is not None else "?"
        hint = "; check SCARNET_PACS_USER and SCARNET_PACS_PASSWORD" if code in (401, 403) else ""
        raise ArchiveError(f"The archive refused to {what} (HTTP {code}){hint}.") from error
    except requests.exceptions.SSLError as error:
        raise ArchiveError(
            f"The archive's certificate is not trusted; it could not {what}. See SCARNET_PACS_CA."
        ) from error
    except (requests.RequestException, OSError) as error:
        raise ArchiveError(f"The archive could not be reached to {what} ({type(error).__name__}).") from error
    except (ValueError, KeyError, pydicom.errors.InvalidDicomError) as error:
        raise ArchiveError(f"The archive's answer could not be understood ({type(error).__name__}).") from error


def _texts(item: dict, keyword: str) -> tuple[str, ...]:
    """Values in DICOM JSON (PS3.18 F.2)."""
    values = item.get(f"{pydicom.datadict.tag_for_keyword(keyword):08X}", {}).get("Value") or []
    return tuple(str(value) for value in values if value is not None and not isinstance(value, dict))


def _text(item: dict, keyword: str) -> str:
    return next(iter(_texts(item, keyword)), "")


def _number(item: dict, keyword: str) -> int | None:
    try:
        return int(float(_text(item, keyword)))
    except ValueError:
        return None
