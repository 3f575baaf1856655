"""Pages in a browser: on a phone and on a wide screen, no table, code or picture is cut off.

Needs Chromium; without one the tests are skipped.
"""

import functools
import http.server
import json
import queue
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from processes import HANG

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "chrome"))), None)
DRIVER = """<!doctype html><body><script>
const wide = new Set(["CODE", "TABLE", "IMG", "svg"]);
async function look(page, width) {
  const frame = document.createElement("iframe");
  frame.style = `width:${width}px;height:900px;border:0`;
  const loaded = new Promise(done => frame.onload = done);
  frame.src = page;
  document.body.append(frame);
  await loaded;
  const inside = frame.contentDocument, found = [];
  for (const each of inside.querySelectorAll("article *")) {
    if (!wide.has(each.tagName)) continue;
    const cut = each.scrollWidth > each.clientWidth + 1 && each.clientWidth > 0;
    const out = each.getBoundingClientRect().right > width + 1;
    if (cut && each.tagName != "IMG" || out)
      found.push(each.tagName + " " + each.textContent.replace(/\\s+/g, " ").slice(0, 50));
  }
  const sideways = inside.documentElement.scrollWidth - inside.documentElement.clientWidth;
  if (sideways > 0) found.push(`the page is ${sideways} pixels too wide`);
  frame.remove();
  return found;
}
(async () => {
  const found = {};
  for (const width of [400, 1400])
    for (const page of PAGES) found[`${page}, ${width} wide`] = await look(page, width);
  await fetch("/found", {method: "POST", body: JSON.stringify(found)});
})();
</script>"""


class Pages(http.server.SimpleHTTPRequestHandler):
    """Serves a folder, and keeps what is posted to it."""

    posted: queue.SimpleQueue[str]

    def do_POST(self) -> None:
        self.posted.put(self.rfile.read(int(self.headers["Content-Length"])).decode())
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(site: Path) -> Iterator[http.server.ThreadingHTTPServer]:
    Pages.posted = queue.SimpleQueue()
    handler = functools.partial(Pages, directory=str(site))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium")
def test_nothing_is_cut_off(
    site: Path, server: http.server.ThreadingHTTPServer, tmp_path: Path
) -> None:
    pages = sorted(path.name for path in site.glob("*.html") if path.name != "404.html")
    (site / "driver.html").write_text(DRIVER.replace("PAGES", json.dumps(pages)))
    browser = subprocess.Popen(
        [
            str(CHROMIUM),
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--remote-debugging-port=0",
            f"--user-data-dir={tmp_path}",
            "--window-size=1500,1000",
            f"http://127.0.0.1:{server.server_port}/driver.html",
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        found = json.loads(Pages.posted.get(timeout=HANG))
    finally:
        browser.terminate()
        browser.wait()
        (site / "driver.html").unlink()
    assert found.keys() == {f"{page}, {width} wide" for page in pages for width in (400, 1400)}
    assert [f"{page}: {each}" for page, cut in found.items() for each in cut] == []
