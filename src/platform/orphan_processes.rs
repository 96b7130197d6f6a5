use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::is_alive;

const GRACE: Duration = Duration::from_secs(5);
const STEP: Duration = Duration::from_millis(50);

/// Ends orphaned children of a killed drctl: processes of `program` with exactly this `argument`, which names
/// something of ours. Returns their number; none if the system does not list processes.
pub async fn end_left_behind(program: &str, argument: &OsStr) -> usize {
    let left = running(program, argument);
    for pid in &left {
        let _gone = kill_process(*pid, Signal::TERM);
    }
    let begun = Instant::now();
    while left.iter().any(|pid| is_alive(*pid)) {
        if begun.elapsed() > GRACE {
            for pid in &running(program, argument) {
                let _gone = kill_process(*pid, Signal::KILL);
            }
            break;
        }
        tokio::time::sleep(STEP).await;
    }
    left.len()
}

fn running(program: &str, argument: &OsStr) -> Vec<Pid> {
    let mut found = vec![];
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let pid = entry.file_name().to_str().and_then(|name| name.parse().ok()).and_then(Pid::from_raw);
        let Ok(line) = std::fs::read(entry.path().join("cmdline")) else { continue };
        let mut words = line.split(|byte| *byte == 0);
        let path = words.next().map(|word| Path::new(OsStr::from_bytes(word)));
        let is_it = path.and_then(Path::file_name).is_some_and(|name| name == program);
        if is_it && words.any(|word| word == argument.as_bytes()) {
            found.extend(pid);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;

    #[tokio::test]
    async fn only_the_one_with_the_argument_is_ended() {
        // Unique to this process: the same test may run concurrently.
        let seconds = |second: u32| OsString::from(format!("{second}.{}", std::process::id()));
        let sleeper = |seconds: OsString| std::process::Command::new("sleep").arg(seconds).spawn().unwrap();
        let (mut ours, mut other) = (sleeper(seconds(61)), sleeper(seconds(62)));
        // A process that has just started has no command line for an instant.
        while running("sleep", &seconds(61)).is_empty() {
            std::thread::yield_now();
        }
        let argument = seconds(61);
        let ended = tokio::spawn(async move { end_left_behind("sleep", &argument).await });
        let status = tokio::task::spawn_blocking(move || ours.wait()).await.unwrap().unwrap();
        assert!(!status.success());
        assert_eq!(ended.await.unwrap(), 1);
        assert!(other.try_wait().unwrap().is_none());
        other.kill().unwrap();
        other.wait().unwrap();
    }
}
