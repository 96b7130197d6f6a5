//! A [`super::Store`] in an S3 bucket, through the AWS SDK.
//!
//! *Invariants.* Bodies are in memory, so that an attempt can be repeated byte for byte and checksums are
//! sent in headers. Every object carries a nonce of its writer, `drctl-write`: a conditional write whose
//! response was lost and whose retry is rejected finds its own nonce and is a success. A multipart upload is
//! a success once the store has confirmed the size of the object, and its checksum if it records one of the
//! whole.
//!
//! *Not here.* Client, credentials, deadlines and retries: [`crate::aws`].

mod bucket;
mod checksum;
mod delete;
mod error;
mod foreign;
mod foreign_write;
mod lifecycle;
mod payload_hash;
mod read;
mod retain;
mod server_date;
mod store;
mod upload;
mod versions;
mod write;

pub use bucket::S3Store;
pub use foreign::{
    ListedNext, ListedObject, ObjectBody, ObjectHeaders, ReadFailure, ReadObject, Replication,
};
