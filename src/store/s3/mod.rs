//! A [`super::Store`] in a bucket, by the AWS SDK.
//!
//! *Invariants.* Bodies are in memory, so that an attempt can be repeated byte for byte and checksums
//! stand in headers. Every object carries a random word of its writer, `drctl-write`: a conditional write
//! whose answer was lost and whose repetition is refused finds its own word and is a success. An upload
//! of several parts is a success when the store has confirmed the size of the object, and its checksum
//! where it keeps one of the whole.
//!
//! *Not here.* Client, credentials, deadlines and retries: [`crate::aws`].

mod bucket;
mod checksum;
mod delete;
mod error;
mod payload_hash;
mod read;
mod retain;
mod server_date;
mod store;
mod upload;
mod write;

pub use bucket::S3Store;
