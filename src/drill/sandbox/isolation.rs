//! How a restored server is kept from reaching anything, and the proof that it is.

use std::ffi::OsString;
use std::time::Duration;

use crate::platform::{CancellationToken, Program};
use crate::text::error_chain;

const PROBED_WITHIN: Duration = Duration::from_secs(20);
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
    /// Finds out how this host isolates. `is_root`: this process may make namespaces itself.
    pub(in crate::drill) async fn find(is_root: bool, cancel: &CancellationToken) -> Self {
        let of_user: &[&str] = if is_root { &[] } else { &["--user", "--map-current-user"] };
        let words: Vec<&str> = ["unshare"].iter().chain(of_user).chain(&["--net", "--"]).copied().collect();
        let program = Program::new(words[0]).args(&words[1..]).args(["sh", "-c", PROBE]);
        let found = match program.run(PROBED_WITHIN, cancel).await {
            Ok(outcome) => judge(&outcome.stdout, own_namespace().as_deref()),
            Err(error) => Err(error_chain(&error)),
        };
        match found {
            Ok(probes) => Self { launcher: words.iter().map(OsString::from).collect(), probes },
            Err(why) => Self {
                launcher: vec![],
                probes: vec![format!("`{}` does not isolate: {why}", words.join(" "))],
            },
        }
    }

    pub(in crate::drill) fn is_proven(&self) -> bool {
        !self.launcher.is_empty()
    }

    pub(in crate::drill) fn as_str(&self) -> &'static str {
        if self.is_proven() { "network namespace" } else { "unverified" }
    }
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
        "sockets in directories of this host are not covered".to_owned(),
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
        assert_eq!(judge(&said("net:[2]", "", local), Some("net:[1]")).unwrap().len(), 3);
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

    #[tokio::test]
    async fn what_this_host_isolates_reaches_no_server_of_it() {
        let isolation =
            Isolation::find(rustix::process::geteuid().is_root(), &CancellationToken::new()).await;
        if !isolation.is_proven() {
            assert!(!isolation.probes.is_empty());
            return;
        }
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let reach = format!("exec 3<>/dev/tcp/127.0.0.1/{port}");
        let outside = Program::new("bash").args(["-c", &reach]);
        outside.run(PROBED_WITHIN, &CancellationToken::new()).await.unwrap();
        let mut words = isolation.launcher.iter();
        let inside = Program::new(words.next().unwrap()).args(words).args(["bash", "-c", &reach]);
        let error = inside.run(PROBED_WITHIN, &CancellationToken::new()).await.unwrap_err();
        assert!(error_chain(&error).contains("unreachable"), "{error}");
    }
}
