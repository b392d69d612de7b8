"""`scarnet app`: checks what it needs, opens the door and waits there."""

import asyncio
import importlib.util
import ipaddress
import os
import secrets
import socket
import webbrowser
from collections.abc import Callable
from pathlib import Path

from scarnet.errors import ScarNetError, UsageError
from scarnet.pacs import archive_at

DEFAULT_PORT = 8765
#: The password for another interface than 127.0.0.1, when it is not in a file.
PASSWORD_VARIABLE = "SCARNET_APP_PASSWORD"
SHORTEST_PASSWORD = 8


def check_packages() -> None:
    """Raise ScarNetError, saying what to install, where the app's packages are not there."""
    missing = [
        name for name in ("trame_slicer", "slicer", "aiohttp", "psutil") if importlib.util.find_spec(name) is None
    ]
    if missing:
        raise ScarNetError(
            f"The browser app needs more packages ({', '.join(missing)}): pip install 'slicer-scarnet[app]'."
        )


def read_password(host: str, file: Path | None) -> str:
    """The password to ask for; "" where none is needed. Raises UsageError where one is needed and not given, or too short."""
    password = ""
    if file is not None:
        try:
            password = Path(file).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(
                f"The password file cannot be read ({type(error).__name__}); give a file with one line."
            ) from error
    else:
        password = os.environ.get(PASSWORD_VARIABLE, "").strip()
    if not is_loopback(host) and not password:
        raise UsageError(
            f"--host {host} lets other computers in: give a password in --password-file or {PASSWORD_VARIABLE}, and put "
            "encryption (a reverse proxy with TLS) before it."
        )
    if password and len(password) < SHORTEST_PASSWORD:
        raise UsageError(f"The password has fewer than {SHORTEST_PASSWORD} characters; choose a longer one.")
    return password


def is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def listen(host: str, port: int | None) -> socket.socket:
    """A listening socket; without `port` DEFAULT_PORT, or any free one where that is taken. Raises UsageError."""
    for number in [port] if port is not None else [DEFAULT_PORT, 0]:
        try:
            return socket.create_server((host, number), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
        except OSError as error:
            reason = error.strerror or str(error)
    raise UsageError(f"Nothing can listen on {host}, port {port or DEFAULT_PORT} ({reason}); give another --port.")


def serve(
    lge: Path | None = None,
    *,
    host: str = "127.0.0.1",
    port: int | None = None,
    password_file: Path | None = None,
    archive: str | None = None,
    visitors: int = 4,
    memory_mb: int = 4000,
    idle_minutes: float = 30.0,
    upload_mb: int = 2000,
    open_browser: bool = True,
    say: Callable[[str], None] = print,
) -> None:
    """Serve until interrupted. `lge`: a series to open at once. `archive`: a DICOMweb address. Raises ScarNetError."""
    check_packages()
    from aiohttp import web

    from scarnet.app.door import LOOPBACK, Door
    from scarnet.app.graphics import check_graphics
    from scarnet.app.uploads import UploadLimits
    from scarnet.app.visitors import Limits, Visitors

    if lge is not None and not Path(lge).exists():
        raise UsageError(f"{lge} does not exist; give a DICOM folder or an image file.")
    local = is_loopback(host)
    if lge is not None and not local:
        raise UsageError("A series to open at once would be everybody's: give LGE only without --host.")
    password = read_password(host, password_file)
    if archive is not None:
        if not archive.startswith(("http://", "https://")):
            raise UsageError("The page's archive speaks DICOMweb: give --archive http://host:8042/dicom-web.")
        archive_at(archive)
    environment = check_graphics()
    limits = Limits(visitors, memory_mb, idle_minutes, UploadLimits(megabytes=upload_mb))
    job = {"open": None if lge is None else str(Path(lge).resolve()), "archive": archive}
    token = "" if password else secrets.token_urlsafe(24)
    door = Door(
        Visitors(limits, job=job, environment=environment),
        token=token,
        password=password,
        hosts=(*LOOPBACK, host) if local else None,
        upload_megabytes=upload_mb,
    )
    sock = listen(host, port)
    name = f"[{host}]" if ":" in host else host
    address = f"http://{name}:{sock.getsockname()[1]}/" + (f"?token={token}" if token else "")

    async def ready(app) -> None:
        say(f"ScarNet is at {address}\nFor research use only. End with Ctrl+C; what was not exported goes then.")
        if open_browser and local:
            await asyncio.to_thread(webbrowser.open, address)

    door.app.on_startup.append(ready)
    web.run_app(door.app, sock=sock, print=None, access_log=None, shutdown_timeout=2)
