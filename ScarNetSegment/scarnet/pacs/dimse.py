"""DICOM's own network services (PS3.4): C-FIND finds, C-MOVE fetches, C-STORE stores. Over pynetdicom."""

import logging
import threading
from collections.abc import Iterable
from contextlib import contextmanager
from pathlib import Path

import pydicom
from pydicom.dataset import Dataset

from scarnet.files import replacing
from scarnet.pacs.archive import ArchiveError, SeriesRow, StudyRow, by_number, check_patient_id, has_only, newest_first

TIMEOUT_SECONDS = 30
#: Without a new image while a series arrives.
MOVE_TIMEOUT_SECONDS = 120
_PENDING, _SUCCESS = (0xFF00, 0xFF01), 0x0000


class DimseArchive:
    """`ae_title` of the archive, at `host`:`port`. It must know `own_ae_title` at this computer's `own_port` to fetch."""

    def __init__(self, host: str, port: int, ae_title: str, *, own_ae_title: str, own_port: int):
        try:
            import pynetdicom  # noqa: F401
        except ImportError as error:
            raise ArchiveError(
                f"DICOM's network needs another package ({error.name}): pip install 'slicer-scarnet[pacs]'."
            ) from error
        self._peer, self._ae_title = (host, port), ae_title
        self._own_ae_title, self._own_port = own_ae_title, own_port
        logging.getLogger("pynetdicom").setLevel(logging.CRITICAL)  # it would log what was asked for: patients

    def studies(self, patient_id: str) -> list[StudyRow]:
        patient_id = check_patient_id(patient_id)
        found = self._find(
            "STUDY",
            PatientID=patient_id,
            StudyInstanceUID="",
            StudyDate="",
            StudyDescription="",
            ModalitiesInStudy="",
        )
        return newest_first(
            [
                StudyRow(
                    uid=str(item.get("StudyInstanceUID", "")),
                    date=str(item.get("StudyDate", "") or ""),
                    description=str(item.get("StudyDescription", "") or ""),
                    modalities=_several(item.get("ModalitiesInStudy")),
                )
                for item in found
                if has_only(patient_id, str(item.get("PatientID", "") or ""))
            ]
        )

    def series(self, study_uid: str) -> list[SeriesRow]:
        found = self._find(
            "SERIES",
            StudyInstanceUID=study_uid,
            SeriesInstanceUID="",
            Modality="",
            SeriesNumber=None,
            SeriesDescription="",
            NumberOfSeriesRelatedInstances=None,
        )
        return by_number(
            [
                SeriesRow(
                    uid=str(item.get("SeriesInstanceUID", "")),
                    modality=str(item.get("Modality", "") or ""),
                    number=_number(item.get("SeriesNumber")),
                    description=str(item.get("SeriesDescription", "") or ""),
                    images=_number(item.get("NumberOfSeriesRelatedInstances")),
                )
                for item in found
            ]
        )

    def fetch(self, study_uid: str, series_uids: Iterable[str], folder: Path) -> list[Path]:
        from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelMove as Move

        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        with self._receiver(folder) as written, self._association([Move]) as association:
            for uid in series_uids:
                asked = Dataset()
                asked.QueryRetrieveLevel, asked.StudyInstanceUID, asked.SeriesInstanceUID = "SERIES", study_uid, uid
                status = None
                for status, _ in association.send_c_move(asked, self._own_ae_title, Move):
                    if not status:
                        raise ArchiveError("The archive stopped answering while it sent a series.")
                self._check_move(status)
        if not written:
            raise ArchiveError("The archive sent no images of these series; were they moved or deleted?")
        return sorted(written)

    def store(self, files: Iterable[Path]) -> int:
        datasets = [pydicom.dcmread(file) for file in files]
        contexts = {(d.SOPClassUID, d.file_meta.TransferSyntaxUID) for d in datasets}
        with self._association(contexts) as association:
            for number, dataset in enumerate(datasets):
                try:
                    status = association.send_c_store(dataset)
                except ValueError as error:  # no context accepted
                    raise ArchiveError(
                        f"The archive took {number} of {len(datasets)} files: it does not accept {dataset.Modality} objects."
                    ) from error
                if not status or (status.Status != _SUCCESS and status.Status & 0xF000 != 0xB000):
                    code = f"{status.Status:04X}" if status else "no answer"
                    raise ArchiveError(f"The archive took {number} of {len(datasets)} files (status {code}).")
        return len(datasets)

    # --- how ---------------------------------------------------------------------------------------------------------

    def _find(self, level: str, **keys) -> list[Dataset]:
        from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelFind as Find

        asked = Dataset()
        asked.QueryRetrieveLevel = level
        for keyword, value in keys.items():
            setattr(asked, keyword, value)
        found = []
        with self._association([Find]) as association:
            for status, item in association.send_c_find(asked, Find):
                if not status:
                    raise ArchiveError("The archive stopped answering a search.")
                if status.Status in _PENDING and item is not None:
                    found.append(item)
                elif status.Status != _SUCCESS and status.Status not in _PENDING:
                    raise ArchiveError(f"The archive refused a search (status {status.Status:04X}).")
        return found

    @contextmanager
    def _association(self, contexts):
        from pynetdicom import AE

        entity = AE(ae_title=self._own_ae_title)
        entity.acse_timeout = entity.network_timeout = entity.connection_timeout = TIMEOUT_SECONDS
        entity.dimse_timeout = MOVE_TIMEOUT_SECONDS
        for context in contexts:
            entity.add_requested_context(*(context if isinstance(context, tuple) else (context,)))
        association = entity.associate(*self._peer, ae_title=self._ae_title)
        if not association.is_established:
            raise ArchiveError(
                f"The archive {self._ae_title} could not be reached or refused {self._own_ae_title}: check address, port and "
                "AE titles on both sides."
            )
        try:
            yield association
        finally:
            association.release()

    @contextmanager
    def _receiver(self, folder: Path):
        """Where the archive sends images to (C-MOVE): yields the paths written so far."""
        from pynetdicom import AE, AllStoragePresentationContexts, evt
        from pynetdicom._globals import ALL_TRANSFER_SYNTAXES

        written, lock = [], threading.Lock()

        def keep(event):
            with lock:
                path = folder / f"{len(written) + 1:05d}.dcm"
                written.append(path)
            try:
                dataset = event.dataset
                dataset.file_meta = event.file_meta
                with replacing(path) as part:
                    dataset.save_as(part, enforce_file_format=True)
            except OSError:
                return 0xA700  # out of resources
            return _SUCCESS

        entity = AE(ae_title=self._own_ae_title)
        for context in AllStoragePresentationContexts:
            entity.add_supported_context(context.abstract_syntax, ALL_TRANSFER_SYNTAXES)
        entity.maximum_associations = 4
        entity.require_called_aet = True
        try:
            server = entity.start_server(("", self._own_port), block=False, evt_handlers=[(evt.EVT_C_STORE, keep)])
        except OSError as error:
            raise ArchiveError(
                f"Port {self._own_port} of this computer, to which the archive sends, is taken; give another --own-port."
            ) from error
        try:
            yield written
        finally:
            server.shutdown()

    def _check_move(self, status) -> None:
        if status is not None and status.Status == _SUCCESS and not status.get("NumberOfFailedSuboperations"):
            return
        code = "no answer" if status is None else f"status {status.Status:04X}"
        raise ArchiveError(
            f"The archive could not send a series ({code}): register {self._own_ae_title} there, with this computer's address "
            f"and port {self._own_port}."
        )


def _several(value) -> tuple[str, ...]:
    if not value:
        return ()
    return (str(value),) if isinstance(value, str) else tuple(map(str, value))


def _number(value) -> int | None:
    try:
        return int(value)
    except (TypeError, ValueError):
        return None
