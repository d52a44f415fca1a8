"""What grpc_tools would make, for the documents' example: needs no plugin of gRPC."""

import kyrodb_pb2

from kyro_protos import Stub


def KVStub(channel):  # noqa: N802, its name there
    return Stub(channel, kyrodb_pb2, "KV")
