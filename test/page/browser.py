"""A headless Chromium, driven over the DevTools protocol with the standard library only.

    with Browser(chromium) as browser:
        browser.open('http://127.0.0.1:3030/')
        browser.wait_for("document.title === 'KyroDB'")

The protocol runs over two pipes (--remote-debugging-pipe: descriptors 3 and 4, JSON texts that end
with a zero byte), so no port is opened. Whatever the page says on its console, every exception and
every violation of its policy is collected in `complaints`, what it asks for in `requests`.
"""

import base64
import json
import os
import select
import shutil
import signal
import subprocess
import tempfile
import time

TIMEOUT_SECS = 60


def find_chromium():
    for name in ('chromium', 'chromium-browser', 'google-chrome'):
        path = shutil.which(name)
        if path:
            return path
    return None


class Browser:
    def __init__(self, path):
        self.profile = tempfile.mkdtemp(prefix='kyro-page-')
        to_read, self.to = os.pipe()
        self.source, from_write = os.pipe()
        # Above 4, so that neither is lost when the other takes its place.
        high = [os.dup(fd) for fd in (to_read, from_write)]
        while min(high) <= 4:
            high.append(os.dup(high.pop(0)))

        def in_child():
            os.dup2(high[0], 3)
            os.dup2(high[1], 4)

        self.process = subprocess.Popen(
            [path, '--headless=new', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage',
             '--no-first-run', '--disable-background-networking', '--disable-component-update',
             '--disable-extensions', '--hide-scrollbars', '--remote-debugging-pipe',
             '--user-data-dir=' + self.profile, 'about:blank'],
            preexec_fn=in_child, start_new_session=True, close_fds=True, pass_fds=(3, 4),
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for fd in [to_read, from_write] + high:
            os.close(fd)
        self.buffer = b''
        self.last_id = 0
        self.session = None
        self.complaints = []
        self.requests = []  # method and URL
        target = self.call('Target.createTarget', url='about:blank')['targetId']
        self.session = self.call('Target.attachToTarget', targetId=target, flatten=True)['sessionId']
        for domain in ('Page', 'Runtime', 'Log', 'Network'):
            self.call(domain + '.enable')

    def __enter__(self):
        return self

    def __exit__(self, *_):
        # Its children write into the profile until they have ended too: they end with their session.
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        while os.read(self.source, 1 << 20):
            pass  # until none of them holds the pipe
        os.close(self.to)
        os.close(self.source)
        shutil.rmtree(self.profile, ignore_errors=True)

    def _receive(self):
        deadline = time.monotonic() + TIMEOUT_SECS
        while b'\0' not in self.buffer:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self.source], [], [], left)[0]:
                raise TimeoutError('the browser says nothing')
            piece = os.read(self.source, 1 << 20)
            if not piece:
                raise EOFError('the browser has ended')
            self.buffer += piece
        text, self.buffer = self.buffer.split(b'\0', 1)
        return json.loads(text)

    def _note(self, event):
        name, what = event.get('method'), event.get('params', {})
        if name == 'Runtime.exceptionThrown':
            details = what['exceptionDetails']
            self.complaints.append(details.get('exception', {}).get('description', details['text']))
        elif name == 'Log.entryAdded' and what['entry']['level'] in ('error', 'warning'):
            self.complaints.append(what['entry']['text'] + ' ' + what['entry'].get('url', ''))
        elif name == 'Network.requestWillBeSent':
            self.requests.append((what['request']['method'], what['request']['url']))
        elif name == 'Runtime.consoleAPICalled' and what['type'] in ('error', 'warning', 'assert'):
            self.complaints.append('console: ' + json.dumps(what['args']))

    def call(self, method, **params):
        self.last_id += 1
        message = {'id': self.last_id, 'method': method, 'params': params}
        if self.session:
            message['sessionId'] = self.session
        os.write(self.to, json.dumps(message).encode() + b'\0')
        while True:
            answer = self._receive()
            if answer.get('id') != self.last_id:
                self._note(answer)
            elif 'error' in answer:
                raise RuntimeError(method + ': ' + answer['error']['message'])
            else:
                return answer['result']

    def open(self, url):
        self.call('Page.navigate', url=url)

    def evaluate(self, expression):
        """The value of a JavaScript expression; a promise's outcome."""
        result = self.call('Runtime.evaluate', expression=expression, awaitPromise=True,
                           returnByValue=True)
        if 'exceptionDetails' in result:
            raise RuntimeError(expression + ': ' + json.dumps(result['exceptionDetails']))
        return result['result'].get('value')

    def wait_for(self, condition):
        """Asks again with every frame that the browser draws, until the condition holds."""
        deadline = time.monotonic() + TIMEOUT_SECS
        while not self.evaluate('(() => { try { return !!(%s) } catch { return false } })()' % condition):
            if time.monotonic() > deadline:
                raise TimeoutError(condition + ' never held; the page says: ' +
                                   str(self.evaluate('document.body.innerText'))[:2000])
            self.evaluate('new Promise(done => setTimeout(done, 50))')

    def type(self, text):
        self.call('Input.insertText', text=text)

    def press(self, key, code=None):
        """A key by its name, as 'Enter', 'Tab', '/'."""
        codes = {'Enter': 13, 'Tab': 9, 'ArrowLeft': 37, 'ArrowRight': 39, 'Escape': 27}
        params = {'key': key, 'code': code or key, 'windowsVirtualKeyCode': codes.get(key, ord(key[0]))}
        if key == 'Enter':
            params['text'] = '\r'
        elif len(key) == 1:
            params['text'] = key
        self.call('Input.dispatchKeyEvent', type='keyDown', **params)
        params.pop('text', None)
        self.call('Input.dispatchKeyEvent', type='keyUp', **params)

    def look_like(self, width, height, scheme='light', is_phone=False):
        self.call('Emulation.setDeviceMetricsOverride', width=width, height=height,
                  deviceScaleFactor=2 if is_phone else 1, mobile=is_phone)
        self.call('Emulation.setEmulatedMedia',
                  features=[{'name': 'prefers-color-scheme', 'value': scheme}])

    def screenshot(self, path):
        size = self.call('Page.getLayoutMetrics')['cssContentSize']
        clip = {'x': 0, 'y': 0, 'width': size['width'], 'height': size['height'], 'scale': 1}
        shot = self.call('Page.captureScreenshot', format='png', captureBeyondViewport=True, clip=clip)
        with open(path, 'wb') as file:
            file.write(base64.b64decode(shot['data']))
