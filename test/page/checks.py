"""Drives the status page in a real browser: checks.py KYRODB PICTURES RECORDS.ndjson

Starts servers of its own on ports that the kernel chooses, prints a line for each check that holds
and ends with exit code 1 at the first that does not. 77 says that there is no browser.
"""

import http.client
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading

from browser import Browser, find_chromium


class Server:
    def __init__(self, binary, *flags, **environment):
        self.dir = tempfile.TemporaryDirectory(prefix='kyro-page-')
        self.process = subprocess.Popen(
            [binary, 'serve', '127.0.0.1', '0', '--data-dir', self.dir.name + '/data', *flags],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
            env={**os.environ, **environment})
        for line in self.process.stderr:
            found = re.search(r' serving address=(\S+)', line)
            if found:
                self.address = found.group(1)
                break
        else:
            raise RuntimeError('the server did not start')
        threading.Thread(target=self.process.stderr.read, daemon=True).start()
        self.url = 'http://' + self.address + '/'

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()
        self.dir.cleanup()

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait()

    def ask(self, method, path, body=None):
        connection = http.client.HTTPConnection(self.address)
        connection.request(method, path, body)
        answer = connection.getresponse()
        return answer.status, answer.read()


def check(name, holds):
    print(('ok: ' if holds else 'FAILED: ') + name, flush=True)
    if not holds:
        sys.exit(1)


def check_silent(browser, expected):
    """Chromium itself complains of every answer that is an error; those were wanted."""
    others = [text for text in browser.complaints if expected not in text]
    check('nothing on the console, no violation of the policy ' + str(others), not others)


TEXT = "document.querySelector('#value').textContent"


def choose(browser, key):
    """Types a key, as somebody without a mouse would."""
    browser.evaluate('document.activeElement.blur()')
    browser.press('/', 'Slash')
    browser.evaluate("document.querySelector('#key').select()")
    browser.type(str(key))
    browser.press('Enter')
    browser.wait_for("document.querySelector('#value-about').textContent.startsWith('%s') && "
                     "!document.querySelector('#value-about').textContent.endsWith('…')" % key)


def check_values(browser, server):
    hostile = '<script>window.wasRun = 1</script><img src=x onerror="window.wasRun = 1">'
    server.ask('PUT', '/v1/kv/7', 'just written')
    server.ask('PUT', '/v1/kv/8', hostile)
    server.ask('PUT', '/v1/kv/9', '{"id":18446744073709551615,"tags":["a","{"],"none":{}}')
    server.ask('PUT', '/v1/kv/10', bytes(range(256)))
    server.ask('PUT', '/v1/kv/18446744073709551615', 'x' * 1_000_000)
    choose(browser, 7)
    check('a value that was just written is shown', browser.evaluate(TEXT) == 'just written')
    choose(browser, 8)
    check('a value that is a script stays text', browser.evaluate(TEXT) == hostile)
    browser.evaluate("list('&start=0', false)")
    browser.wait_for("document.querySelector('#list').textContent.includes('onerror')")
    check('in the list too', not browser.evaluate(
        "window.wasRun || document.querySelector('#value').children.length || "
        "document.querySelector('main script, main img')"))
    choose(browser, 9)
    check('JSON is indented, its numbers and strings are what was stored', browser.evaluate(TEXT) ==
          '{\n  "id": 18446744073709551615,\n  "tags": [\n    "a",\n    "{"\n  ],\n  "none": {}\n}')
    for view, begin in (('hex', '000000  7b 22 69 64 22 3a'), ('text', '{"id":18446744073709551615,'),
                        ('json', '{\n  "id": ')):
        browser.evaluate("document.querySelector('#as-%s').click()" % view)
        check('the same value as ' + view, browser.evaluate(TEXT).startswith(begin))
    choose(browser, 10)
    check('bytes are shown as bytes', browser.evaluate(TEXT).startswith(
        '000000  00 01 02 03 04 05 06 07 08 09 0a 0b 0c 0d 0e 0f'))
    choose(browser, 18446744073709551615)
    shown = browser.evaluate(TEXT)
    check('of a large value the beginning', shown.startswith('xxx') and len(shown) < 300_000)
    choose(browser, 12345678)
    check('a key that is not there is said not to be there', browser.evaluate(
        "document.querySelector('#value-about').textContent") == '12345678: not there')
    browser.evaluate("find('floor', '12345678')")
    browser.wait_for("document.querySelector('#value-about').textContent.startsWith('10 ')")
    browser.evaluate("find('ceil', '18446744073709551614')")
    browser.wait_for("document.querySelector('#value-about').textContent.startsWith('1844674')")
    check('floor and ceil find the nearest keys', True)


def listed(browser):
    return [int(key) for key in browser.evaluate(
        "[...document.querySelectorAll('#list a')].map(link => link.textContent)")]


def check_paging(browser):
    browser.evaluate("list('&start=0', false)")
    first = listed(browser)
    browser.evaluate("document.querySelector('#on').click()")
    browser.wait_for("BigInt(document.querySelector('#list a').textContent) > %dn" % first[-1])
    second = listed(browser)
    browser.evaluate("document.querySelector('#back').click()")
    browser.wait_for("document.querySelector('#list a').textContent === '%d'" % first[0])
    check('a range is paged through, forth and back',
          len(first) == len(second) == 15 and listed(browser) == first and
          first + second == sorted(set(first + second)))


def check_states(browser, server):
    why = browser.evaluate("""(take({state: 'recovering', why: 'the log is being replayed',
        version: '1', commit: '2', uptime_secs: 3,
        recovery: {records: 54321, segments: 1, segments_all: 3},
        history: {columns: [], rows: [], end: 0}}, false),
        document.querySelector('#why').textContent)""")
    check('while the log is replayed the page says how far that is: ' + why,
          re.fullmatch(r'the log is being replayed: 54\D?321 records, segment 2 of 3', why))
    browser.wait_for("document.querySelector('#state').textContent === 'ready'")
    # Whose directory is taken away writes no more.
    os.rename(server.dir.name + '/data', server.dir.name + '/elsewhere')
    while server.ask('PUT', '/v1/kv/7', 'no more')[0] != 503:
        pass
    browser.wait_for("document.querySelector('#state').textContent === 'read-only' && "
                     "!document.querySelector('#why').hidden")
    check('a server that may not write says why: ' +
          browser.evaluate("document.querySelector('#why').textContent"), True)


def check_load(browser, server):
    path = "document.querySelector('#requests path.read').getAttribute('d')"
    browser.wait_for(path + '.length > 0')
    before = browser.evaluate(path)
    ends = threading.Event()

    def load():
        connection = http.client.HTTPConnection(server.address)
        while not ends.is_set():
            connection.request('GET', '/v1/kv/7')
            connection.getresponse().read()

    thread = threading.Thread(target=load)
    thread.start()
    try:
        browser.wait_for("parseFloat(document.querySelector('#requests b').textContent) >= 20 && "
                         "document.querySelector('#latency path.read') && %s !== %s"
                         % (path, json.dumps(before)))
    finally:
        ends.set()
        thread.join()
    check('charts move under load', True)


def check_pictures(browser, pictures):
    for name, width, height, scheme, is_phone in (('light', 1280, 900, 'light', False),
                                                  ('dark', 1280, 900, 'dark', False),
                                                  ('phone', 390, 844, 'light', True)):
        browser.look_like(width, height, scheme, is_phone)
        browser.wait_for("matchMedia('(prefers-color-scheme: %s)').matches && innerWidth === %d"
                         % (scheme, width))
        browser.wait_for("document.querySelector('#model svg').clientWidth < %d" % width)
        browser.screenshot(os.path.join(pictures, 'page-%s.png' % name))
        check('nothing is wider than the screen: ' + name,
              browser.evaluate('document.documentElement.scrollWidth <= innerWidth'))
    browser.look_like(1280, 900)


def check_keyboard(browser):
    browser.evaluate('document.activeElement.blur()')
    reached = set()
    for _ in range(40):
        browser.press('Tab')
        reached.add(browser.evaluate("document.activeElement.id || document.activeElement.name || "
                                     "document.activeElement.parentElement.id"))
    check('the keyboard reaches the charts, the model, the key and the value: ' + str(reached),
          {'requests', 'latency', 'syncs', 'written', 'model', 'key', 'how', 'value'} <= reached)
    browser.evaluate("document.querySelector('#model svg').focus()")
    browser.press('ArrowRight')
    browser.wait_for("document.querySelector('#model-legend').textContent.startsWith('key ')")
    check('an arrow key moves along the model', True)


def check_page(binary, chromium, pictures, records):
    with Server(binary, '--delta-max-bytes', '256KiB') as server, Browser(chromium) as browser:
        subprocess.run([binary + 'ctl', '-e', server.url.rstrip('/'), 'import', records],
                       check=True, capture_output=True)
        browser.look_like(1280, 900)
        browser.open(server.url)
        browser.wait_for("document.querySelector('#state').textContent === 'ready' && "
                         "document.querySelectorAll('#tiles dl').length >= 8")
        check('the page says that the server is ready', True)
        check_values(browser, server)
        server.ask('POST', '/v1/snapshot')
        browser.evaluate('sampledAt = -Infinity')
        browser.wait_for("document.querySelector('#model path.read') && "
                         "document.querySelectorAll('#runs tr').length > 1")
        check('runs and the model of the largest are drawn', True)
        check('the log, probe lengths and what the index costs, too', browser.evaluate(
            "document.querySelectorAll('#segments span').length && "
            "document.querySelectorAll('#probes rect').length > 3 && "
            "/bytes per key/.test(document.querySelector('#model-facts').textContent)"))
        records = browser.evaluate(
            "askJson('/v1/status').then(s => Math.max(...s.runs.map(run => run.records)))")
        rank = browser.evaluate('sample.at(-1).rank')
        check('the distribution is one of keys: %d of %d' % (rank, records),
              records / 2 < rank <= records)
        check_paging(browser)
        check_load(browser, server)
        check_keyboard(browser)
        check_pictures(browser, pictures)
        check_states(browser, server)
        check_silent(browser, '/v1/kv/12345678')  # 404
        others = {one for one in browser.requests
                  if one[0] != 'GET' or not one[1].startswith((server.url, 'data:', 'about:'))}
        check('it reads, and asks nobody else ' + str(others), browser.requests and not others)
        server.stop()
        browser.wait_for("document.querySelector('#state').textContent === 'no answer'")
        check('a server that is gone is said to be gone', True)


def check_token(binary, chromium):
    tokens = tempfile.TemporaryDirectory(prefix='kyro-page-')
    names = []
    for name in ('full', 'read'):
        names.append(os.path.join(tokens.name, name))
        with open(names[-1], 'w') as file:
            file.write('the-%s-token\n' % name)
    with tokens, Server(binary, '--auth-token-file', names[0],
                        '--read-token-file', names[1]) as server, Browser(chromium) as browser:
        browser.open(server.url)
        browser.wait_for("document.querySelector('#ask').open")
        check('without its token nothing is shown', browser.evaluate(
            "document.querySelector('#state').textContent") == 'token needed')
        browser.evaluate("document.querySelector('#ask-token').focus()")
        browser.type('the-read-token')
        browser.press('Enter')
        browser.wait_for("document.querySelector('#state').textContent === 'ready'")
        check('the token that may only read is enough', True)
        check('it is kept for this tab, and nowhere else', browser.evaluate(
            "sessionStorage.getItem('token') === 'the-read-token' && !localStorage.length && "
            "!document.cookie"))
        check_silent(browser, '401')


def check_foreign(binary, chromium):
    with Server(binary) as ours, Server(binary) as other, Browser(chromium) as browser:
        ours.ask('PUT', '/v1/kv/1', 'secret')
        browser.open(other.url)
        browser.wait_for("document.querySelector('#state').textContent === 'ready'")
        # The page's own policy would refuse first; a page of somebody else's has none.
        browser.open('data:text/html,<title>elsewhere</title>')
        browser.wait_for("document.title === 'elsewhere'")
        got = browser.evaluate("fetch('%sv1/kv/1').then(a => a.text(), () => 'refused')" % ours.url)
        check('a page from elsewhere gets nothing', got == 'refused')
        status, _ = ours.ask('GET', '/v1/kv/1')
        check('this program does', status == 200)


def main():
    binary, pictures, records = sys.argv[1:4]
    chromium = find_chromium()
    if not chromium:
        print('no chromium')
        sys.exit(77)
    os.makedirs(pictures, exist_ok=True)
    check_page(binary, chromium, pictures, records)
    check_token(binary, chromium)
    check_foreign(binary, chromium)


if __name__ == '__main__':
    main()
