"""Subscriptions of Debian's gRPC for Python that outlive their server, or fall behind the log.

usage: subscription_test.py BINARY PROTO_DIRECTORY
"""

import signal
import sys
import threading
import time
import unittest

import grpc

from kyro_protos import Stub, generate
from kyro_server import Server

binary, protos = sys.argv[1:3]
pb, = generate(protos, ("kyrodb.proto",))
Code = grpc.StatusCode
KEYS, LAST_KEY = 1000, 10_000
OPTIONS = [("grpc.max_receive_message_length", -1), ("grpc.initial_reconnect_backoff_ms", 50),
           ("grpc.max_reconnect_backoff_ms", 100)]


class Follower(threading.Thread):
    """Follows the log from offset 0 as a client should: after whatever ends its stream it goes on
    from the offset after the last one that it has seen."""

    def __init__(self, address):
        super().__init__()
        self.address = address
        self.records = []
        self.streams = 0
        self.endings = []

    def run(self):
        with grpc.insecure_channel(self.address, options=OPTIONS) as channel:
            kv = Stub(channel, pb, "KV")
            deadline = time.monotonic() + 60
            while not self.is_done() and time.monotonic() < deadline:
                start = self.records[-1].offset + 1 if self.records else 0
                call = kv.Subscribe(pb.SubscribeRequest(from_offset=start), wait_for_ready=True,
                                    timeout=30)
                self.streams += 1
                try:
                    for record in call:
                        self.records.append(record)
                        if self.is_done():
                            call.cancel()
                            break
                except grpc.RpcError as error:
                    self.endings.append(error.code())

    def is_done(self):
        return bool(self.records) and self.records[-1].key == LAST_KEY


class Writer(threading.Thread):
    """Writes KEYS keys and then LAST_KEY, each until it is acknowledged: a put whose server went
    away may have been stored."""

    def __init__(self, address):
        super().__init__()
        self.address = address
        self.acknowledged = {}

    def run(self):
        with grpc.insecure_channel(self.address, options=OPTIONS) as channel:
            kv = Stub(channel, pb, "KV")
            for key in [*range(KEYS), LAST_KEY]:
                put = pb.PutRequest(key=key, value=b"v%d" % key)
                while True:
                    try:
                        offset = kv.Put(put, wait_for_ready=True, timeout=30).offset
                        break
                    except grpc.RpcError as error:
                        if error.code() != Code.UNAVAILABLE:
                            raise
                self.acknowledged[offset] = (key, put.value)


class Subscriptions(unittest.TestCase):
    def restarts(self, how):
        with Server(binary) as server:
            follower, writer = Follower(server.address), Writer(server.address)
            follower.start()
            writer.start()
            for seen in (KEYS // 4, KEYS // 2, KEYS * 3 // 4):
                while len(follower.records) < seen and follower.is_alive():
                    time.sleep(0.001)
                server.stop(how)
                server.start()
            writer.join()
            follower.join()
            acknowledged = writer.acknowledged
            self.assertEqual(len(acknowledged), KEYS + 1)
            offsets = [record.offset for record in follower.records]
            self.assertEqual(offsets, list(range(len(offsets))))  # no gap, and nothing twice
            self.assertEqual(offsets[-1], max(acknowledged))
            seen = {record.offset: (record.key, record.value) for record in follower.records}
            self.assertEqual({offset: seen[offset] for offset in acknowledged}, acknowledged)
            self.assertGreaterEqual(follower.streams, 4)
            for code in follower.endings:
                self.assertIn(code, (Code.UNAVAILABLE, Code.CANCELLED))

    def test_stops_of_the_server_leave_no_gap_and_no_duplicate(self):
        self.restarts(signal.SIGTERM)

    def test_kills_of_the_server_leave_no_gap_and_no_duplicate(self):
        self.restarts(signal.SIGKILL)

    def test_one_that_lags_behind_the_log_is_told_what_is_there(self):
        flags = ("--fsync", "never", "--wal-segment-bytes", "64KiB", "--wal-max-segments", "1")
        with Server(binary, flags) as server, \
                grpc.insecure_channel(server.address, options=OPTIONS) as channel:
            kv, admin = Stub(channel, pb, "KV"), Stub(channel, pb, "Admin")
            kv.Put(pb.PutRequest(key=0, value=b"first"))
            slow = kv.Subscribe(pb.SubscribeRequest(from_offset=0))
            self.assertEqual(next(slow).value, b"first")
            # More than windows hold of a stream that nobody reads.
            for key in range(1, 13):
                kv.Put(pb.PutRequest(key=key, value=b"v" * 3_000_000))
            admin.Snapshot(pb.SnapshotRequest())
            seen = [0]
            with self.assertRaises(grpc.RpcError) as caught:
                for record in slow:
                    self.assertEqual(record.offset, seen[-1] + 1)  # up to there nothing is missing
                    seen.append(record.offset)
            self.assertEqual(caught.exception.code(), Code.OUT_OF_RANGE)
            self.assertIn("begins with offset", caught.exception.details())
            self.assertLess(seen[-1], 12)
            # Nor can it go on where it was, but with a scan and what came after that.
            with self.assertRaises(grpc.RpcError) as caught:
                next(kv.Subscribe(pb.SubscribeRequest(from_offset=seen[-1] + 1)))
            self.assertEqual(caught.exception.code(), Code.OUT_OF_RANGE)


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0]], verbosity=2)
