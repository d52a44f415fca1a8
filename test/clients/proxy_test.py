"""KyroDB asked by Debian's gRPC for Python through a proxy that speaks TLS for it.

usage: proxy_test.py ADDRESS CERTIFICATE TOKEN PROTO_DIRECTORY
"""

import os
import sys
import unittest

import grpc

from kyro_protos import Stub, generate

address, certificate, token, protos = sys.argv[1:5]
pb, = generate(protos, ("kyrodb.proto",))
Code = grpc.StatusCode


class ThroughAProxy(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        with open(certificate, "rb") as roots:
            credentials = grpc.ssl_channel_credentials(roots.read())
        cls.channel = grpc.secure_channel(address, credentials, options=[
            ("grpc.ssl_target_name_override", "localhost"),
            ("grpc.max_receive_message_length", -1)])
        # The proxy may still be looking whether the server is there.
        grpc.channel_ready_future(cls.channel).result(timeout=60)
        cls.kv = Stub(cls.channel, pb, "KV")

    @classmethod
    def tearDownClass(cls):
        cls.channel.close()

    def ask(self, method, request, **more):
        metadata = (("authorization", "Bearer " + token),)
        return getattr(self.kv, method)(request, metadata=metadata, **more)

    def fails(self, code, ask):
        with self.assertRaises(grpc.RpcError) as caught:
            ask()
        codes = code if isinstance(code, tuple) else (code,)
        self.assertIn(caught.exception.code(), codes, caught.exception.details())
        return caught.exception

    def test_calls_and_their_statuses(self):
        first = self.ask("Put", pb.PutRequest(key=100, value=b"hello"))
        self.assertTrue(first.created)
        got = self.ask("Get", pb.GetRequest(key=100))
        self.assertEqual((got.value, got.offset), (b"hello", first.offset))
        missing = self.fails(Code.NOT_FOUND, lambda: self.ask("Get", pb.GetRequest(key=404)))
        self.assertEqual(missing.details(), "no such key")
        self.fails(Code.ABORTED, lambda: self.ask("Put", pb.PutRequest(
            key=100, value=b"x", condition=pb.Condition(absent=True))))
        self.fails(Code.UNAUTHENTICATED, lambda: self.kv.Get(pb.GetRequest(key=100)))

    def test_large_values(self):
        value = os.urandom(3_000_000)
        self.ask("Put", pb.PutRequest(key=101, value=value))
        self.assertEqual(self.ask("Get", pb.GetRequest(key=101)).value, value)
        self.assertEqual([r.value for r in self.ask("Scan", pb.ScanRequest(first=101, end=102))],
                         [value])
        # Refused while it is being sent, which HAProxy 2.6 passes on as a cancelled call.
        self.fails((Code.RESOURCE_EXHAUSTED, Code.CANCELLED),
                   lambda: self.ask("Put", pb.PutRequest(key=102, value=b"x" * 5_000_000)))
        self.fails(Code.NOT_FOUND, lambda: self.ask("Get", pb.GetRequest(key=102)))

    def test_streams_both_ways(self):
        puts = (pb.PutRequest(key=key, value=b"s%d" % key) for key in range(1000, 1500))
        self.assertEqual([a.code for a in self.ask("PutStream", puts)], [0] * 500)
        keys = [r.key for r in self.ask("Scan", pb.ScanRequest(first=1000, end=1500))]
        self.assertEqual(keys, list(range(1000, 1500)))

    def test_a_subscription_is_live_and_can_be_cancelled(self):
        call = self.ask("Subscribe", pb.SubscribeRequest())
        call.initial_metadata()  # it has begun
        for key in (2000, 2001):
            offset = self.ask("Put", pb.PutRequest(key=key, value=b"live")).offset
            self.assertEqual(next(call).offset, offset)
        call.cancel()
        self.fails(Code.CANCELLED, lambda: list(call))

    def test_deadlines(self):
        call = self.ask("Subscribe", pb.SubscribeRequest(), timeout=0.3)
        self.fails(Code.DEADLINE_EXCEEDED, lambda: list(call))


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0]], verbosity=2)
