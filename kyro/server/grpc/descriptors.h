// Written by scripts/make_descriptors.sh (`make proto`) from the protos in scripts/api: each file's
// FileDescriptorProto, as the reflection service hands it out.
#pragma once

#include <array>
#include <string_view>

namespace kyro::rpc {

struct FileDescriptor {
  std::string_view name;
  std::string_view bytes;
};

// clang-format off
inline constexpr std::array<FileDescriptor, 4> kDescriptors = {{
    {"kyrodb.proto",
     std::string_view(
         "\012\014kyrodb.proto\022\011kyrodb.v1\042c\012\011Condition\022\030\012\006absent"
         "\030\001 \001(\010H\000R\006absent\022\032\012\007present\030\002 \001(\010H\000R"
         "\007present\022\030\012\006offset\030\003 \001(\004H\000R\006offsetB\006\012\004want"
         "\042\235\001\012\012PutRequest\022\020\012\003key\030\001 \001(\004R\003key\022\024"
         "\012\005value\030\002 \001(\014R\005value\022\031\012\010ttl_secs\030\003 \001(\004R"
         "\007ttlSecs\0222\012\011condition\030\004 \001(\0132\024.kyrodb.v1.ConditionR\011con"
         "dition\022\030\012\007expires\030\005 \001(\004R\007expires\042\077\012\013PutRespon"
         "se\022\026\012\006offset\030\001 \001(\004R\006offset\022\030\012\007created\030\002"
         " \001(\010R\007created\042\077\012\012GetRequest\022\020\012\003key\030\001 \001("
         "\004R\003key\022\037\012\013offset_only\030\002 \001(\010R\012offsetOnly\042\233\001"
         "\012\013GetResponse\022\024\012\005value\030\001 \001(\014R\005value\022\026\012\006"
         "offset\030\002 \001(\004R\006offset\022&\012\017expires_in_secs\030\003 \001(\004R"
         "\015expiresInSecs\022\030\012\007expires\030\004 \001(\004R\007expires\022\034\012"
         "\011unchanged\030\005 \001(\010R\011unchanged\042j\012\013WaitRequest\022\020\012"
         "\003key\030\001 \001(\004R\003key\022#\012\014known_offset\030\002 \001(\004H\000R"
         "\013knownOffset\022\033\012\011wait_secs\030\003 \001(\004R\010waitSecsB\007\012\005"
         "known\042U\012\015DeleteRequest\022\020\012\003key\030\001 \001(\004R\003key\0222"
         "\012\011condition\030\002 \001(\0132\024.kyrodb.v1.ConditionR\011condition\042(\012"
         "\016DeleteResponse\022\026\012\006offset\030\001 \001(\004R\006offset\042%\012\017Mu"
         "ltiGetRequest\022\022\012\004keys\030\001 \003(\004R\004keys\042\260\001\012\020Mult"
         "iGetResponse\0226\012\005items\030\001 \003(\0132 .kyrodb.v1.MultiGetResponse.ItemR"
         "\005items\032d\012\004Item\022\024\012\005found\030\001 \001(\010R\005found\022\024"
         "\012\005value\030\002 \001(\014R\005value\022\026\012\006offset\030\003 \001(\004R"
         "\006offset\022\030\012\007expires\030\004 \001(\004R\007expires\042p\012\011Operatio"
         "n\022)\012\003put\030\001 \001(\0132\025.kyrodb.v1.PutRequestH\000R\003put\0222\012"
         "\006delete\030\002 \001(\0132\030.kyrodb.v1.DeleteRequestH\000R\006deleteB\004\012"
         "\002op\042D\012\014WriteRequest\0224\012\012operations\030\001 \003(\0132\024.kyrodb"
         ".v1.OperationR\012operations\042F\012\015WriteResponse\022\037\012\013last_offset"
         "\030\001 \001(\004R\012lastOffset\022\024\012\005count\030\002 \001(\004R\005count"
         "\042Y\012\021PutStreamResponse\022\022\012\004code\030\001 \001(\005R\004code\022"
         "\030\012\007message\030\002 \001(\011R\007message\022\026\012\006offset\030\003 \001"
         "(\004R\006offset\042\215\001\012\013ScanRequest\022\024\012\005first\030\001 \001("
         "\004R\005first\022\022\012\003end\030\002 \001(\004H\000R\003end\022\024\012\005limi"
         "t\030\003 \001(\004R\005limit\022\030\012\007reverse\030\004 \001(\010R\007reverse"
         "\022\033\012\011keys_only\030\005 \001(\010R\010keysOnlyB\007\012\005upper\042b\012"
         "\006Record\022\020\012\003key\030\001 \001(\004R\003key\022\024\012\005value\030\002"
         " \001(\014R\005value\022\026\012\006offset\030\003 \001(\004R\006offset\022\030\012"
         "\007expires\030\004 \001(\004R\007expires\042A\012\014CountRequest\022\024\012\005fi"
         "rst\030\001 \001(\004R\005first\022\022\012\003end\030\002 \001(\004H\000R\003endB"
         "\007\012\005upper\042:\012\015CountResponse\022\024\012\005count\030\001 \001(\004R"
         "\005count\022\023\012\005as_of\030\002 \001(\004R\004asOf\042h\012\022DeleteRangeReq"
         "uest\022\026\012\005first\030\001 \001(\004H\000R\005first\022\022\012\003end\030"
         "\002 \001(\004H\001R\003end\022\024\012\005limit\030\003 \001(\004R\005limitB\007"
         "\012\005lowerB\007\012\005upper\042_\012\023DeleteRangeResponse\022\030\012\007delet"
         "ed\030\001 \001(\004R\007deleted\022\032\012\010complete\030\002 \001(\010R\010compl"
         "ete\022\022\012\004next\030\003 \001(\004R\004next\042\207\001\012\016NearestRequest"
         "\022\020\012\003key\030\001 \001(\004R\003key\022A\012\011direction\030\002 \001("
         "\0162#.kyrodb.v1.NearestRequest.DirectionR\011direction\042 \012\011Direction\022"
         "\011\012\005FLOOR\020\000\022\010\012\004CEIL\020\001\042\245\001\012\020SubscribeRe"
         "quest\022!\012\013from_offset\030\001 \001(\004H\000R\012fromOffset\022\022\012\003k"
         "ey\030\002 \001(\004H\001R\003key\022+\012\005range\030\003 \001(\0132\023.kyrodb.v1"
         ".KeyRangeH\001R\005range\022\032\012\010progress\030\004 \001(\010R\010progressB\007"
         "\012\005startB\010\012\006filter\042=\012\010KeyRange\022\024\012\005first\030\001 "
         "\001(\004R\005first\022\022\012\003end\030\002 \001(\004H\000R\003endB\007\012\005up"
         "per\042\267\001\012\011LogRecord\022\026\012\006offset\030\001 \001(\004R\006offset"
         "\022'\012\002op\030\002 \001(\0162\027.kyrodb.v1.LogRecord.OpR\002op\022\020\012\003"
         "key\030\003 \001(\004R\003key\022\024\012\005value\030\004 \001(\014R\005value\022"
         "\030\012\007expires\030\005 \001(\004R\007expires\042'\012\002Op\022\007\012\003PUT"
         "\020\000\022\012\012\006DELETE\020\001\022\014\012\010PROGRESS\020\002\042\017\012"
         "\015OffsetRequest\042M\012\016OffsetResponse\022\037\012\013next_offset\030\001 \001"
         "(\004R\012nextOffset\022\032\012\010database\030\002 \001(\011R\010database\042\021"
         "\012\017SnapshotRequest\0423\012\020SnapshotResponse\022\037\012\013next_offset\030"
         "\001 \001(\004R\012nextOffset\042\020\012\016CompactRequest\042z\012\017CompactRespo"
         "nse\022!\012\014before_bytes\030\001 \001(\004R\013beforeBytes\022\037\012\013after_"
         "bytes\030\002 \001(\004R\012afterBytes\022#\012\015keys_retained\030\003 \001(\004R"
         "\014keysRetained\042\023\012\021BuildIndexRequest\042*\012\022BuildIndexResponse\022"
         "\024\012\005count\030\001 \001(\004R\005count2\247\006\012\002KV\0224\012\003Put\022"
         "\025.kyrodb.v1.PutRequest\032\026.kyrodb.v1.PutResponse\0224\012\003Get\022\025.kyro"
         "db.v1.GetRequest\032\026.kyrodb.v1.GetResponse\022=\012\006Delete\022\030.kyrodb.v1."
         "DeleteRequest\032\031.kyrodb.v1.DeleteResponse\022C\012\010MultiGet\022\032.kyrodb.v"
         "1.MultiGetRequest\032\033.kyrodb.v1.MultiGetResponse\022:\012\005Write\022\027.kyrod"
         "b.v1.WriteRequest\032\030.kyrodb.v1.WriteResponse\022D\012\011PutStream\022\025.kyro"
         "db.v1.PutRequest\032\034.kyrodb.v1.PutStreamResponse(\0010\001\0226\012\004Wait\022"
         "\026.kyrodb.v1.WaitRequest\032\026.kyrodb.v1.GetResponse\0223\012\004Scan\022\026.ky"
         "rodb.v1.ScanRequest\032\021.kyrodb.v1.Record0\001\022:\012\005Count\022\027.kyrodb.v"
         "1.CountRequest\032\030.kyrodb.v1.CountResponse\022L\012\013DeleteRange\022\035.kyrod"
         "b.v1.DeleteRangeRequest\032\036.kyrodb.v1.DeleteRangeResponse\0227\012\007Nearest"
         "\022\031.kyrodb.v1.NearestRequest\032\021.kyrodb.v1.Record\022@\012\011Subscribe\022"
         "\033.kyrodb.v1.SubscribeRequest\032\024.kyrodb.v1.LogRecord0\001\022=\012\006Offset"
         "\022\030.kyrodb.v1.OffsetRequest\032\031.kyrodb.v1.OffsetResponse2\331\001\012\005Ad"
         "min\022C\012\010Snapshot\022\032.kyrodb.v1.SnapshotRequest\032\033.kyrodb.v1.Snapsho"
         "tResponse\022@\012\007Compact\022\031.kyrodb.v1.CompactRequest\032\032.kyrodb.v1.Com"
         "pactResponse\022I\012\012BuildIndex\022\034.kyrodb.v1.BuildIndexRequest\032\035.kyro"
         "db.v1.BuildIndexResponseb\006proto3",
         3918)},
    {"grpc/health/v1/health.proto",
     std::string_view(
         "\012\033grpc/health/v1/health.proto\022\016grpc.health.v1\042.\012\022HealthCheckReq"
         "uest\022\030\012\007service\030\001 \001(\011R\007service\042\261\001\012\023HealthC"
         "heckResponse\022I\012\006status\030\001 \001(\01621.grpc.health.v1.HealthCheckRespon"
         "se.ServingStatusR\006status\042O\012\015ServingStatus\022\013\012\007UNKNOWN\020\000"
         "\022\013\012\007SERVING\020\001\022\017\012\013NOT_SERVING\020\002\022\023\012\017SE"
         "RVICE_UNKNOWN\020\0032\256\001\012\006Health\022P\012\005Check\022\042.grpc.health.v"
         "1.HealthCheckRequest\032#.grpc.health.v1.HealthCheckResponse\022R\012\005Watch\022"
         "\042.grpc.health.v1.HealthCheckRequest\032#.grpc.health.v1.HealthCheckResponse0\001b"
         "\006proto3",
         458)},
    {"grpc/reflection/v1/reflection.proto",
     std::string_view(
         "\012#grpc/reflection/v1/reflection.proto\022\022grpc.reflection.v1\042\363\002\012"
         "\027ServerReflectionRequest\022\022\012\004host\030\001 \001(\011R\004host\022*\012"
         "\020file_by_filename\030\003 \001(\011H\000R\016fileByFilename\0226\012\026file_cont"
         "aining_symbol\030\004 \001(\011H\000R\024fileContainingSymbol\022b\012\031file_conta"
         "ining_extension\030\005 \001(\0132$.grpc.reflection.v1.ExtensionRequestH\000R\027fil"
         "eContainingExtension\022B\012\035all_extension_numbers_of_type\030\006 \001(\011H"
         "\000R\031allExtensionNumbersOfType\022%\012\015list_services\030\007 \001(\011H\000R"
         "\014listServicesB\021\012\017message_request\042f\012\020ExtensionRequest\022'\012"
         "\017containing_type\030\001 \001(\011R\016containingType\022)\012\020extension_numbe"
         "r\030\002 \001(\005R\017extensionNumber\042\256\004\012\030ServerReflectionResponse"
         "\022\035\012\012valid_host\030\001 \001(\011R\011validHost\022V\012\020original_requ"
         "est\030\002 \001(\0132+.grpc.reflection.v1.ServerReflectionRequestR\017originalReque"
         "st\022f\012\030file_descriptor_response\030\004 \001(\0132*.grpc.reflection.v1.FileD"
         "escriptorResponseH\000R\026fileDescriptorResponse\022r\012\036all_extension_numbers_"
         "response\030\005 \001(\0132+.grpc.reflection.v1.ExtensionNumberResponseH\000R\033all"
         "ExtensionNumbersResponse\022_\012\026list_services_response\030\006 \001(\0132'.grpc"
         ".reflection.v1.ListServiceResponseH\000R\024listServicesResponse\022J\012\016error_r"
         "esponse\030\007 \001(\0132!.grpc.reflection.v1.ErrorResponseH\000R\015errorResponseB"
         "\022\012\020message_response\042L\012\026FileDescriptorResponse\0222\012\025file_des"
         "criptor_proto\030\001 \003(\014R\023fileDescriptorProto\042j\012\027ExtensionNumberR"
         "esponse\022$\012\016base_type_name\030\001 \001(\011R\014baseTypeName\022)\012\020ex"
         "tension_number\030\002 \003(\005R\017extensionNumber\042T\012\023ListServiceResponse"
         "\022=\012\007service\030\001 \003(\0132#.grpc.reflection.v1.ServiceResponseR\007serv"
         "ice\042%\012\017ServiceResponse\022\022\012\004name\030\001 \001(\011R\004name\042S"
         "\012\015ErrorResponse\022\035\012\012error_code\030\001 \001(\005R\011errorCode\022#"
         "\012\015error_message\030\002 \001(\011R\014errorMessage2\211\001\012\020ServerRefle"
         "ction\022u\012\024ServerReflectionInfo\022+.grpc.reflection.v1.ServerReflectionReque"
         "st\032,.grpc.reflection.v1.ServerReflectionResponse(\0010\001b\006proto3",
         1640)},
    {"grpc/reflection/v1alpha/reflection.proto",
     std::string_view(
         "\012(grpc/reflection/v1alpha/reflection.proto\022\027grpc.reflection.v1alpha\042\370"
         "\002\012\027ServerReflectionRequest\022\022\012\004host\030\001 \001(\011R\004host"
         "\022*\012\020file_by_filename\030\003 \001(\011H\000R\016fileByFilename\0226\012\026"
         "file_containing_symbol\030\004 \001(\011H\000R\024fileContainingSymbol\022g\012\031f"
         "ile_containing_extension\030\005 \001(\0132).grpc.reflection.v1alpha.ExtensionReques"
         "tH\000R\027fileContainingExtension\022B\012\035all_extension_numbers_of_type\030\006"
         " \001(\011H\000R\031allExtensionNumbersOfType\022%\012\015list_services\030\007 \001"
         "(\011H\000R\014listServicesB\021\012\017message_request\042f\012\020ExtensionRequest"
         "\022'\012\017containing_type\030\001 \001(\011R\016containingType\022)\012\020extens"
         "ion_number\030\002 \001(\005R\017extensionNumber\042\307\004\012\030ServerReflection"
         "Response\022\035\012\012valid_host\030\001 \001(\011R\011validHost\022[\012\020origi"
         "nal_request\030\002 \001(\01320.grpc.reflection.v1alpha.ServerReflectionRequestR\017"
         "originalRequest\022k\012\030file_descriptor_response\030\004 \001(\0132/.grpc.reflec"
         "tion.v1alpha.FileDescriptorResponseH\000R\026fileDescriptorResponse\022w\012\036all_"
         "extension_numbers_response\030\005 \001(\01320.grpc.reflection.v1alpha.ExtensionNumb"
         "erResponseH\000R\033allExtensionNumbersResponse\022d\012\026list_services_response"
         "\030\006 \001(\0132,.grpc.reflection.v1alpha.ListServiceResponseH\000R\024listServic"
         "esResponse\022O\012\016error_response\030\007 \001(\0132&.grpc.reflection.v1alpha.Er"
         "rorResponseH\000R\015errorResponseB\022\012\020message_response\042L\012\026FileDesc"
         "riptorResponse\0222\012\025file_descriptor_proto\030\001 \003(\014R\023fileDescripto"
         "rProto\042j\012\027ExtensionNumberResponse\022$\012\016base_type_name\030\001 \001("
         "\011R\014baseTypeName\022)\012\020extension_number\030\002 \003(\005R\017extensionNu"
         "mber\042Y\012\023ListServiceResponse\022B\012\007service\030\001 \003(\0132(.grpc.re"
         "flection.v1alpha.ServiceResponseR\007service\042%\012\017ServiceResponse\022\022\012"
         "\004name\030\001 \001(\011R\004name\042S\012\015ErrorResponse\022\035\012\012error_c"
         "ode\030\001 \001(\005R\011errorCode\022#\012\015error_message\030\002 \001(\011R\014"
         "errorMessage2\223\001\012\020ServerReflection\022\177\012\024ServerReflectionInfo"
         "\0220.grpc.reflection.v1alpha.ServerReflectionRequest\0321.grpc.reflection.v1alpha.S"
         "erverReflectionResponse(\0010\001b\006proto3",
         1695)},
}};
// clang-format on

}  // namespace kyro::rpc
