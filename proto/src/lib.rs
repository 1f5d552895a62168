//! The wire of replank: protobuf messages, gRPC services, and conversions to and from the common types.
