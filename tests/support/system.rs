//! A system under test: a policy, its repositories and keys in a folder of their own, and the built
//! `drctl` with nothing of this machine in its environment.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs::{File, Permissions};
use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use drctl::model::Digest;
use drctl::pipeline::NewIdentity;
use drctl::platform::ExposeSecret as _;
use rustix::process::{Pid, Signal, kill_process};

use super::Outcome;
use super::postgres::owner;

/// How long any one `drctl` may run.
const DEADLINE: Duration = Duration::from_secs(120);
/// How long anything may take to come about.
const SOON: Duration = Duration::from_secs(60);
const STEP: Duration = Duration::from_millis(2);

/// Where one repository of the system is, in the policy's words.
#[derive(Clone, Debug)]
pub(crate) enum Place {
    Directory,
    /// Endpoint, bucket, access key, secret key.
    S3 {
        endpoint: String,
        bucket: String,
        access_key: String,
        secret_key: String,
    },
}

impl Place {
    /// The bucket of a server of [`super::s3`], or of what stands in front of one.
    pub(crate) fn of_server(address: std::net::SocketAddr) -> Self {
        Self::S3 {
            endpoint: format!("http://{address}"),
            bucket: super::s3::BUCKET.to_owned(),
            access_key: super::s3::ACCESS_KEY.to_owned(),
            secret_key: super::s3::SECRET_KEY.to_owned(),
        }
    }
}

pub(crate) struct System {
    folder: tempfile::TempDir,
    pub(crate) operational: PathBuf,
    pub(crate) escrow: PathBuf,
    environment: Vec<(String, String)>,
}

/// How a `drctl` ended.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Run {
    /// The document that `--output json` ends with.
    pub(crate) fn document(&self) -> Outcome<serde_json::Value> {
        let last = self.stdout.lines().last().unwrap_or_default();
        serde_json::from_str(last).map_err(|error| format!("{error} in {self:#?}").into())
    }

    /// Insists that a person is told `words`.
    pub(crate) fn says(&self, words: &str) -> Outcome<&Self> {
        let told = self.stdout.contains(words) || self.stderr.contains(words);
        if told { Ok(self) } else { Err(format!("nobody is told `{words}`: {self:#?}").into()) }
    }
}

/// A `drctl` on its way. Dropping it kills it.
pub(crate) struct Running {
    child: Child,
    stdout: File,
    stderr: File,
}

impl Running {
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// kill -9.
    pub(crate) fn kill(&mut self) -> Outcome<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    pub(crate) fn signal(&self, signal: Signal) -> Outcome<()> {
        Ok(kill_process(Pid::from_child(&self.child), signal)?)
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    /// What it has written on stdout so far.
    pub(crate) fn stdout(&self) -> Outcome<String> {
        let mut text = String::new();
        let mut file = self.stdout.try_clone()?;
        // The child's own position is another: it was given the path, not this descriptor.
        file.seek(SeekFrom::Start(0))?;
        file.read_to_string(&mut text)?;
        Ok(text)
    }

    /// Whether a person has been told `words` so far.
    pub(crate) fn has_said(&self, words: &str) -> bool {
        let said = |file: &File| -> Outcome<String> {
            let (mut text, mut file) = (String::new(), file.try_clone()?);
            file.seek(SeekFrom::Start(0))?;
            file.read_to_string(&mut text)?;
            Ok(text)
        };
        [&self.stdout, &self.stderr].into_iter().any(|file| said(file).is_ok_and(|text| text.contains(words)))
    }

    /// Waits for its end.
    pub(crate) async fn end(mut self) -> Outcome<Run> {
        let begun = Instant::now();
        while !self.has_ended() {
            if begun.elapsed() > DEADLINE {
                return Err(format!("drctl did not end in {DEADLINE:?}: {}", self.stdout()?).into());
            }
            tokio::time::sleep(STEP).await;
        }
        let stdout = self.stdout()?;
        let mut stderr = String::new();
        self.stderr.seek(SeekFrom::Start(0))?;
        self.stderr.read_to_string(&mut stderr)?;
        Ok(Run { code: self.child.wait()?.code(), stdout, stderr })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _gone = self.kill();
    }
}

/// Waits until something is so.
pub(crate) async fn until(what: &str, mut is_so: impl FnMut() -> bool) -> Outcome<()> {
    let begun = Instant::now();
    while !is_so() {
        if begun.elapsed() > SOON {
            return Err(format!("it never came about that {what}").into());
        }
        tokio::time::sleep(STEP).await;
    }
    Ok(())
}

/// Every file below a folder and the digest of its bytes, to be compared with what stands there later.
pub(crate) fn contents(folder: &Path) -> Outcome<BTreeMap<PathBuf, String>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let digest = Digest::compute(&std::fs::read(&path)?);
                found.insert(path, digest.sha256.to_string());
            }
        }
    }
    Ok(found)
}

/// Moves times that are kept with the log of a repository that is a directory, as if it had been written then.
pub(crate) fn move_times(repository: &Path, names: &[&str], by: TimeDelta) -> Outcome<()> {
    for path in contents(repository)?.into_keys().filter(|path| path.to_string_lossy().contains("/.drctl/")) {
        let mut kept: serde_json::Value = match serde_json::from_slice(&std::fs::read(&path)?) {
            Ok(kept) => kept,
            Err(_) => continue,
        };
        for name in names {
            let Some(time) = kept["metadata"][name].as_str() else { continue };
            let moved = time.parse::<DateTime<Utc>>()? + by;
            kept["metadata"][name] = moved.to_rfc3339().into();
        }
        std::fs::write(&path, kept.to_string())?;
    }
    Ok(())
}

impl System {
    /// `url`: of the database that is backed up as source `database`; `places`: the primary, then the
    /// copies `west`, `east`.
    pub(crate) fn new(url: &str, places: &[Place]) -> Outcome<Self> {
        Self::of(&format!("[sources.database]\nkind = \"postgres\"\nurl = \"{url}\""), places)
    }

    /// `sources`: their tables, as the policy has them.
    pub(crate) fn of(sources: &str, places: &[Place]) -> Outcome<Self> {
        let folder = super::scratch::folder()?;
        let mut system = Self {
            operational: folder.path().join("operational.key"),
            escrow: folder.path().join("escrow.key"),
            folder,
            environment: vec![],
        };
        let (operational, escrow) = (NewIdentity::generate(), NewIdentity::generate());
        write_private(&system.operational, operational.file("operational").expose_secret())?;
        write_private(&system.escrow, escrow.file("escrow").expose_secret())?;
        let mut policy = format!(
            "[system]\nname = \"shop\"\n\n[objectives]\nrto = \"4h\"\nrpo = \"1h\"\n\n\
             [encryption]\nrecipients = [\n  {{ holder = \"operational\", key = \"{}\" }},\n  {{ holder = \"escrow\", key = \"{}\" }},\n]\n\n",
            operational.recipient(),
            escrow.recipient(),
        );
        for (name, place) in ["primary", "copies.west", "copies.east"].iter().zip(places) {
            writeln!(policy, "[repository.{name}]")?;
            let plain = name.trim_start_matches("copies.");
            match place {
                Place::Directory => {
                    let directory = system.repository(plain);
                    std::fs::create_dir(&directory)?;
                    writeln!(policy, "directory = \"{}\"\n", directory.display())?;
                }
                Place::S3 { endpoint, bucket, access_key, secret_key } => {
                    let upper = plain.to_uppercase();
                    writeln!(
                        policy,
                        "url = \"s3://{bucket}/backups\"\nregion = \"us-east-1\"\nendpoint = \"{endpoint}\"\npath_style = true\n\
                         credentials = {{ access_key_id = \"env:{upper}_KEY\", secret_access_key = \"env:{upper}_SECRET\" }}\n",
                    )?;
                    system.environment.push((format!("{upper}_KEY"), access_key.clone()));
                    system.environment.push((format!("{upper}_SECRET"), secret_key.clone()));
                }
            }
        }
        writeln!(policy, "{sources}")?;
        std::fs::write(system.policy(), policy)?;
        Ok(system)
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn policy(&self) -> PathBuf {
        self.folder.path().join("policy.toml")
    }

    /// Where a repository is that is a directory: `primary`, `west`, `east`.
    pub(crate) fn repository(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Puts other words into the policy; those to be replaced must be there.
    pub(crate) fn rewrite(&self, from: &str, to: &str) -> Outcome<()> {
        let policy = std::fs::read_to_string(self.policy())?;
        if !policy.contains(from) {
            return Err(format!("the policy has no `{from}`:\n{policy}").into());
        }
        Ok(std::fs::write(self.policy(), policy.replacen(from, to, 1))?)
    }

    /// Adds to the policy, e.g. `[transfer]\npart_size = "5MiB"`.
    pub(crate) fn append(&self, text: &str) -> Outcome<()> {
        let policy = std::fs::read_to_string(self.policy())?;
        Ok(std::fs::write(self.policy(), format!("{policy}\n{text}\n"))?)
    }

    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.environment.push((name.to_owned(), value.to_owned()));
    }

    pub(crate) fn unset(&mut self, name: &str) {
        self.environment.retain(|(set, _)| set != name);
    }

    /// The command, ready to be started.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_drctl"));
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.folder.path())
            .env("DRCTL_STATE_DIR", self.folder.path().join("state"))
            .env("DRCTL_POLICY", self.policy())
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .current_dir(self.folder.path())
            .args(arguments)
            .stdin(Stdio::null());
        command
    }

    /// A script that runs drctl as this system does, for a server to run, and gives everything here to the
    /// server's user.
    pub(crate) fn hand_to_server(&self) -> Outcome<PathBuf> {
        let script = self.path().join("drctl");
        let quoted = |text: &OsStr| format!("'{}'", text.to_string_lossy().replace('\'', "'\\''"));
        let command = self.command(&[]);
        let mut text = "#!/bin/sh\nexec env -i".to_owned();
        for (name, value) in command.get_envs() {
            write!(text, " {}={}", name.to_string_lossy(), quoted(value.unwrap_or_default()))?;
        }
        writeln!(text, " {} \"$@\"", quoted(self.reachable_drctl()?.as_os_str()))?;
        // A server may run it at any moment, and a script that is half written may end well having done nothing.
        let new = self.path().join("drctl.new");
        std::fs::write(&new, text)?;
        std::fs::set_permissions(&new, Permissions::from_mode(0o755))?;
        std::fs::rename(&new, &script)?;
        if let Some((user, group)) = owner()? {
            let mut folders = vec![self.path().to_owned()];
            while let Some(folder) = folders.pop() {
                chown(&folder, Some(user), Some(group))?;
                for entry in std::fs::read_dir(&folder)? {
                    let path = entry?.path();
                    chown(&path, Some(user), Some(group))?;
                    folders.extend(path.is_dir().then_some(path));
                }
            }
        }
        Ok(script)
    }

    /// The built drctl where another user may run it.
    fn reachable_drctl(&self) -> Outcome<PathBuf> {
        let built = Path::new(env!("CARGO_BIN_EXE_drctl"));
        let may_enter = |folder: &Path| {
            std::fs::metadata(folder).is_ok_and(|folder| folder.permissions().mode() & 0o001 != 0)
        };
        if built.ancestors().skip(1).all(may_enter) {
            return Ok(built.to_owned());
        }
        let copy = self.path().join("drctl-program");
        std::fs::copy(built, &copy)?;
        Ok(copy)
    }

    /// Starts it.
    pub(crate) fn start(&self, arguments: &[&str]) -> Outcome<Running> {
        self.start_command(self.command(arguments))
    }

    /// Starts a command that [`System::command`] made.
    pub(crate) fn start_command(&self, mut command: Command) -> Outcome<Running> {
        let output = || -> Outcome<(File, File)> {
            let file = tempfile::NamedTempFile::new_in(self.folder.path())?;
            Ok((file.reopen()?, file.into_file()))
        };
        let ((stdout, theirs), (stderr, their_errors)) = (output()?, output()?);
        command.stdout(theirs).stderr(their_errors);
        Ok(Running { child: command.spawn()?, stdout, stderr })
    }

    /// Makes every lease look as if it had not been renewed for an hour, where the files of a repository are
    /// below `folder`: what a killed run leaves is taken over at once, not a minute later.
    pub(crate) fn expire_leases(folder: &Path) -> Outcome<()> {
        let leases = folder.join("shop/leases");
        for entry in std::fs::read_dir(&leases).into_iter().flatten() {
            let file = File::open(entry?.path())?;
            file.set_modified(file.metadata()?.modified()? - Duration::from_secs(3600))?;
        }
        Ok(())
    }

    /// Runs it to its end.
    pub(crate) async fn drctl(&self, arguments: &[&str]) -> Outcome<Run> {
        let mut command = tokio::process::Command::from(self.command(arguments));
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let output = tokio::time::timeout(DEADLINE, command.output())
            .await
            .map_err(|_| format!("drctl {arguments:?} did not end in {DEADLINE:?}"))??;
        Ok(Run {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout)?,
            stderr: String::from_utf8(output.stderr)?,
        })
    }

    /// Runs it and insists on how it ends.
    pub(crate) async fn expect(&self, code: i32, arguments: &[&str]) -> Outcome<Run> {
        let run = self.drctl(arguments).await?;
        if run.code == Some(code) { Ok(run) } else { Err(format!("drctl {arguments:?}: {run:#?}").into()) }
    }

    /// The ids of the backups a repository that is a directory holds, by its manifests.
    pub(crate) fn backups_in(&self, repository: &str) -> Vec<String> {
        let folder = self.repository(repository).join("shop/database/backups");
        let mut ids: Vec<_> = std::fs::read_dir(folder)
            .into_iter()
            .flatten()
            .flatten()
            .filter(|entry| entry.path().join("manifest.json").exists())
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect();
        ids.sort();
        ids
    }
}

pub(crate) fn write_private(path: &Path, text: &str) -> Outcome<()> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    Ok(file.write_all(text.as_bytes())?)
}
