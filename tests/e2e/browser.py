# SPDX-License-Identifier: MIT
"""Headless Chromium, driven over WebDriver with only the standard library."""
import base64
import http.client
import json
import os
import re
import subprocess

from harness import wait_for

ARGUMENTS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
             "--disable-background-networking", "--disable-component-update", "--disable-sync",
             "--disable-default-apps", "--disable-extensions", "--disable-dev-shm-usage",
             "--hide-scrollbars", "--no-proxy-server", "--force-color-profile=srgb")


class Browser:
    """One browser with an empty profile. It ends with the test."""

    def __init__(self, t, width=1280, height=900):
        t.need("chromium", "chromedriver")
        profile = os.path.join(t.scratch, f"browser{len(t.processes)}")
        os.mkdir(profile)
        self.driver = t.start("chromedriver", "--port=0", shim=False, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT,
                              env={"HOME": profile, "TMPDIR": profile, "XDG_CONFIG_HOME": profile,
                                   "XDG_CACHE_HOME": profile, "http_proxy": "", "no_proxy": "*"})
        port = None
        for line in self.driver.stdout:
            port = re.search(rb"started successfully on port (\d+)", line)
            if port:
                break
        assert port, "chromedriver does not start"
        self.port = int(port[1])
        self.session = ""
        made = self._ask("POST", "/session", {"capabilities": {"alwaysMatch": {
            "browserName": "chrome",
            "goog:loggingPrefs": {"browser": "ALL"},
            "timeouts": {"script": 60000, "pageLoad": 60000},
            "goog:chromeOptions": {
                "binary": "/usr/bin/chromium",
                "args": [*ARGUMENTS, f"--user-data-dir={profile}/profile",
                         f"--window-size={width},{height}"]}}}})
        self.session = f"/session/{made['sessionId']}"

    def _ask(self, method, path, body=None):
        """WebDriver's answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=100)
        connection.request(method, path, json.dumps(body) if body is not None else None,
                           {"Content-Type": "application/json"})
        value = json.loads(connection.getresponse().read())["value"]
        connection.close()
        if isinstance(value, dict) and "error" in value:
            raise AssertionError(f"{value['error']}: {value['message'][:600]}")
        return value

    def open(self, address):
        """Loads a page."""
        self._ask("POST", self.session + "/url", {"url": address})

    def run(self, script, *arguments):
        """The return value of a script in the page."""
        return self._ask("POST", self.session + "/execute/sync",
                         {"script": script, "args": list(arguments)})

    def text(self, name):
        """The text of an element, by its id, whether it is shown or not."""
        return self.run("return document.getElementById(arguments[0])?.textContent", name)

    def number(self, name):
        """The text of an element as a number; None if it is not a number."""
        text = (self.text(name) or "").replace(",", "")
        return int(text) if re.fullmatch(r"\d+", text) else None

    def wait(self, condition, what=None, seconds=60):
        """Waits until an expression of the page is true. Returns its value."""
        got = []

        def holds():
            got[:] = [self.run(f"return {condition}")]
            return got[0]
        wait_for(holds, what or condition, seconds)
        return got[0]

    def console(self):
        """The console messages of our pages since the last call."""
        return [entry["message"] for entry in
                self._ask("POST", self.session + "/se/log", {"type": "browser"})
                if not entry["message"].startswith("chrome://")]

    def devtools(self, command, **parameters):
        """A command of the DevTools protocol."""
        return self._ask("POST", self.session + "/goog/cdp/execute",
                         {"cmd": command, "params": parameters})

    def minimize(self):
        """Hides its pages."""
        self._ask("POST", self.session + "/window/minimize", {})

    def restore(self, width=1280, height=900):
        """Shows its pages again."""
        self._ask("POST", self.session + "/window/rect",
                  {"x": 0, "y": 0, "width": width, "height": height})

    def size(self, width, height, mobile=False):
        """Sets the size of the screen."""
        self.devtools("Emulation.setDeviceMetricsOverride", width=width, height=height,
                      deviceScaleFactor=1, mobile=mobile)

    def scheme(self, name):
        """"light" or "dark"."""
        self.devtools("Emulation.setEmulatedMedia",
                      features=[{"name": "prefers-color-scheme", "value": name}])

    def screenshot(self, path, whole=False):
        """Takes a PNG of the visible part, or of the whole page."""
        shot = self.devtools("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        with open(path, "wb") as file:
            file.write(base64.b64decode(shot["data"]))

    def close(self):
        """Ends the browser."""
        self._ask("DELETE", self.session)
        self.driver.terminate()
        self.driver.wait()
