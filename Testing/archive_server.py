"""A real archive for tests: Debian's Orthanc with its DICOMweb plugin, on free ports, with a storage of its own."""

import contextlib
import json
import shutil
import socket
import subprocess
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import pytest


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


@dataclass(frozen=True)
class ArchiveServer:
    """`own_port`: where it sends images to when SCARNET asks (C-MOVE)."""

    http: int
    dicom: int
    own_port: int

    @property
    def web(self) -> str:
        return f"http://127.0.0.1:{self.http}/dicom-web"

    @property
    def dimse(self) -> str:
        return f"dicom://ARCHIVE@127.0.0.1:{self.dicom}"

    def ask(self, path: str, data: bytes | None = None) -> bytes:
        request = urllib.request.Request(f"http://127.0.0.1:{self.http}{path}", data=data)
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.read()


def installed() -> tuple[str, str] | None:
    """Orthanc and its DICOMweb plugin, where Debian puts them."""
    program = shutil.which("Orthanc") or shutil.which("Orthanc", path="/usr/sbin")
    plugins = sorted(Path("/usr/lib/orthanc").glob("libOrthancDicomWeb*"))
    return (program, str(plugins[0])) if program and plugins else None


@contextlib.contextmanager
def archive_server(folder: Path):
    if (found := installed()) is None:
        pytest.skip(
            "ORTHANC WITH DICOMWEB IS NOT INSTALLED (apt install orthanc orthanc-dicomweb): NO ARCHIVE WAS ASKED"
        )
    program, plugin = found
    server = ArchiveServer(free_port(), free_port(), free_port())
    (folder / "orthanc.json").write_text(
        json.dumps(
            {
                "StorageDirectory": str(folder / "storage"),
                "IndexDirectory": str(folder / "storage"),
                "HttpPort": server.http,
                "DicomPort": server.dicom,
                "DicomAet": "ARCHIVE",
                "RemoteAccessAllowed": False,
                "AuthenticationEnabled": False,
                "DicomAlwaysAllowFind": True,
                "DicomAlwaysAllowMove": True,
                "DicomModalities": {"scarnet": ["SCARNET", "127.0.0.1", server.own_port]},
                "Plugins": [plugin],
                "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
            }
        ),
        encoding="utf-8",
    )
    with (folder / "log.txt").open("w") as log:
        process = subprocess.Popen([program, str(folder / "orthanc.json")], stdout=log, stderr=log, cwd=folder)
    try:
        for _ in range(200):
            try:
                server.ask("/system")
                break
            except OSError:
                assert process.poll() is None, (folder / "log.txt").read_text()
                time.sleep(0.1)
        else:
            pytest.fail((folder / "log.txt").read_text())
        yield server
    finally:
        process.terminate()
        process.wait(timeout=20)
