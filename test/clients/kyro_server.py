"""A server of its own for a test: an empty store, a port that the kernel chose."""

import os
import re
import shutil
import signal
import subprocess
import tempfile


class Server:
    def __init__(self, binary, flags=(), directory=None, port=0):
        self.binary, self.flags, self.port = binary, list(flags), port
        self.directory = directory or tempfile.mkdtemp(prefix="kyro-grpc-")
        self.process = None
        self.start()

    def start(self):
        self.process = subprocess.Popen(
            [self.binary, "serve", "127.0.0.1", str(self.port), "--data-dir",
             self.directory + "/data", *self.flags],
            stderr=subprocess.PIPE, text=True)
        self.lines = []
        for line in self.process.stderr:
            self.lines.append(line)
            found = re.search(r"serving address=127\.0\.0\.1:(\d+)", line)
            if found:
                self.port = int(found.group(1))
                break
        else:
            raise RuntimeError("the server did not start: " + "".join(self.lines))
        # Nobody reads on: a server must not stand still because of that.
        os.set_blocking(self.process.stderr.fileno(), False)

    @property
    def address(self):
        return "127.0.0.1:%d" % self.port

    def stop(self, how=signal.SIGTERM):
        self.process.send_signal(how)
        code = self.process.wait(timeout=30)
        self.process.stderr.close()
        return code

    def close(self):
        if self.process.poll() is None:
            self.stop(signal.SIGKILL)
        shutil.rmtree(self.directory, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
