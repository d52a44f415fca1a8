"""Messages and stubs of protos, made by protoc for this run; needs no plugin of gRPC."""

import importlib
import os
import subprocess
import sys
import tempfile

from google.protobuf import descriptor_pb2

generated = tempfile.TemporaryDirectory()
sys.path.insert(0, generated.name)


def generate(directory, protos):
    """The modules of these protos below `directory`."""
    modules = []
    for proto in protos:
        # Flat, so that the packages do not hide those of the library.
        flat = proto.removeprefix("grpc/").replace("/", "_")
        with open(os.path.join(directory, proto)) as source, \
                open(os.path.join(generated.name, flat), "w") as copy:
            copy.write(source.read())
        subprocess.run(["protoc", "-I" + generated.name, "--python_out=" + generated.name, flat],
                       check=True)
        modules.append(importlib.import_module(flat.removesuffix(".proto") + "_pb2"))
    return modules


class Stub:
    """The methods of a service, as generated code has them."""

    def __init__(self, channel, module, service):
        file = descriptor_pb2.FileDescriptorProto()
        module.DESCRIPTOR.CopyToProto(file)
        methods = next(each for each in file.service if each.name == service).method
        for method in methods:
            kind = "%s_%s" % ("stream" if method.client_streaming else "unary",
                              "stream" if method.server_streaming else "unary")
            answer = getattr(module, method.output_type.rpartition(".")[2])
            setattr(self, method.name, getattr(channel, kind)(
                "/%s.%s/%s" % (file.package, service, method.name),
                request_serializer=lambda message: message.SerializeToString(),
                response_deserializer=answer.FromString))
