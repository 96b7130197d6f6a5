//! One running PostgreSQL server, set up as RDS does: nobody outside is a superuser.
//!
//! `rdsadmin` owns the cluster and is let in over the Unix socket only, which this control plane alone
//! uses. The master user is a role that may create databases and roles, and there is no replication
//! connection from outside. Roles that are granted `rds_iam` come over the socket, from the door that took their
//! tokens.

use std::collections::BTreeMap;
use std::fs::File;
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::super::usage::tree;
use super::super::{Outcome, cluster_template};
use super::front::{Behind, Front};
use super::settings::{DEFAULT_SECURITY_GROUP, Settings};
use super::storage::{Folder, Storage, run};

const READY_WITHIN: Duration = Duration::from_secs(60);
const GONE_WITHIN: Duration = Duration::from_secs(20);
const STEP: Duration = Duration::from_millis(10);

const ENTRANCE: &str = "\
local replication rdsadmin trust
local all rdsadmin trust
local all +rds_iam trust
host all rdsadmin 127.0.0.1/32 reject
host rdsadmin all 127.0.0.1/32 reject
host all +rds_iam 127.0.0.1/32 reject
host all all 127.0.0.1/32 scram-sha-256
";

/// Dropping it ends the server and deletes its volume.
#[derive(Debug)]
pub(crate) struct Postgres {
    /// Holds `data`, the socket and the log.
    volume: Folder,
    port: u16,
    front: Option<Front>,
    server: Mutex<Option<Child>>,
    starting: Mutex<()>,
    /// The values of the parameter group that it runs with.
    parameters: Mutex<BTreeMap<String, String>>,
}

impl Postgres {
    /// A new cluster with the master user and the first database. Not started.
    pub(super) fn create(storage: &Arc<Storage>, settings: &Settings) -> Outcome<Self> {
        let volume = storage.folder("volume")?;
        let data = volume.path().join("data");
        let database = settings.database.as_deref().unwrap_or_default();
        let template = storage.template(&[&settings.master_user, &settings.master_password, database])?;
        if cluster_template::copy_from(&template, &data)? {
            let server = Self::on(volume)?;
            server.configure(&BTreeMap::new(), None, None)?;
            return Ok(server);
        }
        storage.initdb(&data)?;
        let server = Self::on(volume)?;
        server.configure(&BTreeMap::new(), None, None)?;
        server.start(false)?;
        let master = quoted(&settings.master_user, '"');
        let mut script = vec![
            "CREATE ROLE rds_superuser NOLOGIN".to_owned(),
            "GRANT pg_monitor, pg_signal_backend, pg_checkpoint TO rds_superuser WITH ADMIN OPTION"
                .to_owned(),
            "CREATE ROLE rds_iam NOLOGIN".to_owned(),
            format!(
                "CREATE ROLE {master} LOGIN CREATEDB CREATEROLE PASSWORD {}",
                quoted(&settings.master_password, '\'')
            ),
            format!("GRANT rds_superuser TO {master}"),
            "CREATE DATABASE rdsadmin".to_owned(),
            "REVOKE CONNECT ON DATABASE rdsadmin FROM PUBLIC".to_owned(),
            format!("ALTER DATABASE postgres OWNER TO {master}"),
        ];
        if let Some(database) = settings.database.as_deref().filter(|name| *name != "postgres") {
            script.push(format!("CREATE DATABASE {} OWNER {master}", quoted(database, '"')));
        }
        server.query("postgres", &script)?;
        server.query(
            "rdsadmin",
            &["CREATE TABLE rds_heartbeat2 (id int PRIMARY KEY, value timestamptz)".to_owned()],
        )?;
        server.stop();
        cluster_template::keep(&data, &template)?;
        Ok(server)
    }

    /// A server for a volume that has its data already. Not started.
    pub(super) fn on(volume: Folder) -> Outcome<Self> {
        // The system had it free a moment ago; a start that lost it says so.
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        std::fs::write(volume.path().join("data/pg_hba.conf"), ENTRANCE)?;
        let behind =
            Behind { port, sockets: volume.path().to_owned(), storage: Arc::clone(volume.storage()) };
        let front = volume.storage().doors().map(|shared| Front::before(behind, shared)).transpose()?;
        Ok(Self {
            volume,
            port,
            front,
            server: Mutex::default(),
            starting: Mutex::default(),
            parameters: Mutex::default(),
        })
    }

    /// Writes what the next start goes by: the parameter group, where the log is archived, and from where
    /// it is recovered with which target.
    pub(super) fn configure(
        &self,
        parameters: &BTreeMap<String, String>,
        archive: Option<&Folder>,
        recovery: Option<(&Folder, &str)>,
    ) -> Outcome<()> {
        parameters.clone_into(&mut lock(&self.parameters));
        let socket = self.volume.path().display().to_string();
        let mut lines = vec![
            ("unix_socket_directories", socket),
            ("port", self.port.to_string()),
            ("fsync", "off".to_owned()),
            ("shared_buffers", "16MB".to_owned()),
            ("max_connections", "40".to_owned()),
            // Ready is ready to write: a recovery shows itself only once it is promoted, and needs no
            // parameters as large as the source's.
            ("hot_standby", "off".to_owned()),
        ];
        // RDS has values that it works out from the class of the instance: those stay PostgreSQL's own.
        let plain = parameters.iter().filter(|(_, value)| !value.contains('{'));
        lines.extend(plain.map(|(name, value)| (name.as_str(), value.clone())));
        match archive {
            Some(archive) => {
                let (here, part) = (archive.path().join("%f"), archive.path().join("%f.part"));
                let (here, part) = (here.display(), part.display());
                lines.push(("archive_mode", "on".to_owned()));
                lines.push(("archive_command", format!("cp %p {part} && mv {part} {here}")));
            }
            None => lines.push(("archive_mode", "off".to_owned())),
        }
        if let Some((archive, target)) = recovery {
            lines.push(("restore_command", format!("cp {}/%f %p", archive.path().display())));
            lines.push(("recovery_target_time", target.to_owned()));
            lines.push(("recovery_target_action", "promote".to_owned()));
            std::fs::write(self.volume.path().join("data/recovery.signal"), "")?;
            self.volume.storage().give(&self.volume.path().join("data/recovery.signal"))?;
        }
        let text: String =
            lines.iter().map(|(name, value)| format!("{name} = {}\n", quoted(value, '\''))).collect();
        std::fs::write(self.volume.path().join("data/postgresql.conf"), text)?;
        Ok(())
    }

    /// As above; without parameters with those it had.
    pub(super) fn configure_again(
        &self,
        parameters: Option<BTreeMap<String, String>>,
        archive: Option<&Folder>,
    ) -> Outcome<()> {
        let parameters = parameters.unwrap_or_else(|| lock(&self.parameters).clone());
        self.configure(&parameters, archive, None)
    }

    /// Sets parameters that need no start.
    pub(super) fn change_parameters(
        &self,
        changes: impl Iterator<Item = (String, String)>,
        archive: Option<&Folder>,
    ) -> Outcome<()> {
        let mut parameters = lock(&self.parameters).clone();
        parameters.extend(changes);
        self.configure(&parameters, archive, None)?;
        self.query("postgres", &["SELECT pg_reload_conf()".to_owned()])?;
        Ok(())
    }

    /// Starts it and waits until it takes statements. Closed: over its socket only.
    pub(super) fn start(&self, is_open: bool) -> Outcome<()> {
        let log = File::options().create(true).append(true).open(self.volume.path().join("log"))?;
        let mut command = self.volume.storage().program("postgres");
        let listens = if is_open { "127.0.0.1" } else { "" };
        command.arg("-D").arg(self.volume.path().join("data")).arg("-c");
        command.arg(format!("listen_addresses={listens}"));
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let mut child = command.spawn()?;
        let begun = Instant::now();
        loop {
            let state = self.volume.path().join("data/postmaster.pid");
            let state = std::fs::read_to_string(state).unwrap_or_default();
            let is_of_it = state.lines().next() == Some(child.id().to_string().as_str());
            if is_of_it && state.lines().nth(7).is_some_and(|line| line.trim() == "ready") {
                break;
            }
            let ended = child.try_wait()?;
            if ended.is_some() || begun.elapsed() > READY_WITHIN {
                let _gone = child.kill();
                return Err(format!("PostgreSQL did not start ({ended:?}):\n{}", self.log_tail()).into());
            }
            std::thread::sleep(STEP);
        }
        *lock(&self.server) = Some(child);
        Ok(())
    }

    pub(super) fn is_running(&self) -> bool {
        lock(&self.server).is_some()
    }

    /// Starts it where it does not run; of several who want that, one does.
    pub(super) fn ensure(
        &self,
        parameters: &BTreeMap<String, String>,
        archive: &Folder,
        is_open: bool,
    ) -> Outcome<()> {
        let _one_at_a_time = lock(&self.starting);
        if self.is_running() {
            return Ok(());
        }
        self.configure(parameters, Some(archive), None)?;
        self.start(is_open)
    }

    /// Ends it and starts it again, with the parameters it had where there are no others. The instances of a
    /// cluster are one server: one of them does it at a time.
    pub(super) fn restart(
        &self,
        parameters: Option<BTreeMap<String, String>>,
        archive: Option<&Folder>,
        is_open: bool,
    ) -> Outcome<()> {
        let _one_at_a_time = lock(&self.starting);
        self.stop();
        self.configure_again(parameters, archive)?;
        self.start(is_open)
    }

    /// Statements as `rdsadmin`, each of its own; the last one's value.
    pub(super) fn query(&self, database: &str, statements: &[String]) -> Outcome<String> {
        let mut psql = self.volume.storage().program("psql");
        psql.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-U", "rdsadmin", "-d", database, "-h"]);
        psql.arg(self.volume.path()).arg("-p").arg(self.port.to_string());
        for statement in statements {
            psql.arg("-c").arg(statement);
        }
        Ok(run(psql)?.trim().to_owned())
    }

    /// A copy of its volume as it is at one moment, as a storage system takes it. What starts from it recovers as
    /// after a crash.
    pub(super) fn copy(&self, kind: &str) -> Outcome<Folder> {
        let server = lock(&self.server);
        let Some(server) = server.as_ref() else { return self.volume.copy(kind) };
        let copy = self.volume.storage().folder(kind)?;
        let stopped = Stopped::all_of(server.id())?;
        let mut command = Command::new("cp");
        command.arg("-a").arg("--reflink=auto").arg(self.volume.path().join("data")).arg(copy.path());
        run(command)?;
        drop(stopped);
        let data = copy.path().join("data");
        std::fs::remove_file(data.join("postmaster.pid"))?;
        for entry in std::fs::read_dir(data.join("pg_wal/archive_status"))? {
            std::fs::remove_file(entry?.path())?;
        }
        Ok(copy)
    }

    pub(super) fn set_password(&self, user: &str, password: &str) -> Outcome<()> {
        let (user, password) = (quoted(user, '"'), quoted(password, '\''));
        self.query("postgres", &[format!("ALTER ROLE {user} PASSWORD {password}")])?;
        Ok(())
    }

    /// Ends it. The volume stays.
    pub(super) fn stop(&self) {
        let Some(mut server) = lock(&self.server).take() else { return };
        if let Some(process) = i32::try_from(server.id()).ok().and_then(Pid::from_raw) {
            let _gone = kill_process(process, Signal::INT);
        }
        let begun = Instant::now();
        while begun.elapsed() < GONE_WITHIN {
            if !matches!(server.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(STEP);
        }
        let _gone = server.kill();
        let _reaped = server.wait();
    }

    /// Where it is reached.
    pub(crate) fn port(&self) -> u16 {
        self.front.as_ref().map_or(self.port, |front| front.port)
    }

    fn log_tail(&self) -> String {
        let text = std::fs::read(self.volume.path().join("log")).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(30)..].join("\n")
    }
}

/// Processes that do nothing until this is dropped.
struct Stopped(Vec<Pid>);

impl Stopped {
    /// The server first: it begins no other process then.
    fn all_of(server: u32) -> Outcome<Self> {
        let mut stopped = Self(vec![]);
        stopped.add(server)?;
        for process in tree(server).into_iter().filter(|process| *process != server) {
            stopped.add(process)?;
        }
        Ok(stopped)
    }

    fn add(&mut self, process: u32) -> Outcome<()> {
        let Some(pid) = Pid::from_raw(i32::try_from(process)?) else { return Ok(()) };
        if kill_process(pid, Signal::STOP).is_err() {
            // It has ended by itself.
            return Ok(());
        }
        self.0.push(pid);
        let begun = Instant::now();
        while begun.elapsed() < GONE_WITHIN {
            let state = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
            // After the name in brackets.
            let state = state.rsplit_once(") ").map_or("", |(_, state)| state);
            if state.is_empty() || state.starts_with(['T', 'Z', 'X']) {
                return Ok(());
            }
            std::thread::yield_now();
        }
        Err(format!("process {process} does not stop").into())
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        for process in &self.0 {
            let _gone = kill_process(*process, Signal::CONT);
        }
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Whether its security groups let anyone in: the default group does not.
pub(super) fn is_open(settings: &Settings) -> bool {
    settings.security_groups.iter().any(|group| group != DEFAULT_SECURITY_GROUP)
}

fn quoted(text: &str, quote: char) -> String {
    format!("{quote}{}{quote}", text.replace(quote, &format!("{quote}{quote}")))
}

fn lock<T>(value: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    value.lock().unwrap_or_else(PoisonError::into_inner)
}
