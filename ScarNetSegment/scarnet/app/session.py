"""One visitor's process: their scene and page on a port of 127.0.0.1 that only the door can use.

Started by `scarnet.app.visitors` with a JSON job on standard input; says its port on standard output. It ends when standard
input closes, as it does when the door is gone: an orphan would keep a patient's images in memory unseen.
"""

import asyncio
import contextlib
import hmac
import json
import os
import shutil
import sys
import tempfile
import threading
import zipfile
from pathlib import Path

from aiohttp import web

from scarnet.app.uploads import CHUNK_BYTES, NO_ROOM, Upload, UploadLimits
from scarnet.errors import InputError, ScarNetError
from scarnet.files import no_room
from scarnet.pacs import archive_at

#: The header by which the door shows that it is the door.
KEY_HEADER = "X-ScarNet-Key"


class Session:
    """The page's server: trame's own routes, and files in and out.

    `job`: `key`, `folder` (private, removed by the door, or by this process where the door is gone), `upload` (UploadLimits), `archive` (DICOMweb address or None), `open`
    (a path to open at once, or None).
    """

    def __init__(self, job: dict):
        from trame.app import get_server

        from scarnet.app.page import Page
        from scarnet.app.workbench import Workbench

        self._key, self._folder = job["key"], Path(job["folder"])
        self._limits = UploadLimits(**job.get("upload", {}))
        self._upload: Upload | None = None
        self._exports: dict[str, Path] = {}  # of the stack that is shown, by name
        self._first = job.get("open")
        self.server = get_server("scarnet", client_type="vue3")
        self.workbench = Workbench(on_change=lambda: self.page and self.page.show())
        self.page: Page | None = None
        self.page = Page(
            self.server,
            self.workbench,
            export=self._export,
            forget=self._forget_exports,
            archive=archive_at(job["archive"]) if job.get("archive") else None,
            folder=lambda prefix: Path(tempfile.mkdtemp(prefix=prefix, dir=self._folder)),
        )
        self.server.controller.on_server_bind.add(self._add_routes)
        self.server.controller.on_server_ready.add(self._ready)

    def run(self) -> None:
        self.server.start(
            port=0, host="127.0.0.1", open_browser=False, show_connection_info=False, timeout=0, disable_logging=True
        )

    def _ready(self, **_) -> None:
        _say({"port": self.server.port})
        loop = asyncio.get_event_loop()
        self._following = loop.create_task(self.page.follow())
        if self._first:
            self._opening = loop.create_task(self._open_first(Path(self._first)))

    async def _open_first(self, path: Path) -> None:
        files = [p for p in path.rglob("*") if p.is_file()] if path.is_dir() else [path]
        await self._open(files)

    # --- routes ------------------------------------------------------------------------------------------------------

    def _add_routes(self, wslink_server) -> None:
        app = wslink_server.app
        app._client_max_size = 0  # bodies are read in pieces and counted here
        app.middlewares.append(only_the_door(self._key))
        app.router.add_post("/files", self._receive)
        app.router.add_get("/export.zip", self._send_export)
        app.router.add_get("/mosaic.jpg", self._send_mosaic)

    async def _receive(self, request: web.Request) -> web.Response:
        """Files of one choice or drop, sent as a form; they replace what was sent before once they can be read."""
        upload = Upload(self._folder, self._limits)
        try:
            reader = await request.multipart()
            while (part := await reader.next()) is not None:
                with upload.new_file(part.filename or "file") as file:
                    while chunk := await part.read_chunk(CHUNK_BYTES):
                        upload.write(file, chunk)
            files = await asyncio.to_thread(upload.files)
        except InputError as error:
            upload.remove()
            return web.Response(status=413, text=str(error))
        except (OSError, ValueError, AssertionError) as error:
            upload.remove()
            if no_room(error):
                return web.Response(status=507, text=NO_ROOM)
            return web.Response(status=400, text="The files did not arrive whole; send them again.")
        asyncio.get_running_loop().create_task(self._open_upload(upload, files))
        return web.Response(text="received")

    async def _open_upload(self, upload: Upload, files: list[Path]) -> None:
        if await self._open(files):
            if self._upload is not None:
                self._upload.remove()
            self._upload = upload
        else:
            upload.remove()

    async def _open(self, files: list[Path]) -> bool:
        """Whether `files` could be opened; the page says why not."""
        from scarnet.app.page import log_failure

        try:
            await self.page.open(files, "LGE")
        except ScarNetError as error:
            self.page.say("error", str(error).replace(str(self._folder), ""))
            return False
        except Exception as error:
            log_failure("reading an upload", error)
            self.page.say("error", "These files could not be read; is this an LGE short-axis stack?")
            return False
        finally:
            self.page.show()
        return True

    def _export(self, dicom: bool, scene: bool) -> str:
        """Everything that the command line exports, as one zip in the private folder; returns its name."""
        folder = self.workbench.export(self._folder, dicom=dicom, scene=scene)
        try:
            part = self._folder / "export.part"
            with zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as archive:
                for path in sorted(folder.iterdir()):
                    archive.write(path, f"{folder.name}/{path.name}")
            path = self._folder / f"{folder.name}.zip"
            os.replace(part, path)
            self._exports[path.name] = path
            return path.name
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _forget_exports(self) -> None:
        """Nobody who looks at one patient is given another's."""
        for path in self._exports.values():
            with contextlib.suppress(OSError):  # somebody's download, on Windows: it goes with the session
                path.unlink()
        self._exports.clear()

    async def _send_export(self, request: web.Request) -> web.StreamResponse:
        path = self._exports.get(request.query.get("name", ""))
        if path is None:
            raise web.HTTPNotFound(text="There is no such export of what is open.")
        headers = {"Content-Disposition": f'attachment; filename="{path.name}"', "Cache-Control": "private, no-store"}
        return web.FileResponse(path, headers=headers)

    async def _send_mosaic(self, request: web.Request) -> web.Response:
        if not self.page.mosaic_jpeg:
            raise web.HTTPNotFound(text="Nothing is open.")
        return web.Response(
            body=self.page.mosaic_jpeg, content_type="image/jpeg", headers={"Cache-Control": "private, no-store"}
        )


def only_the_door(key: str):
    """Middleware that refuses whoever does not know `key`: other users of this computer can reach the port too."""

    @web.middleware
    async def guard(request: web.Request, handler):
        if not hmac.compare_digest(request.headers.get(KEY_HEADER, "").encode(), key.encode()):
            raise web.HTTPForbidden(text="This address is for the program itself.")
        return await handler(request)

    return guard


def _say(event: dict) -> None:
    os.write(1, (json.dumps(event) + "\n").encode())


def _end_with_stdin(folder: str) -> None:
    while os.read(0, 1024):
        pass
    shutil.rmtree(folder, ignore_errors=True)  # a door that was killed cannot
    os._exit(0)


def main() -> int:
    line = sys.stdin.buffer.readline()
    job = json.loads(line)
    threading.Thread(target=_end_with_stdin, args=(job["folder"],), daemon=True).start()
    sys.argv = sys.argv[:1]  # trame reads options of its own from there
    try:
        session = Session(job)
    except ImportError as error:
        _say({"error": f"A package is missing ({error.name}): pip install 'slicer-scarnet[app]'."})
        return 1
    session.run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
