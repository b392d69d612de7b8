"""Who gets in at `scarnet app`: token, password, names and origins; and nobody past the door. Sessions here are bare web servers."""

import asyncio
import sys
import threading

import pytest

aiohttp = pytest.importorskip("aiohttp", reason="AIOHTTP IS NOT INSTALLED (.[app]): THE APP'S DOOR WAS NOT TESTED")
pytest.importorskip("psutil", reason="PSUTIL IS NOT INSTALLED (.[app]): THE APP'S DOOR WAS NOT TESTED")

from aiohttp import web  # noqa: E402

from scarnet.app.door import ATTEMPTS, LOOPBACK, Door  # noqa: E402
from scarnet.app.session import KEY_HEADER  # noqa: E402
from scarnet.app.visitors import Limits, Visitors  # noqa: E402

#: Says who asked: the key it was given, and what arrived.
SESSION = """
import json, os, sys, threading
from aiohttp import WSMsgType, web
job = json.loads(sys.stdin.buffer.readline())
async def page(request):
    if request.headers.get("X-ScarNet-Key") != job["key"]:
        return web.Response(status=403)
    body = await request.read()
    return web.json_response({"path": request.path, "query": dict(request.query), "folder": job["folder"],
        "cookie": request.headers.get("Cookie"), "bytes": len(body)}, headers={"Set-Cookie": "mine=1"})
async def echo(request):
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    async for message in socket:
        await (socket.send_str(message.data[::-1]) if message.type == WSMsgType.TEXT else socket.send_bytes(message.data))
    return socket
async def main():
    import asyncio
    app = web.Application(client_max_size=0)
    app.router.add_get("/ws", echo)
    app.router.add_route("*", "/{path:.*}", page)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(json.dumps({"port": runner.addresses[0][1]}), flush=True)
    await asyncio.Event().wait()
threading.Thread(target=lambda: (os.read(0, 1), os._exit(0)), daemon=True).start()
import asyncio
asyncio.run(main())
"""


@pytest.fixture
def at_the_door():
    def run(scenario, *, visitors=2, **door):
        async def whole():
            everyone = Visitors(Limits(visitors=visitors), command=(sys.executable, "-c", SESSION))
            runner = web.AppRunner(Door(everyone, **door).app)
            await runner.setup()
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            address = f"http://127.0.0.1:{runner.addresses[0][1]}"
            try:
                await asyncio.wait_for(scenario(address), 60)
            finally:
                await runner.cleanup()

        asyncio.run(whole())

    return run


def person():
    """With a cookie jar of their own, which keeps cookies of an IP address too, as browsers do."""
    return aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True))


async def page(browser, url):
    """What the session's page says, once it has started."""
    while True:
        async with browser.get(url) as answer:
            assert answer.status == 200, await answer.text()
            if answer.content_type == "application/json":
                return await answer.json(), answer
        await asyncio.sleep(0.05)


def test_the_token_lets_in_and_is_gone_from_the_address(at_the_door):
    async def scenario(address):
        async with person() as anna, person() as ben, person() as eve:
            for path in ("/", "/?token=", "/?token=wrong", "/mosaic.jpg", "/index.html", "/files"):
                async with eve.get(address + path) as answer:
                    assert answer.status == 403
            async with anna.get(address + "/?token=secret", allow_redirects=False) as answer:
                assert answer.status == 303 and answer.headers["Location"] == "/"
                cookie = answer.headers["Set-Cookie"]
                assert "HttpOnly" in cookie and "SameSite=Strict" in cookie and "secret" not in cookie
            hers, answer = await page(anna, address + "/")
            assert hers["path"] == "/index.html" and hers["cookie"] is None and "mine" not in answer.cookies
            policy = answer.headers["Content-Security-Policy"]
            assert "default-src 'self'" in policy and "http" not in policy.replace("https", "")
            again, _ = await page(anna, address + "/?token=secret")  # the address opened once more: the same session
            his, _ = await page(ben, address + "/?token=secret")
            assert again["folder"] == hers["folder"] != his["folder"]
            found, _ = await page(anna, address + "/export.zip?v=3")
            assert found["path"] == "/export.zip" and found["query"] == {"v": "3"}

    at_the_door(scenario, token="secret")


def test_no_other_name_and_no_other_site(at_the_door):
    async def scenario(address):
        async with person() as anna:
            await page(anna, address + "/?token=secret")
            host = address.removeprefix("http://")
            for headers in (
                {"Host": "evil.example"},
                {"Host": f"evil.example:{host.split(':')[1]}"},
                {"Origin": "http://evil.example"},
                {"Origin": "null"},
                {"Origin": f"https://{host}.evil.example"},
            ):
                async with anna.post(address + "/files", headers=headers, data=b"x") as answer:
                    assert answer.status == 403, headers
            async with anna.post(address + "/files", headers={"Origin": address}, data=b"x" * 100_000) as answer:
                assert (await answer.json())["bytes"] == 100_000
            for origin in (None, "http://evil.example"):
                with pytest.raises(aiohttp.WSServerHandshakeError):
                    await anna.ws_connect(address + "/ws", origin=origin)
            async with anna.ws_connect(address + "/ws", origin=address) as socket:
                await socket.send_str("abc")
                assert await socket.receive_str(timeout=10) == "cba"
                await socket.send_bytes(bytes(range(256)) * 5000)
                assert await socket.receive_bytes(timeout=10) == bytes(range(256)) * 5000

    at_the_door(scenario, token="secret")


def test_a_large_upload_is_refused_before_it_is_read(at_the_door):
    async def scenario(address):
        async with person() as anna:
            await page(anna, address + "/?token=secret")
            async with anna.post(address + "/files", headers={"Origin": address}, data=bytes(3 * 10**6)) as answer:
                assert answer.status == 413 and "More than 1 MB" in await answer.text()
            async with anna.put(address + "/files", headers={"Origin": address}) as answer:
                assert answer.status == 405

    at_the_door(scenario, token="secret", upload_megabytes=1)


def test_the_password_is_asked_for_and_guessing_is_slow(at_the_door, monkeypatch):
    async def scenario(address):
        async with person() as anna, person() as eve:
            async with eve.get(address + "/") as answer:
                assert 'type="password"' in await answer.text()
            async with eve.get(address + "/?token=") as answer:
                assert 'type="password"' in await answer.text()
            async with eve.get(address + "/mosaic.jpg") as answer:
                assert answer.status == 403
            async with anna.post(address + "/scarnet/login", data={"password": "correct horse"}) as answer:
                assert answer.status == 200  # after the way to the page
            hers, _ = await page(anna, address + "/")
            assert hers["path"] == "/index.html"
            guesses = [eve.post(address + "/scarnet/login", data={"password": f"guess {n}"}) for n in range(ATTEMPTS)]
            statuses = [answer.status for answer in await asyncio.gather(*guesses)]
            assert statuses == [403] * ATTEMPTS
            async with eve.post(address + "/scarnet/login", data={"password": "correct horse"}) as answer:
                assert answer.status == 429
            await page(anna, address + "/")  # who is in stays in

    at_the_door(scenario, password="correct horse", hosts=None)


def test_a_session_hears_the_door_alone():
    """The real session's own guard, on a page of its own."""
    from scarnet.app.session import only_the_door

    async def scenario():
        async def page(request):
            return web.Response(text="image")

        app = web.Application(middlewares=[only_the_door("key")])
        app.router.add_get("/", page)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}/"
        async with aiohttp.ClientSession() as client:
            for headers, status in (({}, 403), ({KEY_HEADER: "kay"}, 403), ({KEY_HEADER: "key"}, 200)):
                async with client.get(url, headers=headers) as answer:
                    assert answer.status == status
        await runner.cleanup()

    asyncio.run(scenario())


def test_a_browser_can_log_in():
    """Browsers decide by policies what they say of their own page: the form must still be known as ours."""
    playwright = pytest.importorskip("playwright.sync_api", reason="PLAYWRIGHT IS NOT INSTALLED: NO BROWSER LOGGED IN")
    from app_server import CHROMIUM_ARGUMENTS, chromium

    program = chromium()
    everyone = Visitors(Limits(visitors=1), command=(sys.executable, "-c", SESSION))
    loop, started, found = asyncio.new_event_loop(), threading.Event(), {}

    async def serve():
        runner = web.AppRunner(Door(everyone, password="correct horse", hosts=LOOPBACK).app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        found.update(port=runner.addresses[0][1], end=asyncio.Event())
        started.set()
        await found["end"].wait()
        await runner.cleanup()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()))
    thread.start()
    assert started.wait(20)
    try:
        with playwright.sync_playwright() as control:
            browser = control.chromium.launch(executable_path=program, args=CHROMIUM_ARGUMENTS)
            page = browser.new_page()
            page.goto(f"http://127.0.0.1:{found['port']}/")
            page.fill("input", "wrong")
            page.click("button")
            page.wait_for_selector("text=not the password")
            page.fill("input", "correct horse")
            page.click("button")
            page.wait_for_selector("text=/index.html")  # what the bare session says
            browser.close()
    finally:
        loop.call_soon_threadsafe(found["end"].set)
        thread.join(20)
