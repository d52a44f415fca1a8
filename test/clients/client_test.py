"""KyroDB asked by Debian's gRPC for Python: every method, streams both ways, deadlines, cancelling,
large messages, tokens, health, reflection, a restart.

usage: client_test.py BINARY PROTO_DIRECTORY   (with python3-grpcio, python3-protobuf, protoc)
"""

import os
import sys
import tempfile
import threading
import time
import unittest

import grpc
from google.protobuf import descriptor_pb2

from kyro_protos import Stub, generate
from kyro_server import Server

binary, protos = sys.argv[1:3]
pb, health, reflection, reflection_alpha = generate(protos, (
    "kyrodb.proto", "grpc/health/v1/health.proto", "grpc/reflection/v1/reflection.proto",
    "grpc/reflection/v1alpha/reflection.proto"))

Code = grpc.StatusCode
UNLIMITED = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]


class Case(unittest.TestCase):
    flags = ()

    @classmethod
    def setUpClass(cls):
        cls.server = Server(binary, cls.flags)
        cls.channel = grpc.insecure_channel(cls.server.address, options=UNLIMITED)
        cls.kv = Stub(cls.channel, pb, "KV")
        cls.admin = Stub(cls.channel, pb, "Admin")

    @classmethod
    def tearDownClass(cls):
        cls.channel.close()
        cls.server.close()

    def fails(self, code, call, *args, **kwargs):
        with self.assertRaises(grpc.RpcError) as caught:
            result = call(*args, **kwargs)
            if hasattr(result, "__iter__"):
                list(result)
        self.assertEqual(caught.exception.code(), code, caught.exception.details())
        return caught.exception

    def put(self, key, value, **more):
        return self.kv.Put(pb.PutRequest(key=key, value=value, **more))

    def get(self, key):
        return self.kv.Get(pb.GetRequest(key=key))


class Methods(Case):
    def test_put_and_get(self):
        first = self.put(1, b"one")
        self.assertTrue(first.created)
        second = self.put(1, b"two")
        self.assertFalse(second.created)
        self.assertGreater(second.offset, first.offset)
        got = self.get(1)
        self.assertEqual((got.value, got.offset, got.expires_in_secs),
                         (b"two", second.offset, 0))
        self.assertEqual(self.kv.Get(pb.GetRequest(key=1, offset_only=True)).value, b"")
        self.fails(Code.NOT_FOUND, self.get, 404)
        for key in (0, 2**53 + 1, 2**64 - 1):
            self.put(key, b"edge %d" % key)
            self.assertEqual(self.get(key).value, b"edge %d" % key)
        self.put(5, b"")
        self.assertEqual(self.get(5).value, b"")
        every_byte = bytes(range(256))
        self.put(6, every_byte)
        self.assertEqual(self.get(6).value, every_byte)

    def test_lifetimes(self):
        self.put(10, b"short", ttl_secs=3600)
        left = self.get(10).expires_in_secs
        self.assertTrue(3590 <= left <= 3600, left)
        self.put(11, b"gone", ttl_secs=1)
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            try:
                self.get(11)
            except grpc.RpcError as error:
                self.assertEqual(error.code(), Code.NOT_FOUND)
                return
        self.fail("a lifetime of a second did not end")

    def test_conditions(self):
        absent = pb.Condition(absent=True)
        offset = self.put(20, b"a", condition=absent).offset
        self.fails(Code.ABORTED, self.put, 20, b"b", condition=absent)
        self.fails(Code.ABORTED, self.put, 20, b"b", condition=pb.Condition(offset=offset + 1000))
        self.put(20, b"c", condition=pb.Condition(offset=offset))
        self.put(20, b"d", condition=pb.Condition(present=True))
        self.fails(Code.ABORTED, self.put, 21, b"x", condition=pb.Condition(present=True))
        self.fails(Code.INVALID_ARGUMENT, self.put, 21, b"x", condition=pb.Condition(absent=False))
        self.assertEqual(self.get(20).value, b"d")
        self.fails(Code.ABORTED, self.kv.Delete,
                   pb.DeleteRequest(key=20, condition=pb.Condition(offset=offset)))

    def test_delete(self):
        self.put(30, b"x")
        offset = self.kv.Delete(pb.DeleteRequest(key=30)).offset
        self.assertGreater(offset, 0)
        self.fails(Code.NOT_FOUND, self.get, 30)
        self.fails(Code.NOT_FOUND, self.kv.Delete, pb.DeleteRequest(key=30))

    def test_multi_get(self):
        for key in range(40, 45):
            self.put(key, b"%d" % key)
        items = self.kv.MultiGet(pb.MultiGetRequest(keys=[44, 999, 40, 40])).items
        self.assertEqual([(i.found, i.value) for i in items],
                         [(True, b"44"), (False, b""), (True, b"40"), (True, b"40")])
        self.assertEqual(len(self.kv.MultiGet(pb.MultiGetRequest()).items), 0)
        self.fails(Code.RESOURCE_EXHAUSTED, self.kv.MultiGet,
                   pb.MultiGetRequest(keys=range(100_001)))

    def test_write(self):
        def put(key, value):
            return pb.Operation(put=pb.PutRequest(key=key, value=value))

        def delete(key):
            return pb.Operation(delete=pb.DeleteRequest(key=key))
        written = self.kv.Write(pb.WriteRequest(
            operations=[put(50, b"a"), put(51, b"b"), delete(52), put(50, b"c")]))
        self.assertEqual(written.count, 4)
        self.assertEqual(self.get(50).value, b"c")
        self.assertEqual(self.get(50).offset, written.last_offset)
        refused = pb.Operation(put=pb.PutRequest(key=53, value=b"x",
                                                 condition=pb.Condition(present=True)))
        self.fails(Code.ABORTED, self.kv.Write, pb.WriteRequest(operations=[put(54, b"y"), refused]))
        self.fails(Code.NOT_FOUND, self.get, 54)
        self.fails(Code.INVALID_ARGUMENT, self.kv.Write, pb.WriteRequest())
        self.fails(Code.INVALID_ARGUMENT, self.kv.Write,
                   pb.WriteRequest(operations=[pb.Operation()]))

    def test_scan(self):
        keys = list(range(1000, 1100))
        self.kv.Write(pb.WriteRequest(operations=[
            pb.Operation(put=pb.PutRequest(key=k, value=b"v%d" % k)) for k in keys]))

        def scan(**fields):
            return [(r.key, r.value) for r in self.kv.Scan(pb.ScanRequest(**fields))]
        everything = [(k, b"v%d" % k) for k in keys]
        self.assertEqual(scan(first=1000, end=1100), everything)
        self.assertEqual(scan(first=1000, end=1100, reverse=True), everything[::-1])
        self.assertEqual(scan(first=1000, end=1100, limit=7), everything[:7])
        self.assertEqual(scan(first=1050, end=1052, keys_only=True), [(1050, b""), (1051, b"")])
        self.assertEqual(scan(first=1100, end=1100), [])
        self.assertEqual(scan(first=5, end=4), [])

    def test_lifetimes_as_moments(self):
        until = int(time.time()) + 3600
        offset = self.put(12, b"until", expires=until).offset
        records = [self.get(12), self.kv.Nearest(pb.NearestRequest(key=12)),
                   next(self.kv.Scan(pb.ScanRequest(first=12, end=13))),
                   self.kv.MultiGet(pb.MultiGetRequest(keys=[12])).items[0],
                   next(self.kv.Subscribe(pb.SubscribeRequest(from_offset=offset)))]
        for record in records:
            self.assertLessEqual(abs(record.expires - until), 2)
        self.fails(Code.INVALID_ARGUMENT, self.put, 12, b"x", expires=until, ttl_secs=5)

    def test_count_and_delete_range(self):
        self.kv.Write(pb.WriteRequest(operations=[
            pb.Operation(put=pb.PutRequest(key=k, value=b"r")) for k in range(3000, 3100)]))
        of = pb.CountRequest(first=3000, end=3100)
        counted = self.kv.Count(of)
        self.assertEqual(counted.count, 100)
        self.assertEqual(counted.as_of, self.kv.Offset(pb.OffsetRequest()).next_offset)
        self.fails(Code.INVALID_ARGUMENT, self.kv.DeleteRange, pb.DeleteRangeRequest(end=3100))
        some = self.kv.DeleteRange(pb.DeleteRangeRequest(first=3000, end=3100, limit=30))
        self.assertEqual((some.deleted, some.complete, some.next), (30, False, 3030))
        rest = self.kv.DeleteRange(pb.DeleteRangeRequest(first=some.next, end=3100))
        self.assertEqual((rest.deleted, rest.complete), (70, True))
        self.assertEqual(self.kv.Count(of).count, 0)

    def test_wait(self):
        offset = self.put(13, b"old").offset
        ask = pb.WaitRequest(key=13, known_offset=offset, wait_secs=30)
        self.assertTrue(self.kv.Wait(pb.WaitRequest(key=13, known_offset=offset)).unchanged)
        waits = self.kv.Wait.future(ask)
        absent = self.kv.Wait.future(pb.WaitRequest(key=14, wait_secs=30))
        self.put(13, b"new")
        self.put(14, b"there")
        self.assertEqual((waits.result().value, waits.result().unchanged), (b"new", False))
        self.assertEqual(absent.result().value, b"there")
        self.fails(Code.NOT_FOUND, self.kv.Wait, pb.WaitRequest(key=404))
        self.fails(Code.DEADLINE_EXCEEDED, self.kv.Wait, pb.WaitRequest(key=404, wait_secs=30),
                   timeout=0.2)

    def test_nearest(self):
        self.kv.Write(pb.WriteRequest(operations=[
            pb.Operation(put=pb.PutRequest(key=k, value=b"n%d" % k)) for k in (2000, 2010)]))
        ask = pb.NearestRequest
        self.assertEqual(self.kv.Nearest(ask(key=2005, direction=ask.FLOOR)).key, 2000)
        self.assertEqual(self.kv.Nearest(ask(key=2005, direction=ask.CEIL)).key, 2010)
        self.assertEqual(self.kv.Nearest(ask(key=2010)).value, b"n2010")
        self.fails(Code.INVALID_ARGUMENT, self.kv.Nearest, ask(key=1, direction=7))

    def test_offset(self):
        before = self.kv.Offset(pb.OffsetRequest())
        offset = self.put(60, b"x").offset
        after = self.kv.Offset(pb.OffsetRequest())
        self.assertEqual(before.database, after.database)
        self.assertEqual(len(after.database), 32)
        self.assertGreaterEqual(offset, before.next_offset)
        self.assertGreater(after.next_offset, offset)

    def test_admin(self):
        self.put(70, b"x")
        snapshot = self.admin.Snapshot(pb.SnapshotRequest())
        self.assertGreater(snapshot.next_offset, 0)
        compacted = self.admin.Compact(pb.CompactRequest())
        self.assertGreater(compacted.keys_retained, 0)
        self.assertGreater(compacted.after_bytes, 0)
        self.assertEqual(self.admin.BuildIndex(pb.BuildIndexRequest()).count,
                         compacted.keys_retained)

    def test_bad_requests(self):
        raw = self.channel.unary_unary("/kyrodb.v1.KV/Get")
        self.fails(Code.INVALID_ARGUMENT, raw, b"\x0a\xff")
        self.fails(Code.UNIMPLEMENTED, self.channel.unary_unary("/kyrodb.v1.KV/Got"), b"")
        self.fails(Code.UNIMPLEMENTED, self.channel.unary_unary("/kyrodb.v2.KV/Get"), b"")
        self.fails(Code.UNIMPLEMENTED, self.channel.unary_unary("/x"), b"")
        self.fails(Code.UNIMPLEMENTED, self.kv.Get, pb.GetRequest(key=1),
                   compression=grpc.Compression.Gzip)
        self.fails(Code.RESOURCE_EXHAUSTED, self.put, 1, b"x" * (16 * 2**20 + 1))

    def test_large_values(self):
        value = os.urandom(16 * 2**20)
        self.put(80, value)
        self.assertEqual(self.get(80).value, value)  # from the delta
        self.admin.Snapshot(pb.SnapshotRequest())
        self.assertEqual(self.get(80).value, value)  # from a run
        items = self.kv.MultiGet(pb.MultiGetRequest(keys=[80, 81, 80])).items
        self.assertEqual([len(i.value) for i in items], [16 * 2**20, 0, 16 * 2**20])
        records = list(self.kv.Scan(pb.ScanRequest(first=80, end=81)))
        self.assertEqual([r.value for r in records], [value])


class Streams(Case):
    def test_put_stream(self):
        def requests():
            for key in range(500):
                yield pb.PutRequest(key=key, value=b"s%d" % key)
            yield pb.PutRequest(key=3, value=b"x", condition=pb.Condition(absent=True))
            yield pb.PutRequest(key=500, value=b"last")
        answers = list(self.kv.PutStream(requests()))
        self.assertEqual([a.code for a in answers], [0] * 500 + [Code.ABORTED.value[0], 0])
        offsets = [a.offset for a in answers[:500]]
        self.assertEqual(offsets, sorted(offsets))
        self.assertEqual(self.get(499).value, b"s499")
        self.assertEqual(list(self.kv.PutStream(iter(()))), [])

    def test_put_stream_answers_as_it_goes(self):
        going = threading.Event()

        def requests():
            yield pb.PutRequest(key=1, value=b"x")
            going.wait(20)
        call = self.kv.PutStream(requests())
        self.assertEqual(next(call).code, 0)
        going.set()
        self.assertEqual(list(call), [])

    def test_subscribe(self):
        start = self.put(600, b"a").offset
        self.kv.Delete(pb.DeleteRequest(key=600))
        call = self.kv.Subscribe(pb.SubscribeRequest(from_offset=start))
        first, second = next(call), next(call)
        self.assertEqual((first.op, first.key, first.value), (pb.LogRecord.PUT, 600, b"a"))
        self.assertEqual((second.op, second.key, second.offset),
                         (pb.LogRecord.DELETE, 600, start + 1))
        live = self.put(601, b"live").offset
        self.assertEqual(next(call).offset, live)
        call.cancel()
        self.fails(Code.OUT_OF_RANGE, lambda: next(self.kv.Subscribe(
            pb.SubscribeRequest(from_offset=2**60))))
        only_new = self.kv.Subscribe(pb.SubscribeRequest())
        only_new.initial_metadata()  # it has begun
        new = self.put(602, b"new").offset
        self.assertEqual(next(only_new).offset, new)
        only_new.cancel()

    def test_subscriptions_of_some_keys(self):
        start = self.kv.Offset(pb.OffsetRequest()).next_offset
        for key in range(700, 710):
            self.put(key, b"x")

        def keys(count, **filter_):
            call = self.kv.Subscribe(pb.SubscribeRequest(from_offset=start, **filter_), timeout=30)
            found = [next(call).key for _ in range(count)]
            call.cancel()
            return found
        self.assertEqual(keys(1, key=707), [707])
        self.assertEqual(keys(3, range=pb.KeyRange(first=703, end=706)), [703, 704, 705])
        self.fails(Code.INVALID_ARGUMENT, self.kv.Subscribe,
                   pb.SubscribeRequest(range=pb.KeyRange(first=5, end=5)))

    def test_deadlines(self):
        call = self.kv.Subscribe(pb.SubscribeRequest(), timeout=0.3)
        began = time.monotonic()
        self.fails(Code.DEADLINE_EXCEEDED, list, call)
        self.assertLess(time.monotonic() - began, 10)
        self.put(1, b"x")
        self.assertEqual(self.kv.Get(pb.GetRequest(key=1), timeout=30).value, b"x")

    def test_many_at_once_and_cancelled(self):
        self.put(1, b"x")
        calls = [self.kv.Get.future(pb.GetRequest(key=1)) for _ in range(500)]
        self.assertEqual([c.result().value for c in calls], [b"x"] * 500)
        subscribers = [self.kv.Subscribe(pb.SubscribeRequest()) for _ in range(20)]
        for call in subscribers:
            call.initial_metadata()
        for call in subscribers:
            call.cancel()
        self.assertEqual(self.get(1).value, b"x")

    def test_health(self):
        stub = Stub(self.channel, health, "Health")
        serving = health.HealthCheckResponse.SERVING
        for service in ("", "kyrodb.v1.KV"):
            check = stub.Check(health.HealthCheckRequest(service=service))
            self.assertEqual(check.status, serving)
        self.fails(Code.NOT_FOUND, stub.Check, health.HealthCheckRequest(service="other"))
        watch = stub.Watch(health.HealthCheckRequest())
        self.assertEqual(next(watch).status, serving)
        watch.cancel()
        unknown = stub.Watch(health.HealthCheckRequest(service="other"))
        self.assertEqual(next(unknown).status, health.HealthCheckResponse.SERVICE_UNKNOWN)
        unknown.cancel()

    def test_reflection(self):
        for pb2 in (reflection, reflection_alpha):
            ask = pb2.ServerReflectionRequest
            stub = Stub(self.channel, pb2, "ServerReflection")
            answers = list(stub.ServerReflectionInfo(iter([
                ask(list_services=""), ask(file_containing_symbol="kyrodb.v1.KV"),
                ask(file_by_filename="none.proto")])))
            names = [s.name for s in answers[0].list_services_response.service]
            self.assertIn("kyrodb.v1.KV", names)
            self.assertIn("grpc.health.v1.Health", names)
            file = descriptor_pb2.FileDescriptorProto.FromString(
                answers[1].file_descriptor_response.file_descriptor_proto[0])
            for message in file.message_type:
                for field in [*message.field, *(f for n in message.nested_type for f in n.field)]:
                    field.ClearField("json_name")  # which protoc keeps from Python
            self.assertEqual(file, descriptor_pb2.FileDescriptorProto.FromString(
                pb.DESCRIPTOR.serialized_pb))
            self.assertEqual(answers[2].error_response.error_code, Code.NOT_FOUND.value[0])


class Tokens(Case):
    flags = ("--auth-token", "secret", "--read-token-file", "")

    @classmethod
    def setUpClass(cls):
        cls.token_file = tempfile.NamedTemporaryFile("w", suffix=".token")
        cls.token_file.write("reader")
        cls.token_file.flush()
        cls.flags = ("--auth-token", "secret", "--read-token-file", cls.token_file.name)
        super().setUpClass()

    def test_scopes(self):
        def with_token(token):
            return {"metadata": (("authorization", "Bearer " + token),)}
        get, put = pb.GetRequest(key=1), pb.PutRequest(key=1, value=b"x")
        self.fails(Code.UNAUTHENTICATED, self.kv.Get, get)
        self.fails(Code.UNAUTHENTICATED, self.kv.Get, get, **with_token("wrong"))
        self.fails(Code.PERMISSION_DENIED, self.kv.Put, put, **with_token("reader"))
        self.fails(Code.PERMISSION_DENIED, self.admin.Compact, pb.CompactRequest(),
                   **with_token("reader"))
        self.kv.Put(put, **with_token("secret"))
        reader = with_token("reader")
        self.assertEqual(self.kv.Get(get, **reader).value, b"x")
        self.assertEqual(len(self.kv.MultiGet(pb.MultiGetRequest(keys=[1]), **reader).items), 1)
        self.assertEqual(len(list(self.kv.Scan(pb.ScanRequest(), **reader))), 1)
        self.assertEqual(self.kv.Nearest(pb.NearestRequest(key=9), **reader).key, 1)
        self.kv.Offset(pb.OffsetRequest(), **reader)
        self.assertEqual(self.kv.Count(pb.CountRequest(), **reader).count, 1)
        self.assertTrue(self.kv.Wait(pb.WaitRequest(key=1), **reader).value)
        self.fails(Code.PERMISSION_DENIED, self.kv.DeleteRange, pb.DeleteRangeRequest(first=0),
                   **reader)
        stub = Stub(self.channel, health, "Health")  # as /health and /ready: without a token
        stub.Check(health.HealthCheckRequest())


class Restart(unittest.TestCase):
    def test_a_channel_comes_back(self):
        with Server(binary) as server:
            options = UNLIMITED + [("grpc.initial_reconnect_backoff_ms", 100),
                                   ("grpc.max_reconnect_backoff_ms", 200)]
            with grpc.insecure_channel(server.address, options=options) as channel:
                kv = Stub(channel, pb, "KV")
                kv.Put(pb.PutRequest(key=1, value=b"kept"))
                subscription = kv.Subscribe(pb.SubscribeRequest())
                subscription.initial_metadata()
                self.assertEqual(server.stop(), 0)
                with self.assertRaises(grpc.RpcError) as caught:
                    list(subscription)
                self.assertEqual(caught.exception.code(), Code.UNAVAILABLE)
                server.start()
                got = kv.Get(pb.GetRequest(key=1), wait_for_ready=True, timeout=30)
                self.assertEqual(got.value, b"kept")


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0]], verbosity=2)
