"""An archive's address as a user writes it."""

from urllib.parse import urlsplit

from scarnet.errors import UsageError
from scarnet.pacs.archive import Archive

OWN_AE_TITLE, OWN_PORT = "SCARNET", 11113
DEFAULT_DICOM_PORT = 104


def archive_at(address: str, *, own_ae_title: str = OWN_AE_TITLE, own_port: int = OWN_PORT) -> Archive:
    """`http(s)://host/dicom-web` for DICOMweb, `dicom://AETITLE@host:port` for DICOM's network services.

    `own_ae_title`, `own_port`: by which a DICOM archive knows this computer and where it sends images to (C-MOVE). Raises
    UsageError for another address.
    """
    parts = urlsplit(address)
    try:
        port = parts.port
    except ValueError:
        port = -1
    if parts.scheme in ("http", "https") and parts.hostname and port != -1:
        if parts.username or parts.password:
            raise UsageError(
                "Give no user name or password in the archive's address: set SCARNET_PACS_USER and SCARNET_PACS_PASSWORD."
            )
        from scarnet.pacs.dicomweb import WebArchive

        return WebArchive(address)
    if parts.scheme == "dicom" and parts.hostname and parts.username and port != -1:
        from scarnet.pacs.dimse import DimseArchive

        # urlsplit lowers a host's letters, not a user's: AE titles keep theirs.
        return DimseArchive(
            parts.hostname,
            port or DEFAULT_DICOM_PORT,
            parts.username,
            own_ae_title=own_ae_title,
            own_port=own_port,
        )
    raise UsageError(
        f"'{address}' is no archive's address; give http://host:8042/dicom-web (DICOMweb) or dicom://AETITLE@host:104."
    )
