//! What is compared: each a command that does the whole of one job.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::Outcome;
use crate::support::postgres::Cluster;
use crate::support::s3::{ACCESS_KEY, SECRET_KEY};

/// The database that is backed up, and its source's name in the policies.
pub(crate) const DATABASE: &str = "shop";

/// The bucket's objects that the pipe and the two policies write, under one root each.
pub(crate) const PIPED: &str = "piped/shop.dump.zst.age";

const REGION: &str = "us-east-1";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Contender {
    Drctl,
    DrctlToTwo,
    Pipe,
    Script,
    RestoreDrctl,
    RestorePipe,
}

pub(crate) const BACKUPS: [Contender; 4] =
    [Contender::Drctl, Contender::DrctlToTwo, Contender::Pipe, Contender::Script];
pub(crate) const RESTORES: [Contender; 2] = [Contender::RestoreDrctl, Contender::RestorePipe];

impl Contender {
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Drctl => "drctl backup, one repository",
            Self::DrctlToTwo => "drctl backup, two repositories",
            Self::Pipe => "pg_dump | zstd | age | aws",
            Self::Script => "pg_dump > file, gzip file",
            Self::RestoreDrctl => "drctl restore --jobs 2",
            Self::RestorePipe => "aws | age | zstd > file, pg_restore",
        }
    }

    pub(crate) fn is_drctl(self) -> bool {
        matches!(self, Self::Drctl | Self::DrctlToTwo | Self::RestoreDrctl)
    }
}

/// Where everything of one benchmark is.
pub(crate) struct Ground {
    pub(crate) directory: PathBuf,
    pub(crate) cluster: Cluster,
    pub(crate) endpoint: String,
    /// Where `aws` is.
    pub(crate) aws: PathBuf,
    /// Public halves of the two keys.
    pub(crate) recipients: [String; 2],
}

impl Ground {
    pub(crate) fn identity(&self) -> PathBuf {
        self.directory.join("operational.key")
    }

    fn policy(&self, repositories: usize) -> PathBuf {
        self.directory.join(format!("to-{repositories}.toml"))
    }

    /// Room for the files of the pipe and the script.
    pub(crate) fn scratch(&self) -> PathBuf {
        self.directory.join("scratch")
    }

    /// What a command may keep between runs of it; made anew for each round.
    pub(crate) fn home(&self) -> PathBuf {
        self.directory.join("home")
    }

    /// Writes a policy for each number of repositories.
    pub(crate) fn write_policies(&self) -> Outcome<()> {
        let repository = |table: &str, name: &str| {
            format!(
                "[repository.{table}]\nurl = \"s3://bench/{name}\"\nregion = \"{}\"\nendpoint = \"{}\"\npath_style = true\n\n",
                REGION, self.endpoint
            )
        };
        for repositories in [1, 2] {
            let primary = repository("primary", &format!("of-{repositories}/primary"));
            let copy = repository("copies.away", &format!("of-{repositories}/away"));
            let text = format!(
                "[system]\nname = \"bench\"\n\n[objectives]\nrto = \"4h\"\nrpo = \"1h\"\n\n{primary}{}\
                 [encryption]\nrecipients = [\"{}\", \"{}\"]\n\n\
                 [sources.{DATABASE}]\nkind = \"postgres\"\nurl = \"{}\"\ntools = \"{}\"\n\n\
                 [catalog]\nurl = \"sqlite:{}\"\n",
                if repositories == 2 { copy } else { String::new() },
                self.recipients[0],
                self.recipients[1],
                self.cluster.url(DATABASE),
                self.cluster.programs().display(),
                self.home().join(format!("catalog-{repositories}.db")).display(),
            );
            std::fs::write(self.policy(repositories), text)?;
        }
        Ok(())
    }

    /// `restored` is the database a restore makes.
    pub(crate) fn command(&self, contender: Contender, restored: &str) -> Command {
        match contender {
            Contender::Drctl => self.drctl(1, &["backup", DATABASE]),
            Contender::DrctlToTwo => self.drctl(2, &["backup", DATABASE]),
            Contender::Pipe => self.bash(&format!(
                "pg_dump -Fc -Z0 {DATABASE} | zstd -q -3 -T0 | age -r {} -r {} | aws s3 cp --only-show-errors - s3://bench/{PIPED}",
                self.recipients[0], self.recipients[1]
            )),
            Contender::Script => self.bash(&format!("pg_dump -Fc {DATABASE} > shop.dump && gzip shop.dump")),
            Contender::RestoreDrctl => {
                let mut command = self.drctl(1, &["restore", DATABASE, "--to", restored, "--jobs", "2"]);
                command.arg("--identity").arg(self.identity());
                command
            }
            Contender::RestorePipe => self.bash(&format!(
                "aws s3 cp --only-show-errors s3://bench/{PIPED} - | age -d -i {} | zstd -q -d > shop.dump \
                 && createdb -T template0 {restored} && pg_restore -j2 -d {restored} shop.dump",
                self.identity().display()
            )),
        }
    }

    pub(crate) fn aws(&self, arguments: &str) -> Command {
        self.bash(&format!("aws {arguments}"))
    }

    fn drctl(&self, repositories: usize, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_drctl"));
        command.arg("--policy").arg(self.policy(repositories)).args(arguments);
        self.surround(&mut command);
        command
    }

    fn bash(&self, script: &str) -> Command {
        let mut command = Command::new("bash");
        command.args(["-c", &format!("set -euo pipefail; {script}")]);
        self.surround(&mut command);
        command
    }

    /// The same surroundings for all.
    fn surround(&self, command: &mut Command) {
        let path = [
            self.cluster.programs().to_owned(),
            self.aws.parent().map(Path::to_owned).unwrap_or_default(),
            "/usr/bin".into(),
            "/bin".into(),
        ];
        command
            .env_clear()
            .env("PATH", path.iter().map(|path| path.to_string_lossy()).collect::<Vec<_>>().join(":"))
            .env("LC_ALL", "C.UTF-8")
            .env("HOME", self.home())
            .env("DRCTL_STATE_DIR", self.home().join("state"))
            .env("TMPDIR", self.scratch())
            .env("PGHOST", "127.0.0.1")
            .env("PGPORT", self.cluster.port().to_string())
            .env("PGUSER", crate::support::postgres::SUPERUSER)
            .env("AWS_ENDPOINT_URL", &self.endpoint)
            .env("AWS_ACCESS_KEY_ID", ACCESS_KEY)
            .env("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
            .env("AWS_REGION", REGION)
            .env("AWS_DEFAULT_REGION", REGION)
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .current_dir(self.scratch());
    }
}
