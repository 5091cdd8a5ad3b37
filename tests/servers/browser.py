"""Opens a page of HTML in Chromium, as `browser.py PAGE [SHOTS]`, and prints what it finds as JSON: for each width, what is wider
than the window; and what the page did. With SHOTS, a folder, it also saves pictures there.

Chromium is driven over a pipe by its DevTools protocol.
"""

import base64
import json
import os
import pathlib
import subprocess
import sys
import tempfile

WIDTHS = [360, 768, 961, 1000, 1280]

# Elements that reach beyond the window or beyond what holds them, text that is cut off, and the headings in their order.
LAYOUT = """(() => {
    const root = document.documentElement, wide = [];
    const shown = element => element.getClientRects().length > 0;
    for (const element of document.body.querySelectorAll('*')) {
        if (element.closest('svg, thead') || !shown(element)) continue;
        const box = element.getBoundingClientRect();
        if (box.right > root.clientWidth + 1 || box.left < -1 || element.scrollWidth > element.clientWidth + 1 && element.clientWidth > 0 && getComputedStyle(element).display != 'inline')
            wide.push(element.tagName + '.' + element.className + ': ' + element.textContent.slice(0, 40));
    }
    const ids = [...document.querySelectorAll('[id]')].map(element => element.id);
    const links = [...document.querySelectorAll('a[href]')].map(link => link.getAttribute('href'));
    return JSON.stringify({
        window: root.clientWidth, page: root.scrollWidth, wide,
        headings: [...document.querySelectorAll('h1,h2,h3')].map(heading => +heading.tagName[1]),
        repeated: ids.filter((id, index) => ids.indexOf(id) != index),
        dead: links.filter(link => !link.startsWith('#') || !document.getElementById(link.slice(1))),
        elements: [...new Set([...document.querySelectorAll('*')].map(element => element.localName))].sort(),
        handlers: [...document.querySelectorAll('*')].flatMap(element => element.getAttributeNames()).filter(name => name.startsWith('on')),
        stacked: [...document.querySelectorAll('table.rows')].some(table => getComputedStyle(table).display == 'block'),
        title: document.title, text: document.body.innerText,
    });
})()"""


class Browser:
    """Chromium on the other end of two pipes: messages end with a zero byte."""

    def __init__(self, folder):
        command_read, self.command = os.pipe()
        self.answers, answer_write = os.pipe()
        self.buffer, self.number, self.events = b"", 0, []
        words = ["chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--remote-debugging-pipe", "--no-first-run"]
        words += [f"--user-data-dir={folder}", "about:blank"]
        shell = f'exec "$@" 3<&{command_read} 4>&{answer_write}'
        self.process = subprocess.Popen(["sh", "-c", shell, "sh", *words], pass_fds=[command_read, answer_write], stderr=subprocess.DEVNULL)
        os.close(command_read)
        os.close(answer_write)
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]

    session = None

    def receive(self):
        while b"\0" not in self.buffer:
            chunk = os.read(self.answers, 1 << 20)
            if not chunk:
                sys.exit("chromium ended")
            self.buffer += chunk
        message, self.buffer = self.buffer.split(b"\0", 1)
        return json.loads(message)

    def call(self, method, **params):
        self.number += 1
        message = {"id": self.number, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.command, json.dumps(message).encode() + b"\0")
        while True:
            answer = self.receive()
            if answer.get("id") == self.number:
                if "error" in answer:
                    sys.exit(f"{method}: {answer['error']}")
                return answer["result"]
            self.events.append(answer)

    def wait_for(self, event):
        while not any(it.get("method") == event for it in self.events):
            self.events.append(self.receive())

    def seen(self, *methods):
        return [it for it in self.events if it.get("method") in methods]

    def evaluate(self, script):
        return self.call("Runtime.evaluate", expression=script, returnByValue=True)["result"]["value"]

    def width(self, width, height):
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600)

    def scheme(self, scheme):
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def picture(self, path):
        shot = self.call("Page.captureScreenshot", captureBeyondViewport=True)["data"]
        path.write_bytes(base64.b64decode(shot))


def main():
    page, shots = pathlib.Path(sys.argv[1]).resolve(), sys.argv[2:]
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        browser = Browser(folder)
        try:
            print(json.dumps(look(browser, page, [pathlib.Path(it) for it in shots])))
        finally:
            browser.process.kill()
            browser.process.wait()


def look(browser, page, shots):
    for domain in ("Page", "Runtime", "Log", "Network"):
        browser.call(f"{domain}.enable")
    # A text that got to run would call one of these.
    trap = "window.ran = []; for (const name of ['alert', 'confirm', 'prompt', 'fetch', 'open', 'eval']) window[name] = () => ran.push(name);"
    browser.call("Page.addScriptToEvaluateOnNewDocument", source=trap)
    browser.width(1280, 900)
    browser.call("Page.navigate", url=page.as_uri())
    browser.wait_for("Page.loadEventFired")
    found = {"layouts": []}
    for width in WIDTHS:
        browser.width(width, 900)
        layout = json.loads(browser.evaluate(LAYOUT))
        found["layouts"].append(layout)
        for folder in shots:
            for scheme in ("light", "dark"):
                browser.scheme(scheme)
                browser.picture(folder / f"{width}-{scheme}.png")
    browser.scheme("")
    # Every element gets what would set a handler off, and every address is followed that is none of this page.
    browser.evaluate("for (const element of document.querySelectorAll('*')) for (const event of ['mouseover', 'click', 'focus', 'load', 'error']) element.dispatchEvent(new Event(event))")
    found["ran"] = browser.evaluate("ran")
    found["requests"] = [it["params"]["request"]["url"] for it in browser.seen("Network.requestWillBeSent")]
    found["messages"] = [it["params"] for it in browser.seen("Log.entryAdded", "Runtime.exceptionThrown", "Page.javascriptDialogOpening")]
    found["colors"] = json.loads(browser.evaluate("JSON.stringify(['limited', 'permanent', 'emergency'].map(name => getComputedStyle(document.querySelector('.legend .' + name)).fill))"))
    pdf = browser.call("Page.printToPDF", preferCSSPageSize=True)["data"]
    for folder in shots:
        (folder / "page.pdf").write_bytes(base64.b64decode(pdf))
    found["pdf"] = len(pdf)
    return found


main()
