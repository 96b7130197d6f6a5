use std::path::PathBuf;

use super::CredentialsTable;
use crate::model::RepositoryName;
use crate::platform::SecretRef;
use crate::policy::RowCounts;
use crate::policy::address::{Arn, ObjectUrl, PostgresUrl, RedisUrl, Region, S3Endpoint};
use crate::policy::decode::{KeyedTable, OneOrMany, Spanned};
use crate::policy::macros::{kinds, table, words};
use crate::policy::value::{Period, WholeNumber};

kinds! {
    /// One thing in the system that is backed up.
    SourceTable {
        /// A PostgreSQL database, by connection.
        "postgres" => Postgres(PostgresTable),
        /// An Amazon RDS instance or cluster, by snapshots and their copies in other regions.
        "rds" => Rds(RdsTable),
        /// A resource that AWS Backup protects, by recovery points and their copies in other regions. RDS, Aurora, EFS,
        /// S3 and DynamoDB are restored; others only with `restored_by_aws`.
        "aws-backup" => AwsBackup(AwsBackupTable),
        /// Files and directories.
        "files" => Files(FilesTable),
        /// A SQLite database.
        "sqlite" => Sqlite(SqliteTable),
        /// A directory of ChromaDB: a SQLite database, and its vector indexes beside it.
        "chroma" => Chroma(ChromaTable),
        /// A Redis server.
        "redis" => Redis(RedisTable),
        /// A Git repository.
        "git" => Git(GitTable),
        /// The objects of a bucket.
        "bucket" => Bucket(BucketTable),
        /// What a command writes.
        "command" => Command(CommandTable),
    }
}

table! {
    /// A PostgreSQL database, by connection.
    PostgresTable {
        required {
            /// `postgres://user@host:port/database?sslmode=verify-full`, without a password; or a
            /// reference to the whole URL, like `env:DATABASE_URL`.
            url: PostgresUrl,
        }
        optional {
            /// By reference: `env:NAME`, `file:/path`, `command:…`.
            password: SecretRef,
            /// How it is backed up. `["logical"]` unless given.
            methods: Vec<Spanned<MethodWord>>,
            /// A directory to look in for `pg_dump` and its kin before the usual places; relative to the
            /// policy file.
            tools: PathBuf,
            /// Settings of method `logical`.
            logical: LogicalTable,
            /// Settings of method `base`.
            base: BaseTable,
            /// Settings of method `wal`.
            wal: WalTable,
        }
    }
}

words! {
    /// A way to back up a PostgreSQL database.
    MethodWord {
        /// A dump by `pg_dump`.
        "logical" => Logical,
        /// A base backup of the whole cluster, where a recovery starts; goes with `wal`.
        "base" => Base,
        /// Continuous archiving, for point-in-time recovery; goes with `base`.
        "wal" => Wal,
    }
}

table! {
    /// A dump by `pg_dump`.
    LogicalTable {
        required {}
        optional {
            /// Whether rows are counted in the dump's snapshot, for a restore to compare. `exact` unless
            /// given.
            row_counts: RowCounts,
            /// Roles and tablespaces beside the database (`pg_dumpall --globals-only`). True unless given.
            globals: bool,
            /// How long a dump waits for a lock before it fails. `60s` unless given.
            lock_wait: Period,
        }
    }
}

table! {
    /// A physical copy of the whole cluster.
    BaseTable {
        required {}
        optional {
            /// How the cluster is read. `replication` unless given.
            method: BaseWord,
            /// The server's data directory, for `method = "data-directory"`.
            data_directory: PathBuf,
            /// A server to copy instead, e.g. a standby.
            url: PostgresUrl,
            /// How many incremental backups may follow a full one, at most (PostgreSQL 17 and later with
            /// `summarize_wal`, by `replication`). A restore needs all of them. 0 unless given.
            incrementals: WholeNumber<0, 30>,
            /// How long a backup waits, once it is stored, for the WAL it needs; it is not yet restorable
            /// where the WAL is not archived by then. `2m` unless given.
            wal_wait: Period,
        }
    }
}

words! {
    /// How a base backup reads the cluster.
    BaseWord {
        /// Over a replication connection; works from another host.
        "replication" => Replication,
        /// From the files, on the server's own host.
        "data-directory" => DataDirectory,
    }
}

table! {
    /// Continuous archiving.
    WalTable {
        required {}
        optional {
            /// How WAL reaches the repositories. `archive` unless given.
            method: WalWord,
            /// The replication slot, for `method = "stream"`. `drctl` unless given.
            slot: String,
            /// Files on their way to the repositories at a time, where several wait. 4 unless given.
            parallel: WholeNumber<1, 32>,
            /// Segments fetched ahead of a server that recovers, at most; they lie beside its `pg_wal`
            /// files. 8 unless given.
            prefetch: WholeNumber<0, 64>,
            /// Repositories that need not confirm a file for it to count as archived, like `["west"]`.
            /// None unless given: while a repository is unavailable the server keeps its WAL, until its disk
            /// is full. A copy named here is completed by `drctl copies sync`; what it lacks until then is
            /// lost with the others.
            optional: Vec<Spanned<RepositoryName>>,
        }
    }
}

words! {
    /// How WAL reaches the repositories.
    WalWord {
        /// The server's `archive_command` runs `drctl wal push`.
        "archive" => Archive,
        /// `drctl wal stream` follows the server: seconds behind instead of a segment.
        "stream" => Stream,
    }
}

table! {
    /// An Amazon RDS instance or cluster (`instance` or `cluster`).
    RdsTable {
        required {
            /// Where it runs.
            region: Region,
        }
        optional {
            /// Identifier of a DB instance.
            instance: String,
            /// Identifier of a Multi-AZ or Aurora cluster.
            cluster: String,
            /// How often the status in AWS is queried. `20s` unless given.
            poll: Period,
            /// How long a snapshot, a copy or a restore may take. `24h` unless given.
            deadline: Period,
            /// How long a region that answers nothing is waited for where it is only asked what it has, as by
            /// `status`, `doctor` and the plan of a restore. `15s` unless given.
            patience: Period,
            /// The service's address, for anything that is not AWS.
            endpoint: S3Endpoint,
            /// Where credentials come from; the SDK's own chain unless given.
            credentials: CredentialsTable,
            /// How it is backed up. `["snapshot"]` unless given.
            methods: Vec<Spanned<RdsMethodWord>>,
            /// Other regions, each with the names things have there.
            copy_to: KeyedTable<Region, RdsRegionTable>,
            /// Accounts a snapshot is shared with, 12 digits each.
            share_with: Vec<Spanned<String>>,
            /// How to log in, as for kind `postgres`: to dump it by method `logical`, and to see that what is
            /// restored can be used (the host is that of the restored one then).
            url: PostgresUrl,
            /// By reference.
            password: SecretRef,
            /// How the login proves who it is. `password` unless given.
            authentication: AuthenticationWord,
            /// Settings of method `logical`.
            logical: LogicalTable,
            /// What is run when a restored instance takes its place.
            promote: PromoteTable,
        }
    }
}

table! {
    /// What is run when a restored instance takes production's place: programs with their arguments, no shell.
    /// Each gets `DRCTL_INSTANCE` and `DRCTL_REGION`, and where the new one is, `DRCTL_HOST` and `DRCTL_PORT`.
    /// A promotion that is resumed runs them again.
    PromoteTable {
        required {}
        optional {
            /// Stops everything that writes, before anything else is done.
            freeze: Vec<Spanned<String>>,
            /// Leads applications to the new instance, e.g. by a DNS record.
            redirect: Vec<Spanned<String>>,
            /// Lets writers back, last.
            reopen: Vec<Spanned<String>>,
        }
    }
}

words! {
    /// How a login to an RDS database proves who it is.
    AuthenticationWord {
        /// By `password`, or by what libpq finds where there is none (`PGPASSWORD`, `~/.pgpass`).
        "password" => Password,
        /// By a token that the source's AWS credentials sign for each connection: the instance has IAM
        /// authentication on, the role is granted `rds_iam`, and IAM allows `rds-db:connect`. The `url` says
        /// `sslmode=verify-full`, and names the endpoint as RDS does.
        "iam" => Iam,
    }
}

words! {
    /// A way to back up an RDS database.
    RdsMethodWord {
        /// A snapshot that RDS keeps.
        "snapshot" => Snapshot,
        /// A dump by `pg_dump`, so that a copy exists outside the account.
        "logical" => Logical,
    }
}

table! {
    /// A region that snapshots are copied to, and what a restore uses there.
    RdsRegionTable {
        required {}
        optional {
            /// KMS key of that region; needed where the database is encrypted.
            kms_key: String,
            /// Whether RDS replicates its automated backups there, for point-in-time recovery.
            automated_backups: bool,
            /// DB subnet group a restore uses.
            subnet_group: String,
            /// VPC security groups a restore uses.
            security_groups: Vec<Spanned<String>>,
            /// DB parameter group a restore uses.
            parameter_group: String,
            /// Option group a restore uses.
            option_group: String,
        }
    }
}

table! {
    /// A resource that AWS Backup protects.
    AwsBackupTable {
        required {
            /// ARN of the resource.
            resource: Arn,
            /// The vault recovery points go to.
            vault: String,
            /// ARN of the role AWS Backup acts as.
            role: Arn,
        }
        optional {
            /// Where it is; the resource's own region unless given.
            region: Region,
            /// How often the status in AWS is queried. `20s` unless given.
            poll: Period,
            /// How long a backup job, a copy or a restore may take. `24h` unless given.
            deadline: Period,
            /// How long a region that answers nothing is waited for where it is only asked what it has, as by
            /// `status`, `doctor` and the plan of a restore. `15s` unless given.
            patience: Period,
            /// The service's address, for anything that is not AWS.
            endpoint: S3Endpoint,
            /// Where credentials come from; the SDK's own chain unless given.
            credentials: CredentialsTable,
            /// Vaults of other regions that recovery points are copied to, by region.
            copy_to: KeyedTable<Region, VaultTable>,
            /// A job that has not begun after this long has failed. `8h` unless given.
            start_window: Period,
            /// An existing AWS Backup plan whose recovery points count as this source's.
            plan: String,
            /// Of a resource that drctl does not restore (EBS, EC2, FSx, Redshift, Storage Gateway, DocumentDB,
            /// Neptune, VMware, …): AWS's console, or its command line, is to restore it. Without it drctl takes no
            /// backup of one. False unless given.
            restored_by_aws: bool,
        }
    }
}

table! {
    /// A vault of another region.
    VaultTable {
        required {
            /// Its name.
            vault: String,
        }
        optional {}
    }
}

table! {
    /// Files and directories.
    FilesTable {
        required {
            /// Files or directories; relative to the policy file.
            paths: OneOrMany<PathBuf>,
        }
        optional {
            /// Globs of the files that are backed up, like `**/*.toml`. All of them unless given.
            include: Vec<Spanned<String>>,
            /// Globs of what is left out, like `**/cache/**`; stronger than `include`.
            exclude: Vec<Spanned<String>>,
            /// Whether to stay on the file system each path is on. False unless given.
            one_file_system: bool,
            /// How many incremental backups, of what is new or changed, may follow a full one, at most. A restore
            /// needs all of them. 6 unless given.
            incrementals: WholeNumber<0, 100>,
        }
    }
}

table! {
    /// A SQLite database.
    SqliteTable {
        required {
            /// The database file; relative to the policy file.
            path: PathBuf,
        }
        optional {
            /// How long to wait for a lock. `60s` unless given.
            lock_wait: Period,
        }
    }
}

table! {
    /// A directory of ChromaDB.
    ChromaTable {
        required {
            /// The directory with `chroma.sqlite3`; relative to the policy file.
            path: PathBuf,
        }
        optional {
            /// How long to wait for a lock of its SQLite database. `60s` unless given.
            lock_wait: Period,
            /// How often it is copied, at most, because its indexes were written to meanwhile. 5 unless given.
            attempts: WholeNumber<1, 100>,
        }
    }
}

table! {
    /// A Redis server.
    RedisTable {
        required {
            /// `redis://user@host:6379` (`rediss` with TLS, `unix:///path` for a socket), without a password; or a
            /// reference to the whole URL.
            url: RedisUrl,
        }
        optional {
            /// By reference.
            password: SecretRef,
            /// The master's name, where the URL is that of a Sentinel.
            sentinel_master: String,
            /// The certificate authority of a server with TLS; the host's own unless given.
            ca_certificate: PathBuf,
            /// How long the transfer may take. `6h` unless given.
            deadline: Period,
        }
    }
}

table! {
    /// A Git repository, every branch and tag.
    GitTable {
        required {
            /// What `git clone` would take: `https://…`, `ssh://…`, `user@host:path`, or a path.
            remote: String,
        }
        optional {
            /// For `https`, by reference.
            token: SecretRef,
            /// Private key for `ssh`, by reference.
            ssh_key: SecretRef,
            /// How many incremental bundles may follow a full one, at most. A restore needs all of them. 10 unless
            /// given.
            incrementals: WholeNumber<0, 100>,
            /// How long the transfer may take. `6h` unless given.
            deadline: Period,
        }
    }
}

table! {
    /// The objects of a bucket.
    BucketTable {
        required {
            /// `s3://bucket/prefix`.
            url: ObjectUrl,
            /// The bucket's region; Cloudflare R2 has `auto`.
            region: Region,
        }
        optional {
            /// The server's address, for anything that is not AWS.
            endpoint: S3Endpoint,
            /// The bucket in the path and not in the host's name. True where there is an `endpoint`, unless
            /// given.
            path_style: bool,
            /// Where credentials come from; the SDK's own chain unless given.
            credentials: CredentialsTable,
            /// Globs of keys that are left out.
            exclude: Vec<Spanned<String>>,
            /// How many incremental backups, of what is new or changed, may follow a full one, at most. A restore
            /// needs all of them. 6 unless given.
            incrementals: WholeNumber<0, 100>,
        }
    }
}

table! {
    /// What a command writes on its standard output.
    CommandTable {
        required {
            /// The program and its arguments, no shell.
            command: Vec<Spanned<String>>,
        }
        optional {
            /// The program that reads it back on its standard input, and its arguments.
            restore_command: Vec<Spanned<String>>,
            /// Name of the file it is stored as, before `.zst.age`. `output` unless given.
            file_name: String,
            /// Environment of both commands, each value by reference.
            environment: KeyedTable<String, SecretRef>,
            /// How long it may run. `6h` unless given.
            deadline: Period,
        }
    }
}
