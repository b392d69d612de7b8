"""What a browser reaches: lets in who may, gives everyone a session of their own, and passes on between the two."""

import asyncio
import contextlib
import hmac
import logging
import secrets
import time
from collections import deque
from dataclasses import dataclass
from importlib.resources import files
from urllib.parse import urlsplit

import aiohttp
from aiohttp import web

from scarnet.app.session import KEY_HEADER
from scarnet.app.visitors import Full, Visitor, Visitors

LOOPBACK = ("127.0.0.1", "localhost", "::1")
#: Wrong passwords that are heard within ATTEMPT_SECONDS, from everybody together.
ATTEMPTS, ATTEMPT_SECONDS = 10, 60.0
#: Cookies that are remembered; the oldest without a session goes first.
MAXIMUM_PEOPLE = 1000
#: Nothing from elsewhere: the page is whole without the internet. Vue compiles templates, for which it needs eval.
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
        "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self' ws: wss:; worker-src 'self' blob:; "
        "frame-ancestors 'self'; form-action 'self'; base-uri 'self'; object-src 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",  # with none at all a browser would not say either that our own form is ours
    "Cross-Origin-Resource-Policy": "same-origin",
}
_HOP_BY_HOP = {
    "connection",
    "keep-alive",
    "transfer-encoding",
    "upgrade",
    "te",
    "trailer",
    "proxy-authorization",
    "proxy-authenticate",
    "content-length",
    "host",
    "cookie",
    "set-cookie",
    "content-encoding",
    "accept-encoding",
}


@dataclass
class Person:
    """Whoever holds one cookie. `last_words`: why their last session ended."""

    visitor: Visitor | None = None
    last_words: str = ""


class Door:
    """`token`: lets in whoever has it in the address. `password`: asked for instead where it is set.

    `hosts`: names under which a browser may ask, so that no page elsewhere can reach a server of this computer under a name
    of its own; None for any.
    """

    def __init__(
        self,
        visitors: Visitors,
        *,
        token: str = "",
        password: str = "",
        hosts: tuple[str, ...] | None = LOOPBACK,
        upload_megabytes: int = 2000,
    ):
        if not token and not password:
            raise ValueError("A door without token and password is none.")
        self._visitors, self._token, self._password, self._hosts = visitors, token, password, hosts
        self._upload_bytes = upload_megabytes * 10**6
        self._people: dict[str, Person] = {}
        self._wrong: deque[float] = deque(maxlen=ATTEMPTS)
        self._client: aiohttp.ClientSession | None = None
        self.app = web.Application(middlewares=[self._guard], client_max_size=64 * 1024)
        self.app.router.add_get("/scarnet/status", self._status)
        self.app.router.add_post("/scarnet/login", self._login)
        self.app.router.add_get("/", self._enter)
        self.app.router.add_get("/index.html", self._enter)
        self.app.router.add_get("/ws", self._websocket)
        self.app.router.add_route("*", "/{path:.*}", self._pass_on)
        self.app.on_startup.append(self._on_startup)
        self.app.on_cleanup.append(self._on_cleanup)

    async def _on_startup(self, app) -> None:
        self._client = aiohttp.ClientSession(auto_decompress=False)
        self._visitors.start()

    async def _on_cleanup(self, app) -> None:
        await self._visitors.stop()
        await self._client.close()

    # --- who may come in ---------------------------------------------------------------------------------------------

    @web.middleware
    async def _guard(self, request: web.Request, handler) -> web.StreamResponse:
        host = urlsplit(f"//{request.headers.get('Host', '')}")
        if self._hosts is not None and host.hostname not in self._hosts:
            return self._plain(403, "This server does not answer under that name.")
        origin = request.headers.get("Origin")
        if origin and origin != "null" and urlsplit(origin).netloc != request.headers.get("Host"):
            return self._plain(403, "Another site asked for this.")
        if origin is None and request.path == "/ws" or origin == "null":
            return self._plain(403, "Only this server's own page may ask for this.")
        response = await handler(request)
        if not response.prepared:
            response.headers.update(HEADERS)
        return response

    def _cookie(self, request: web.Request) -> str:
        """Cookies know no ports: the name has it, so that two servers of one computer do not take each other's."""
        return f"scarnet_{request.url.port or 0}"

    def _person(self, request: web.Request) -> Person | None:
        return self._people.get(request.cookies.get(self._cookie(request), ""))

    def _welcome(self, request: web.Request) -> web.Response:
        """A new cookie, and the page's address without the token: it is not left in the history."""
        if self._person(request) is None:
            if len(self._people) >= MAXIMUM_PEOPLE:
                idle = next((c for c, p in self._people.items() if p.visitor is None or p.visitor.ended), None)
                if idle is None:
                    return self._plain(503, "Too many people are here.")
                del self._people[idle]
            cookie = secrets.token_urlsafe(32)
            self._people[cookie] = Person()
            response = web.Response(status=303, headers={"Location": "/"})
            response.set_cookie(
                self._cookie(request), cookie, httponly=True, samesite="Strict", secure=request.secure, path="/"
            )
            return response
        return web.Response(status=303, headers={"Location": "/"})

    async def _login(self, request: web.Request) -> web.Response:
        now = time.monotonic()
        if len(self._wrong) == ATTEMPTS and now - self._wrong[0] < ATTEMPT_SECONDS:
            return self._plain(429, "Too many wrong passwords; wait a minute.")
        given = str((await request.post()).get("password", ""))
        if self._password and hmac.compare_digest(given.encode(), self._password.encode()):
            return self._welcome(request)
        self._wrong.append(now)
        await asyncio.sleep(0.5)
        return self._page(403, _LOGIN.replace("<!--wrong-->", "<p>That is not the password.</p>"))

    async def _enter(self, request: web.Request) -> web.StreamResponse:
        token = request.query.get("token")
        if self._token and token is not None:
            if hmac.compare_digest(token.encode(), self._token.encode()):
                return self._welcome(request)
            return self._plain(
                403, "The token in the address is not the right one: use the address that scarnet app shows."
            )
        person = self._person(request)
        if person is None:
            if self._password:
                return self._page(200, _LOGIN)
            return self._plain(403, "Use the whole address that scarnet app shows, with its token.")
        if person.visitor is None or person.visitor.ended:
            try:
                person.visitor = self._visitors.admit()
            except Full as error:
                return self._page(503, _WAIT.replace("<!--text-->", str(error)).replace("/*poll*/", ""))
            person.last_words = ""
        person.visitor.touch()
        if not person.visitor.ready:
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(person.visitor.started.wait(), 1.0)
        if person.visitor.ended:
            return self._plain(500, person.visitor.ended)
        if not person.visitor.ready:
            return self._page(200, _WAIT.replace("<!--text-->", "Starting your session …").replace("/*poll*/", _POLL))
        return await self._pass_on(request)

    async def _status(self, request: web.Request) -> web.Response:
        """For the page: whether its session lives. Asking is no sign of life."""
        person = self._person(request)
        visitor = None if person is None else person.visitor
        if visitor is None:
            state = {"state": "ended", "reason": "There is no session."}
        elif visitor.ended:
            state = {"state": "ended", "reason": visitor.ended}
        else:
            state = {"state": "ready" if visitor.ready else "starting"}
        return web.json_response(state, headers={"Cache-Control": "no-store"})

    # --- between browser and session ---------------------------------------------------------------------------------

    def _visitor(self, request: web.Request) -> Visitor:
        person = self._person(request)
        if person is None:
            raise web.HTTPForbidden(text="Use the whole address that scarnet app shows.")
        if person.visitor is None or not person.visitor.ready:
            raise web.HTTPGone(text="The session has ended; load the page again.")
        return person.visitor

    async def _pass_on(self, request: web.Request) -> web.StreamResponse:
        visitor = self._visitor(request)
        if request.method not in ("GET", "HEAD", "POST"):
            raise web.HTTPMethodNotAllowed(request.method, ["GET", "HEAD", "POST"])
        if (request.content_length or 0) > self._upload_bytes + 10**6:
            limit = self._upload_bytes // 10**6
            raise web.HTTPRequestEntityTooLarge(
                self._upload_bytes, request.content_length, text=f"More than {limit} MB cannot be sent at once."
            )
        path = "/index.html" if request.path == "/" else request.rel_url.raw_path
        visitor.touch()
        headers = {k: v for k, v in request.headers.items() if k.lower() not in _HOP_BY_HOP}
        headers[KEY_HEADER] = visitor.key
        try:
            async with self._client.request(
                request.method,
                f"http://127.0.0.1:{visitor.port}{path}",
                params=request.query,
                headers=headers,
                data=request.content if request.method == "POST" else None,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=10),
            ) as answer:
                kept = {k: v for k, v in answer.headers.items() if k.lower() not in _HOP_BY_HOP}
                response = web.StreamResponse(status=answer.status, headers={**kept, **HEADERS})
                response.content_length = answer.content_length
                await response.prepare(request)
                async for chunk in answer.content.iter_chunked(1 << 16):
                    await response.write(chunk)
                await response.write_eof()
                return response
        except (aiohttp.ClientError, ConnectionError) as error:
            logging.info("A session did not answer (%s)", type(error).__name__)
            raise web.HTTPBadGateway(text="The session does not answer; load the page again.") from error

    async def _websocket(self, request: web.Request) -> web.StreamResponse:
        visitor = self._visitor(request)
        outside = web.WebSocketResponse(max_msg_size=8 * 2**20, heartbeat=30, compress=False)
        async with self._client.ws_connect(
            f"ws://127.0.0.1:{visitor.port}/ws", headers={KEY_HEADER: visitor.key}, max_msg_size=0, compress=0
        ) as inside:
            await outside.prepare(request)

            async def inwards():
                async for message in outside:
                    visitor.touch()
                    await _relay(message, inside)

            async def outwards():
                async for message in inside:
                    await _relay(message, outside)

            tasks = [asyncio.create_task(inwards()), asyncio.create_task(outwards())]
            try:
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
                await outside.close()
        return outside

    # --- own pages ---------------------------------------------------------------------------------------------------

    def _plain(self, status: int, text: str) -> web.Response:
        return web.Response(status=status, text=text + "\n", headers=HEADERS)

    def _page(self, status: int, html: str) -> web.Response:
        return web.Response(status=status, text=html, content_type="text/html", headers={"Cache-Control": "no-store"})


async def _relay(message: aiohttp.WSMessage, to) -> None:
    if message.type == aiohttp.WSMsgType.TEXT:
        await to.send_str(message.data)
    elif message.type == aiohttp.WSMsgType.BINARY:
        await to.send_bytes(message.data)


def _static(name: str) -> str:
    return (files("scarnet.app") / "static" / name).read_text(encoding="utf-8")


_WAIT, _LOGIN = _static("wait.html"), _static("login.html")
_POLL = """setInterval(async () => {
  const answer = await (await fetch("/scarnet/status", { cache: "no-store" })).json();
  if (answer.state !== "starting") window.location.reload();
}, 500);"""
