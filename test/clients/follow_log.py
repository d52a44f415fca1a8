"""Follows the log of a server with gRPC for Python, and prints the offsets that it is sent.

usage: follow_log.py PROTO_DIRECTORY ADDRESS FROM_OFFSET COUNT
"""

import sys

import grpc

from kyro_protos import Stub, generate

protos, address, start, count = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
pb, = generate(protos, ("kyrodb.proto",))
with grpc.insecure_channel(address) as channel:
    call = Stub(channel, pb, "KV").Subscribe(pb.SubscribeRequest(from_offset=start), timeout=60)
    print(*(next(call).offset for _ in range(count)))
    call.cancel()
