//! Where everything of one benchmark is, and each contender's command.

use std::fs::Permissions;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::contender::{Contender, Group};
use crate::log::Counts;
use crate::peers::{self, Peer, Peers};
use crate::support::Outcome;
use crate::support::postgres::{Cluster, SUPERUSER, owner};
use crate::support::s3::{ACCESS_KEY, SECRET_KEY};

/// The database that is backed up, and its source's name in the policies.
pub(crate) const DATABASE: &str = "shop";

const REGION: &str = "us-east-1";
const PIPED: &str = "s3://bench/piped";

pub(crate) struct Ground {
    pub(crate) directory: PathBuf,
    pub(crate) cluster: Cluster,
    pub(crate) endpoint: String,
    /// Where `aws` is.
    pub(crate) aws: PathBuf,
    /// Public halves of the two keys.
    pub(crate) recipients: [String; 2],
    pub(crate) counts: Counts,
    pub(crate) peers: Peers,
}

impl Ground {
    /// Room for the files of the pipe and the script.
    pub(crate) fn scratch(&self) -> PathBuf {
        self.directory.join("scratch")
    }

    /// What a command may keep between runs of it; made anew for each round.
    pub(crate) fn home(&self) -> PathBuf {
        self.directory.join("home")
    }

    /// A folder of log, as a server has it.
    pub(crate) fn log(&self) -> PathBuf {
        self.directory.join("pg_wal")
    }

    /// Where a restore puts a cluster.
    pub(crate) fn restored(&self) -> PathBuf {
        self.scratch().join("restored")
    }

    /// The files that are backed up.
    pub(crate) fn files(&self) -> PathBuf {
        self.directory.join("files")
    }

    fn identity(&self) -> PathBuf {
        self.directory.join("operational.key")
    }

    /// The program, where the server may run it too.
    fn program(&self) -> PathBuf {
        self.directory.join("drctl")
    }

    /// What the server archives with.
    pub(crate) fn archive_script(&self) -> PathBuf {
        self.directory.join("archive")
    }

    fn pgbackrest_settings(&self) -> PathBuf {
        self.directory.join("pgbackrest.conf")
    }

    fn policy(&self, name: &str) -> PathBuf {
        self.directory.join(format!("{name}.toml"))
    }

    /// Writes what drctl needs, for us and for the server's user.
    pub(crate) fn set_up(&self) -> Outcome<()> {
        let repository = |table: &str, root: &str| {
            format!(
                "[repository.{table}]\nurl = \"s3://bench/{root}\"\nregion = \"{REGION}\"\nendpoint = \"{}\"\npath_style = true\n\n",
                self.endpoint
            )
        };
        let files =
            format!("method = \"data-directory\"\ndata_directory = \"{}\"", self.cluster.data().display());
        let physical =
            |base: &str| format!("methods = [\"base\", \"wal\"]\n\n[sources.{DATABASE}.base]\n{base}\n");
        self.write_policy("dump", &repository("primary", "one"), "")?;
        let two = repository("primary", "two/primary") + &repository("copies.away", "two/away");
        self.write_policy("dump-to-two", &two, "")?;
        // The same repository, and checks of what comes back.
        let drill = format!(
            "[drill]\nsource = \"{DATABASE}\"\ndirectory = \"{}\"\nidentity = \"file:{}\"\n\
             [[drill.checks]]\nname = \"orders\"\nsql = \"SELECT count(*) FROM orders\"\nat_least = 1\n\
             [[drill.checks]]\nname = \"customers\"\nsql = \"SELECT count(*) FROM customers\"\nat_least = 1\n",
            self.directory.join("d").display(),
            self.identity().display()
        );
        self.write_policy("drill", &repository("primary", "one"), &drill)?;
        self.write_policy("base-replication", &repository("primary", "base"), &physical(""))?;
        self.write_policy("base-files", &repository("primary", "base"), &physical(&files))?;
        self.write_policy("wal", &repository("primary", "wal"), &physical(""))?;

        let files = format!("[sources.files]\nkind = \"files\"\npaths = [\"{}\"]\n", self.files().display());
        self.write_policy_of("files", &repository("primary", "files"), &files)?;

        let settings = peers::pgbackrest_settings(
            &self.home().to_string_lossy(),
            &self.cluster.data().to_string_lossy(),
            &self.cluster.socket_directory().to_string_lossy(),
            self.cluster.port(),
            SUPERUSER,
        );
        std::fs::write(self.pgbackrest_settings(), settings)?;

        std::fs::copy(env!("CARGO_BIN_EXE_drctl"), self.program())?;
        if let Some((user, group)) = owner()? {
            chown(self.identity(), Some(user), Some(group))?;
        }
        let mut push = Command::new(self.program());
        self.surround(&mut push);
        let variables = push.get_envs().map(|(name, value)| {
            format!("{}='{}'", name.to_string_lossy(), value.unwrap_or_default().to_string_lossy())
        });
        let variables: Vec<_> = variables.collect();
        let script = format!(
            "#!/bin/sh\nexec env -i {} {} --policy {} wal push \"$1\"\n",
            variables.join(" "),
            self.program().display(),
            self.policy("base-replication").display()
        );
        std::fs::write(self.archive_script(), script)?;
        std::fs::set_permissions(self.archive_script(), Permissions::from_mode(0o755))?;
        Ok(())
    }

    fn write_policy(&self, name: &str, repositories: &str, source: &str) -> Outcome<()> {
        let source = format!(
            "[sources.{DATABASE}]\nkind = \"postgres\"\nurl = \"{}\"\ntools = \"{}\"\n{source}\n",
            self.cluster.url(DATABASE),
            self.cluster.programs().display(),
        );
        self.write_policy_of(name, repositories, &source)
    }

    fn write_policy_of(&self, name: &str, repositories: &str, sources: &str) -> Outcome<()> {
        let text = format!(
            "[system]\nname = \"bench\"\n\n[objectives]\nrto = \"4h\"\nrpo = \"1h\"\n\n{repositories}\
             [encryption]\nrecipients = [\"{}\", \"{}\"]\n\n{sources}\n\
             [catalog]\nurl = \"sqlite:{}\"\n",
            self.recipients[0],
            self.recipients[1],
            self.home().join(format!("{name}.db")).display(),
        );
        Ok(std::fs::write(self.policy(name), text)?)
    }

    /// `restored` is the database that a restore of a dump makes.
    pub(crate) fn command(&self, contender: Contender, restored: &str) -> Outcome<Command> {
        let [one, other] = &self.recipients;
        let sealed = format!("zstd -q -3 -T0 | age -r {one} -r {other} | aws s3 cp --only-show-errors -");
        let opened = |name: &str| {
            let identity = self.identity();
            format!(
                "aws s3 cp --only-show-errors {PIPED}/{name} - | age -d -i {} | zstd -q -d",
                identity.display()
            )
        };
        let into = self.restored();
        let into = into.display();
        Ok(match contender {
            Contender::Dump => self.drctl("dump", &["backup", DATABASE]),
            Contender::DumpToTwo => self.drctl("dump-to-two", &["backup", DATABASE]),
            Contender::DumpPipe => {
                self.bash(&format!("pg_dump -Fc -Z0 {DATABASE} | {sealed} {PIPED}/shop.dump.zst.age"))
            }
            Contender::DumpScript => {
                self.bash(&format!("pg_dump -Fc {DATABASE} > shop.dump && gzip shop.dump"))
            }
            Contender::DumpRestore => {
                let mut command = self.drctl("dump", &["restore", DATABASE, "--to", restored, "--jobs", "2"]);
                command.arg("--identity").arg(self.identity());
                command
            }
            Contender::CheckedRestore => {
                let jobs = std::thread::available_parallelism()?.to_string();
                let mut command =
                    self.drctl("drill", &["restore", DATABASE, "--to", restored, "--jobs", &jobs]);
                command.arg("--identity").arg(self.identity());
                command
            }
            Contender::Drill => self.drctl("drill", &["drill", "run", "-q"]),
            Contender::DumpRestorePipe => self.bash(&format!(
                "{} > shop.dump && createdb -T template0 {restored} && pg_restore -j2 -d {restored} shop.dump",
                opened("shop.dump.zst.age")
            )),
            Contender::BaseReplication => {
                self.drctl("base-replication", &["backup", DATABASE, "--kind", "base"])
            }
            Contender::BaseFiles => self.drctl("base-files", &["backup", DATABASE, "--kind", "base"]),
            Contender::BasePipe => self.bash(&format!(
                "pg_basebackup -D - -Ft -X none -c fast | {sealed} {PIPED}/base.tar.zst.age"
            )),
            Contender::BaseRestore => {
                let mut command = self.drctl("base-replication", &["restore", DATABASE, "--latest", "--to"]);
                command.arg(self.restored()).arg("--identity").arg(self.identity());
                if owner()?.is_some() {
                    command.args(["--owner", SUPERUSER]);
                }
                command
            }
            // What is not on the disk yet is not restored yet.
            Contender::BaseRestorePipe => self.bash(&format!(
                "mkdir {into} && {} | tar -xf - -C {into} && sync -f {into}",
                opened("base.tar.zst.age")
            )),
            Contender::BaseWalRus => {
                let data = self.cluster.data();
                self.bash(&format!("{} backup-push --fast {}", self.wal_rus(), data.display()))
            }
            Contender::BaseRestoreWalRus => {
                self.bash(&format!("{} backup-fetch {into} LATEST && sync -f {into}", self.wal_rus()))
            }
            Contender::BasePgBackRest => self.bash(&format!("{} --type=full backup", self.pgbackrest())),
            Contender::BaseRestorePgBackRest => {
                self.bash(&format!("mkdir {into} && {} --pg1-path={into} restore", self.pgbackrest()))
            }
            Contender::Files | Contender::FilesAgain => self.drctl("files", &["backup"]),
            Contender::FilesRestic | Contender::FilesAgainRestic => {
                self.bash(&format!("{} backup {}", self.restic(), self.files().display()))
            }
            Contender::FilesPipe => self.bash(&format!(
                "tar -cf - -C / {} | {sealed} {PIPED}/files.tar.zst.age",
                self.files().display().to_string().trim_start_matches('/')
            )),
            Contender::FilesRestore => {
                let mut command = self.drctl("files", &["restore", "files", "--to"]);
                command.arg(self.restored()).arg("--identity").arg(self.identity());
                command
            }
            Contender::FilesRestoreRestic => {
                self.bash(&format!("{} restore latest --target {into} && sync -f {into}", self.restic()))
            }
            Contender::FilesRestorePipe => self.bash(&format!(
                "mkdir {into} && {} | tar -xf - -C {into} && sync -f {into}",
                opened("files.tar.zst.age")
            )),
            Contender::LogSegment | Contender::LogDrained => {
                let policy = self.policy("wal");
                let program = self.program();
                let push = format!("{} --policy {} wal push ./$name", program.display(), policy.display());
                self.archive(contender, &push)
            }
            Contender::LogPipe | Contender::LogDrainedPipe => {
                self.archive(contender, &format!("<$name {sealed} {PIPED}/wal/$name.zst.age"))
            }
            Contender::LogWalRus | Contender::LogDrainedWalRus => {
                self.archive(contender, &format!("{} wal-push $PWD/$name", self.wal_rus()))
            }
            Contender::LogPgBackRest | Contender::LogDrainedPgBackRest => {
                self.archive(contender, &format!("{} archive-push $PWD/$name", self.pgbackrest()))
            }
        })
    }

    /// What has to be there anew before the contenders take their turns, and is there once in a life.
    pub(crate) fn begin_round(&self, group: Group) -> Outcome<Vec<Command>> {
        let mut commands = vec![];
        if self.peers.program(Peer::PgBackRest).is_some() {
            for folder in ["pgbackrest", "pgbackrest-locks"] {
                std::fs::create_dir(self.home().join(folder))?;
            }
            commands.push(self.bash(&format!("{} stanza-create", self.pgbackrest())));
        }
        if group == Group::Files && self.peers.program(Peer::Restic).is_some() {
            commands.push(self.bash(&format!("{} init", self.restic())));
        }
        if group == Group::Wal {
            let first = self.counts.first();
            // It lies beside a server's notes, and none says that it waits: it is one that was archived.
            std::fs::write(self.log().join(format!("archive_status/{first}.done")), "")?;
            let mut begin = self.drctl("wal", &["wal", "push", &first]);
            begin.current_dir(self.log());
            commands.push(begin);
        }
        Ok(commands)
    }

    fn wal_rus(&self) -> String {
        let settings = peers::wal_rus_settings(&self.endpoint);
        let settings = settings.iter().map(|(name, value)| format!("{name}={value} ")).collect::<String>();
        let program = self.peers.program(Peer::WalRus).map(|program| program.display().to_string());
        format!("env {settings}{}", program.unwrap_or_default())
    }

    fn restic(&self) -> String {
        let program = self.peers.program(Peer::Restic).map(|program| program.display().to_string());
        let repository = format!("s3:{}/bench/restic", self.endpoint);
        format!(
            "env RESTIC_PASSWORD='{}' {} -q -r {repository}",
            peers::PASSWORD,
            program.unwrap_or_default()
        )
    }

    fn pgbackrest(&self) -> String {
        let program = self.peers.program(Peer::PgBackRest).map(|program| program.display().to_string());
        let settings = self.pgbackrest_settings();
        format!("{} --config={} --stanza=shop", program.unwrap_or_default(), settings.display())
    }

    /// As the server does it: a note says that the segment waits, and is changed once it is archived. Where a tool
    /// has changed it itself, it is not asked for that segment any more.
    fn archive(&self, contender: Contender, push: &str) -> Command {
        let note = "archive_status/$name";
        let done = format!("[ ! -e {note}.ready ] || mv {note}.ready {note}.done");
        let push = format!("if [ -e {note}.ready ]; then {push}; {done}; fi");
        if contender.drains() {
            self.for_each(&self.counts.waiting(), &push)
        } else {
            self.for_each(&self.counts.singles(), &format!(": > {note}.ready; {push}"))
        }
    }

    /// Makes the notes of the segments that wait, and takes back all others.
    pub(crate) fn note_what_waits(&self) -> Outcome<()> {
        let notes = self.log().join("archive_status");
        std::fs::remove_dir_all(&notes)?;
        std::fs::create_dir(&notes)?;
        for name in self.counts.waiting() {
            std::fs::write(notes.join(format!("{name}.ready")), "")?;
        }
        Ok(())
    }

    fn for_each(&self, names: &[String], action: &str) -> Command {
        let mut command = self.bash(&format!("for name in {}; do {action}; done", names.join(" ")));
        command.current_dir(self.log());
        command
    }

    /// Shows the phases of the last drill.
    pub(crate) fn last_drill(&self) -> Command {
        self.drctl("drill", &["drill", "show", "--output", "json"])
    }

    pub(crate) fn aws(&self, arguments: &str) -> Command {
        self.bash(&format!("aws {arguments}"))
    }

    fn drctl(&self, policy: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.program());
        command.arg("--policy").arg(self.policy(policy)).args(arguments);
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
            .env("PGUSER", SUPERUSER)
            .env("AWS_ENDPOINT_URL", &self.endpoint)
            .env("AWS_ACCESS_KEY_ID", ACCESS_KEY)
            .env("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
            .env("AWS_REGION", REGION)
            .env("AWS_DEFAULT_REGION", REGION)
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .current_dir(self.scratch());
    }
}
