//! How a restored server is kept from reaching anything, and the proof that it is.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::platform::{CancellationToken, Program};
use crate::postgres::shell;
use crate::text::error_chain;

const PROBED_WITHIN: Duration = Duration::from_secs(20);
/// Where programs make their sockets.
const COMMON: [&str; 3] = ["/run", "/var/run", "/tmp"];
/// Prints the network namespace and its routes.
const PROBE: &str = "readlink /proc/self/ns/net && echo routes && cat /proc/self/net/route && echo routes6 && { cat /proc/self/net/ipv6_route || true; }";

/// How a server of the sandbox is isolated.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::drill) struct Isolation {
    /// A program with its arguments that runs what follows without a network; empty: there is none.
    pub(in crate::drill) launcher: Vec<OsString>,
    /// What was tried, and what came of it.
    pub(in crate::drill) probes: Vec<String>,
}

impl Isolation {
    /// Finds out how this host isolates. `is_root`: this process may make namespaces itself; `own`: the directory whose
    /// sockets the server needs.
    pub(in crate::drill) async fn find(is_root: bool, own: &Path, cancel: &CancellationToken) -> Self {
        let common = COMMON.iter().filter_map(|path| Path::new(path).canonicalize().ok());
        let common: Vec<PathBuf> = common.collect::<BTreeSet<_>>().into_iter().collect();
        Self::find_with(is_root, own, &common, cancel).await
    }

    /// `common`: directories that are emptied, since a socket may be made in them at any time.
    async fn find_with(is_root: bool, own: &Path, common: &[PathBuf], cancel: &CancellationToken) -> Self {
        let unproven = |why: String| Self { launcher: vec![], probes: vec![why] };
        let sockets = match listening_sockets(own) {
            Ok(sockets) => sockets,
            Err(why) => return unproven(format!("the sockets of this host cannot be hidden: {why}")),
        };
        let emptied: Vec<PathBuf> = common.iter().filter(|folder| !is_needed(folder, own)).cloned().collect();
        let mut words = launcher(is_root, &sockets, &emptied, own);
        let mut probed = probe(&words, cancel).await;
        let mut said = format!("{} sockets of this host are hidden", sockets.len());
        if !emptied.is_empty() {
            let named: Vec<String> = emptied.iter().map(|folder| folder.display().to_string()).collect();
            said.push_str(&format!("; emptied: {}", named.join(", ")));
        }
        // Where nothing has to be hidden, no right to mount is needed.
        if probed.is_err() && sockets.is_empty() && !emptied.is_empty() {
            words = launcher(is_root, &sockets, &[], own);
            probed = probe(&words, cancel).await;
            said = "no socket of this host was there; one that is made later can be reached".to_owned();
        }
        match probed {
            Ok(mut probes) => {
                probes.push(said);
                Self { launcher: words, probes }
            }
            Err(why) => unproven(format!("`unshare` does not isolate: {why}")),
        }
    }

    pub(in crate::drill) fn is_proven(&self) -> bool {
        !self.launcher.is_empty()
    }

    pub(in crate::drill) fn as_str(&self) -> &'static str {
        if self.is_proven() { "network namespace" } else { "unverified" }
    }
}

/// Whether something that the sandbox needs is in a directory.
fn is_needed(folder: &Path, own: &Path) -> bool {
    let exe = std::env::current_exe().unwrap_or_default();
    let current = std::env::current_dir().unwrap_or_default();
    [own, &exe, &current, Path::new("/usr")].iter().any(|path| path.starts_with(folder))
}

/// Returns the words that run a program without a network, without these sockets, and with these directories empty. Only mounting needs rights, and they
/// are given up before the program runs.
fn launcher(is_root: bool, hidden: &[PathBuf], emptied: &[PathBuf], own: &Path) -> Vec<OsString> {
    let mut words: Vec<&str> = vec!["unshare"];
    if !is_root {
        words.extend(["--user", "--map-current-user"]);
    }
    words.push("--net");
    if hidden.is_empty() && emptied.is_empty() {
        words.push("--");
        return words.into_iter().map(OsString::from).collect();
    }
    words.push("--mount");
    if !is_root {
        words.push("--keep-caps");
    }
    words.extend(["--", "sh", "-c"]);
    let drop = if is_root { "" } else { "setpriv --inh-caps=-all --ambient-caps=-all -- " };
    let script = format!("{}exec {drop}\"$@\"", hiding(hidden, emptied, own));
    let words = words.into_iter().map(OsString::from);
    words.chain([OsString::from(script), OsString::from("drctl")]).collect()
}

/// Returns the commands that hide sockets. A restarted server creates a new socket, so that its directory is
/// hidden where nothing else in it is needed.
fn hiding(hidden: &[PathBuf], emptied: &[PathBuf], own: &Path) -> String {
    let of_servers = hidden.iter().filter(|path| is_of_server(path)).filter_map(|path| path.parent());
    let of_servers = of_servers.filter(|folder| !is_needed(folder, own));
    let is_inside =
        |folder: &&Path| !emptied.iter().any(|outer| folder.starts_with(outer) && *folder != outer.as_path());
    let folders: BTreeSet<&Path> =
        of_servers.chain(emptied.iter().map(PathBuf::as_path)).filter(is_inside).collect();
    let mut script = String::new();
    for path in hidden.iter().filter(|path| !folders.iter().any(|folder| path.starts_with(folder))) {
        let path = shell(&path.to_string_lossy());
        // One that ended meanwhile need not be hidden.
        script.push_str(&format!(
            "[ ! -S {path} ] || mount --bind /dev/null {path} || [ ! -S {path} ] || exit 97; "
        ));
    }
    for folder in folders {
        let folder = shell(&folder.to_string_lossy());
        script.push_str(&format!(
            "[ ! -d {folder} ] || mount -t tmpfs -o ro none {folder} || [ ! -d {folder} ] || exit 97; "
        ));
    }
    script
}

async fn probe(words: &[OsString], cancel: &CancellationToken) -> Result<Vec<String>, String> {
    let mut words = words.iter();
    let program = Program::new(words.next().map(OsString::as_os_str).unwrap_or_default());
    let program = program.args(words).args(["sh", "-c", PROBE]);
    match program.run(PROBED_WITHIN, cancel).await {
        Ok(outcome) => judge(&outcome.stdout, own_namespace().as_deref()),
        Err(error) => Err(error_chain(&error)),
    }
}

/// Returns the sockets in directories that processes of this host listen at, but for those below `own`.
///
/// # Errors
/// Why some of them may be unknown.
fn listening_sockets(own: &Path) -> Result<Vec<PathBuf>, String> {
    let text = std::fs::read("/proc/net/unix").map_err(|error| error.to_string())?;
    let mut found = listening(&text)?;
    found.retain(|path| !path.starts_with(own));
    Ok(found)
}

/// Reads `/proc/net/unix`: the flags of the fourth column say which listen, and the path is all that follows the seventh.
fn listening(text: &[u8]) -> Result<Vec<PathBuf>, String> {
    let mut found = Vec::new();
    for line in text.split(|byte| *byte == b'\n') {
        let mut rest = line;
        let mut words = Vec::new();
        while words.len() < 7 && !rest.is_empty() {
            rest = rest.trim_ascii_start();
            let end = rest.iter().position(|byte| *byte == b' ').unwrap_or(rest.len());
            words.push(&rest[..end]);
            rest = &rest[end..];
        }
        let path = rest.strip_prefix(b" ").unwrap_or(rest);
        let listens = words.get(3).is_some_and(|flags| *flags == b"00010000");
        if !listens || path.is_empty() || path.starts_with(b"@") {
            continue;
        }
        let path = PathBuf::from(OsStr::from_bytes(path));
        match path.is_absolute() {
            true => found.push(path),
            false if is_of_server(&path) => {
                return Err(format!("the directory of the socket `{}` is not known", path.display()));
            }
            false => {}
        }
    }
    found.sort();
    found.dedup();
    Ok(found)
}

/// Whether PostgreSQL listens there.
fn is_of_server(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(".s.PGSQL."))
}

fn own_namespace() -> Option<String> {
    let link = std::fs::read_link("/proc/self/ns/net").ok()?;
    Some(link.to_string_lossy().into_owned())
}

/// Returns the network namespace of a process; `None` where it is not known.
pub(super) fn namespace_of(process: u32) -> Option<String> {
    let link = std::fs::read_link(format!("/proc/{process}/ns/net")).ok()?;
    Some(link.to_string_lossy().into_owned())
}

/// Whether a process is in another network namespace than this one.
pub(super) fn is_apart(process: u32) -> bool {
    matches!((namespace_of(process), own_namespace()), (Some(its), Some(own)) if its != own)
}

/// Reads what the probe said. `own`: the network namespace of this process. Interfaces that every new namespace has,
/// such as those of tunnels, lead nowhere without a route.
fn judge(said: &str, own: Option<&str>) -> Result<Vec<String>, String> {
    let parts = said
        .split_once("routes\n")
        .and_then(|(namespace, rest)| Some((namespace, rest.split_once("routes6\n")?)));
    let (namespace, (routes, routes6)) = parts.ok_or("the probe did not end")?;
    let namespace = namespace.trim();
    if !namespace.starts_with("net:[") || own.is_none_or(|own| own == namespace) {
        return Err("it is in the network namespace of this host".to_owned());
    }
    let routes = routes.lines().filter(|line| !line.starts_with("Iface") && !line.trim().is_empty()).count();
    let leads_out = |line: &&str| line.split_whitespace().next_back().is_some_and(|name| name != "lo");
    let routes = routes + routes6.lines().filter(leads_out).count();
    if routes > 0 {
        return Err(format!("it has {routes} routes"));
    }
    Ok(vec![
        format!("network namespace {namespace}, and this host's is {}", own.unwrap_or_default()),
        "no route leads out of it".to_owned(),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "Iface\tDestination\tGateway\n";

    #[test]
    fn only_another_namespace_without_routes_is_isolated() {
        let said = |namespace: &str, route: &str, route6: &str| {
            format!("{namespace}\nroutes\n{HEADER}{route}routes6\n{route6}")
        };
        let local = "00000000000000000000000000000001 80 0 00 0 00000000 1 0 80200001       lo\n";
        assert_eq!(judge(&said("net:[2]", "", local), Some("net:[1]")).unwrap().len(), 2);
        for (said, own) in [
            (said("net:[1]", "", ""), Some("net:[1]")),
            (said("net:[2]", "", ""), None),
            (said("net:[2]", "", &local.replace("lo", "eth0")), Some("net:[1]")),
            (said("net:[2]", "eth0\t00000000\t0100\n", ""), Some("net:[1]")),
            ("net:[2]\nroutes\n".to_owned(), Some("net:[1]")),
            (String::new(), Some("net:[1]")),
        ] {
            assert!(judge(&said, own).is_err(), "{said}");
        }
    }

    #[test]
    fn listening_sockets_of_directories_are_found_whatever_their_names() {
        let line = |flags: &str, path: &str| {
            format!("0000000000000000: 00000002 00000000 {flags} 0001 01 21{path}\n")
        };
        let listens = "00010000";
        let mut text = "Num       RefCount Protocol Flags    Type St Inode Path\n".to_owned();
        text.push_str(&line(listens, " /srv/pg data/.s.PGSQL.5432"));
        text.push_str(&line("00000000", " /run/connected"));
        text.push_str(&line(listens, " @/tmp/abstract"));
        text.push_str(&line(listens, ""));
        text.push_str(&line(listens, " relative"));
        let mut bytes = text.into_bytes();
        bytes.extend(b"0000000000000000: 00000002 00000000 00010000 0001 01 22 @rv\xff\xfe\n");
        assert_eq!(listening(&bytes).unwrap(), [PathBuf::from("/srv/pg data/.s.PGSQL.5432")]);
        // Where it is, is not known.
        assert!(listening(line(listens, " .s.PGSQL.5432").as_bytes()).is_err());
    }

    #[test]
    fn the_directory_of_a_server_is_hidden_unless_something_in_it_is_needed() {
        let sockets =
            ["/run/postgresql/.s.PGSQL.5432", "/run/docker.sock", "/var/tmp/.s.PGSQL.1"].map(PathBuf::from);
        let emptied = ["/run", "/tmp"].map(PathBuf::from);
        let script = hiding(&sockets, &emptied, Path::new("/var/tmp/drills"));
        // What is below one that is emptied is gone with it.
        assert_eq!(script.matches("mount -t tmpfs -o ro none").count(), 2, "{script}");
        assert!(!script.contains("docker.sock"), "{script}");
        let script = hiding(&sockets, &[], Path::new("/var/tmp/drills"));
        assert!(script.contains("mount -t tmpfs -o ro none /run/postgresql"), "{script}");
        assert!(script.contains("mount --bind /dev/null /run/docker.sock"), "{script}");
        assert!(script.contains("mount --bind /dev/null /var/tmp/.s.PGSQL.1"), "{script}");
    }

    #[tokio::test]
    async fn a_socket_that_is_made_later_is_not_there() {
        let folder = tempfile::tempdir().unwrap();
        let common = [folder.path().canonicalize().unwrap()];
        let is_root = rustix::process::geteuid().is_root();
        let cancel = CancellationToken::new();
        let isolation = Isolation::find_with(is_root, Path::new("/nowhere"), &common, &cancel).await;
        if !isolation.is_proven() {
            assert!(!isolation.probes.is_empty());
            return;
        }
        assert!(isolation.probes.iter().any(|probe| probe.contains("emptied")), "{:?}", isolation.probes);
        let socket = common[0].join("later.sock");
        let seen = format!("sleep 1; [ ! -e {} ]", socket.display());
        let mut words = isolation.launcher.iter();
        let inside = Program::new(words.next().unwrap()).args(words).args(["bash", "-c", &seen]);
        let (ended, _listening) = tokio::join!(inside.run(PROBED_WITHIN, &cancel), async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            std::os::unix::net::UnixListener::bind(&socket).unwrap()
        });
        ended.unwrap();
    }

    #[tokio::test]
    async fn what_this_host_isolates_reaches_no_server_of_it_by_port_or_by_socket() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join(".s.PGSQL.5432");
        let _listening = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        let is_root = rustix::process::geteuid().is_root();
        let own = Path::new("/nowhere");
        let isolation = Isolation::find(is_root, own, &CancellationToken::new()).await;
        if !isolation.is_proven() {
            assert!(!isolation.probes.is_empty());
            return;
        }
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let reach = format!("exec 3<>/dev/tcp/127.0.0.1/{port}");
        let outside = Program::new("bash").args(["-c", &reach]);
        outside.run(PROBED_WITHIN, &CancellationToken::new()).await.unwrap();
        let inside = |script: &str| {
            let mut words = isolation.launcher.iter();
            Program::new(words.next().unwrap()).args(words).args(["bash", "-c", script])
        };
        let error = inside(&reach).run(PROBED_WITHIN, &CancellationToken::new()).await.unwrap_err();
        assert!(error_chain(&error).contains("unreachable"), "{error}");
        let is_socket = format!("[ ! -e {} ]", socket.display());
        inside(&is_socket).run(PROBED_WITHIN, &CancellationToken::new()).await.unwrap();
        assert!(std::os::unix::net::UnixStream::connect(&socket).is_ok(), "outside it is still there");
    }
}
