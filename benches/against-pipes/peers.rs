//! Other tools of the field, measured where they are installed.

use std::path::PathBuf;

use crate::contender::Contender;

/// Of pgBackRest's and restic's repositories: they encrypt with a password.
pub(crate) const PASSWORD: &str = "only of a benchmark";
/// Of wal-rus: libsodium's secret stream, since it has nothing that only a private key opens.
const KEY: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    WalRus,
    PgBackRest,
    Restic,
}

impl Peer {
    const ALL: [Self; 3] = [Self::WalRus, Self::PgBackRest, Self::Restic];

    /// The program, and the variable that says where it is if not in `PATH`.
    fn program(self) -> (&'static str, &'static str) {
        match self {
            Self::WalRus => ("walrus", "WALRUS"),
            Self::PgBackRest => ("pgbackrest", "PGBACKREST"),
            Self::Restic => ("restic", "RESTIC"),
        }
    }

    fn install(self) -> &'static str {
        match self {
            Self::WalRus => "cargo install wal-rus",
            Self::PgBackRest => "apt-get install pgbackrest",
            Self::Restic => "apt-get install restic",
        }
    }
}

/// Where the tools are that are there.
#[derive(Clone, Debug)]
pub(crate) struct Peers(Vec<(Peer, PathBuf)>);

impl Peers {
    pub(crate) fn find() -> Self {
        let found = Peer::ALL.into_iter().filter_map(|peer| Some((peer, locate(peer)?))).collect();
        Self(found)
    }

    pub(crate) fn program(&self, peer: Peer) -> Option<&PathBuf> {
        self.0.iter().find(|(found, _)| *found == peer).map(|(_, program)| program)
    }

    /// Whether what it takes is installed.
    pub(crate) fn allow(&self, contender: Contender) -> bool {
        contender.peer().is_none_or(|peer| self.program(peer).is_some())
    }

    /// What is not measured, and how it would be.
    pub(crate) fn missing(&self) -> Vec<String> {
        let missing = Peer::ALL.into_iter().filter(|peer| self.program(*peer).is_none());
        missing
            .map(|peer| {
                let (program, variable) = peer.program();
                format!(
                    "Not measured: `{program}` is neither in PATH nor named by {variable} ({}).",
                    peer.install()
                )
            })
            .collect()
    }
}

fn locate(peer: Peer) -> Option<PathBuf> {
    let (program, variable) = peer.program();
    let named = std::env::var_os(variable).map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut candidates =
        named.into_iter().chain(std::env::split_paths(&path).map(|folder| folder.join(program)));
    candidates.find(|candidate| candidate.is_file())
}

/// The settings of wal-rus, beside the surroundings that all have: its own level would be 1.
pub(crate) fn wal_rus_settings(endpoint: &str) -> [(&'static str, String); 9] {
    [
        ("WALG_S3_PREFIX", "s3://bench/wal-rus".to_owned()),
        ("AWS_ENDPOINT", endpoint.to_owned()),
        ("AWS_S3_FORCE_PATH_STYLE", "true".to_owned()),
        ("WALG_COMPRESSION_METHOD", "zstd".to_owned()),
        ("WALG_COMPRESSION_LEVEL", "3".to_owned()),
        ("WALG_LIBSODIUM_KEY", KEY.to_owned()),
        ("WALG_LIBSODIUM_KEY_TRANSFORM", "hex".to_owned()),
        ("WALG_UPLOAD_CONCURRENCY", "2".to_owned()),
        ("WALG_DOWNLOAD_CONCURRENCY", "2".to_owned()),
    ]
}

/// The settings of pgBackRest. Its repository is a directory below `home`: it speaks to S3 over TLS only,
/// which the benchmark's server does not. It is spared what sending takes, and so is at an advantage.
pub(crate) fn pgbackrest_settings(home: &str, data: &str, socket: &str, port: u16, user: &str) -> String {
    format!(
        "[global]\nrepo1-path={home}/pgbackrest\nrepo1-cipher-type=aes-256-cbc\nrepo1-cipher-pass={PASSWORD}\n\
         repo1-bundle=y\nrepo1-retention-full=9999999\ncompress-type=zst\ncompress-level=3\nprocess-max=2\n\
         start-fast=y\narchive-check=n\nlock-path={home}/pgbackrest-locks\nlog-path={home}\n\
         log-level-file=off\nlog-level-console=warn\n\n\
         [shop]\npg1-path={data}\npg1-socket-path={socket}\npg1-port={port}\npg1-user={user}\n"
    )
}
