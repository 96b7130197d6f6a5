use std::path::PathBuf;

use schemars::JsonSchema;

use crate::model::RepositoryName;
use crate::platform::SecretRef;
use crate::policy::address::{Arn, ObjectUrl, Region, S3Endpoint};
use crate::policy::decode::{Decode, Diagnostics, KeyedTable, Node, Spanned};
use crate::policy::macros::{table, words};
use crate::policy::value::{LockPeriod, RecipientKey};
use crate::policy::{Checksum, LockMode};

table! {
    /// Where backups are kept.
    RepositoriesTable {
        required {
            /// The first place backups go to and come from.
            primary: RepositoryTable,
        }
        optional {
            /// Further places, each whole in itself, by name: another region, another provider, another
            /// site. A backup is written to all of them at once.
            copies: KeyedTable<RepositoryName, RepositoryTable>,
        }
    }
}

table! {
    /// One place backups are kept: a bucket (`url`) or a directory (`directory`).
    RepositoryTable {
        required {}
        optional {
            /// `s3://bucket/prefix`.
            url: ObjectUrl,
            /// A directory; relative to the policy file.
            directory: PathBuf,
            /// The directory is a mount point: where nothing is mounted the repository is unavailable, and nothing
            /// is written to the disk below. False unless given.
            mount: bool,
            /// The bucket's region, like `us-east-1`; Cloudflare R2 has `auto`.
            region: Region,
            /// The server's address, for anything that is not AWS.
            endpoint: S3Endpoint,
            /// The bucket in the path and not in the host's name. True where there is an `endpoint`, unless
            /// given.
            path_style: bool,
            /// Where credentials come from. The SDK's own chain unless given: environment, profile
            /// `default`, web identity, container, instance.
            credentials: CredentialsTable,
            /// The checksum by which the store verifies uploads. `crc64nvme` unless given.
            checksum: Checksum,
            /// Like `STANDARD_IA`; left to the bucket unless given. Classes that must be thawed before they
            /// can be read are refused.
            storage_class: String,
            /// What the store encrypts with, on top of age.
            server_side_encryption: SseWord,
            /// Key for `aws:kms`; the account's own unless given.
            kms_key: String,
            /// Prevents deletion in the store (object lock).
            object_lock: ObjectLockTable,
        }
    }
}

table! {
    /// Where credentials come from: `profile`, or `role`, or the pair of keys.
    CredentialsTable {
        required {}
        optional {
            /// A profile of the shared AWS configuration.
            profile: String,
            /// ARN of a role to assume.
            role: Arn,
            /// Goes with `role`, where its trust policy asks for one.
            external_id: String,
            /// By reference: `env:NAME`, `file:/path`, `command:…`.
            access_key_id: SecretRef,
            /// By reference.
            secret_access_key: SecretRef,
            /// By reference, for temporary keys.
            session_token: SecretRef,
        }
    }
}

words! {
    /// What the store encrypts with.
    SseWord {
        /// The store's own keys.
        "AES256" => S3,
        /// A key of AWS KMS.
        "aws:kms" => Kms,
    }
}

table! {
    /// Write-once, from the upload on.
    ObjectLockTable {
        required {
            /// Who may lift it early.
            mode: LockMode,
            /// For how long, like `35d`, from the upload on; or `rules`: as long as the rules of `[retention]` keep it.
            retain: LockPeriod,
        }
        optional {}
    }
}

table! {
    /// Who can read the backups. At least two keys (one for daily work, one in escrow), unless the policy
    /// says otherwise in so many words.
    EncryptionTable {
        required {}
        optional {
            /// age public keys. `drctl keys generate` makes them.
            recipients: Vec<Spanned<RecipientEntry>>,
            /// Accepts a single recipient: without its identity every backup is lost.
            danger_single_recipient: bool,
            /// Accepts no encryption: read access to a repository is access to the data.
            danger_unencrypted: bool,
        }
    }
}

/// An age public key, with who holds its identity or without.
#[derive(Clone, Debug, JsonSchema)]
#[schemars(untagged)]
pub(in crate::policy) enum RecipientEntry {
    Key(RecipientKey),
    Held(RecipientTable),
}

table! {
    /// An age public key and who holds its identity.
    RecipientTable {
        required {
            /// `age1…`
            key: RecipientKey,
        }
        optional {
            /// `operational`, `escrow`, …
            holder: String,
        }
    }
}

impl Decode for RecipientEntry {
    const EXAMPLE: &'static str = "\"age1…\"";

    fn read(node: &Node<'_>, log: &mut Diagnostics<'_>) -> Option<Self> {
        if node.value.is_table() {
            return RecipientTable::read(node, log).map(Self::Held);
        }
        RecipientKey::read(node, log).map(Self::Key)
    }
}
