"""As much of grpcurl as the documents show, over the server's reflection, so that what they show is
run: grpcurl -plaintext [-d JSON] ADDRESS (list | SERVICE/METHOD)
"""

import argparse

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory

from kyro_protos import Stub, generate

options = argparse.ArgumentParser()
options.add_argument("-plaintext", action="store_true", required=True)
options.add_argument("-d", default="{}")
options.add_argument("address")
options.add_argument("what")
options = options.parse_args()

reflection, = generate("scripts/api", ("grpc/reflection/v1/reflection.proto",))
channel = grpc.insecure_channel(options.address)
stub = Stub(channel, reflection, "ServerReflection")


def ask(**request):
    return next(stub.ServerReflectionInfo(iter([reflection.ServerReflectionRequest(**request)])))


if options.what == "list":
    for service in sorted(s.name for s in ask(list_services="").list_services_response.service):
        print(service)
else:
    service, _, name = options.what.partition("/")
    answer = ask(file_containing_symbol=service).file_descriptor_response
    pool = descriptor_pool.DescriptorPool()
    for file in answer.file_descriptor_proto:
        pool.Add(descriptor_pb2.FileDescriptorProto.FromString(file))
    method = pool.FindServiceByName(service).FindMethodByName(name)
    factory = message_factory.MessageFactory(pool)
    request = json_format.Parse(options.d, factory.GetPrototype(method.input_type)())
    call = channel.unary_stream(
        "/%s/%s" % (service, name), request_serializer=lambda message: message.SerializeToString(),
        response_deserializer=factory.GetPrototype(method.output_type).FromString)
    for message in call(request):
        print(json_format.MessageToJson(message))
