"""The hospital's archive: studies found, LGE series fetched, results stored; by DICOMweb or by DICOM's own network services."""

from scarnet.pacs.address import archive_at
from scarnet.pacs.archive import Archive, SeriesRow, StudyRow, lge_series

__all__ = ["Archive", "SeriesRow", "StudyRow", "archive_at", "lge_series"]
