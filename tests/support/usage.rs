//! What a command cost: time, processor, memory, its own and that of all it started.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};

use super::Outcome;

/// Memory is sampled this often. The kernel keeps each program's peak, so only what a program added just
/// before its end is missed.
const SAMPLE: Duration = Duration::from_millis(10);

/// `/proc` counts processor time in these, on every Linux.
const TICKS_PER_SECOND: f64 = 100.0;

#[derive(Clone, Debug)]
pub(crate) struct Usage {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) wall: Duration,
    /// User and system time of the command and of every descendant that was waited for.
    pub(crate) processor: Duration,
    /// The most memory the command itself ever held (`VmHWM`), in bytes; its children's is not in it.
    pub(crate) peak: u64,
    /// The most memory that any one process of the tree ever held, in bytes.
    pub(crate) largest: u64,
}

impl Usage {
    /// The command's own words when it failed.
    pub(crate) fn expect_success(self) -> Outcome<Self> {
        if self.status.success() {
            return Ok(self);
        }
        Err(format!("{}: {}{}", self.status, self.stdout, self.stderr).into())
    }
}

/// Runs a command to its end, or until `limit`, when it is killed and the measurement is an error. Blocks.
///
/// The kernel's own figure (`ru_maxrss`) is not used: a child starts with the peak of the process that
/// started it.
pub(crate) fn measure(mut command: Command, limit: Duration) -> Outcome<Usage> {
    let (mut stdout, mut stderr) = (tempfile::tempfile()?, tempfile::tempfile()?);
    command.stdin(Stdio::null()).stdout(stdout.try_clone()?).stderr(stderr.try_clone()?);
    let begun = Instant::now();
    let mut child = command.spawn()?;
    let pid = Pid::from_child(&child);
    let id = child.id();
    let (mut peak, mut largest) = (0, 0);
    loop {
        // The ended child stays in the process table until `wait` below, so that its counts can be read.
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
        if waitid(WaitId::Pid(pid), options)?.is_some() {
            break;
        }
        peak = peak.max(peak_memory(id));
        largest = tree(id).into_iter().map(peak_memory).fold(largest.max(peak), u64::max);
        if begun.elapsed() > limit {
            for process in tree(id) {
                let process = i32::try_from(process).ok().and_then(Pid::from_raw);
                let _gone = process.map(|process| kill_process(process, Signal::KILL));
            }
            child.wait()?;
            return Err(format!("{command:?} was not done after {limit:?}: {}", text(&mut stderr)?).into());
        }
        std::thread::sleep(SAMPLE);
    }
    let wall = begun.elapsed();
    let processor = processor_time(id).unwrap_or_default();
    let status = child.wait()?;
    Ok(Usage {
        status,
        stdout: text(&mut stdout)?,
        stderr: text(&mut stderr)?,
        wall,
        processor,
        peak,
        largest,
    })
}

/// User and system time of a process and of the children it has waited for.
pub(crate) fn processor_time(pid: u32) -> Option<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the name in parentheses, with any character in it.
    let (_, rest) = stat.rsplit_once(')')?;
    let ticks = rest.split_whitespace().skip(11).take(4).map(str::parse::<u64>);
    let ticks: u64 = ticks.collect::<Result<Vec<_>, _>>().ok()?.into_iter().sum();
    Some(Duration::from_secs_f64(ticks as f64 / TICKS_PER_SECOND))
}

/// A process and all that descends from it, now.
pub(crate) fn tree(pid: u32) -> Vec<u32> {
    let mut found = vec![pid];
    let mut next = 0;
    while let Some(parent) = found.get(next).copied() {
        next += 1;
        let Ok(threads) = std::fs::read_dir(format!("/proc/{parent}/task")) else { continue };
        for thread in threads.flatten() {
            let children = std::fs::read_to_string(thread.path().join("children")).unwrap_or_default();
            found.extend(children.split_whitespace().filter_map(|child| child.parse::<u32>().ok()));
        }
    }
    found
}

/// The most memory a running process ever held, in bytes; 0 once it has ended.
///
/// An unoptimised program's own file is several times larger than the one that people run, and no part of
/// what it holds: its pages are not counted there.
fn peak_memory(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let kilobytes = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()).unwrap_or(0)
    };
    let program = if cfg!(debug_assertions) { kilobytes("RssFile:") } else { 0 };
    kilobytes("VmHWM:").saturating_sub(program) * 1024
}

fn text(file: &mut File) -> Outcome<String> {
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(0))?;
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bash(script: &str) -> Command {
        let mut command = Command::new("/bin/bash");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn memory_of_the_command_and_of_its_largest_child_are_told_apart() -> Outcome<()> {
        // `head` keeps nothing; `tail` has to keep the whole line.
        let used = measure(bash("head -c 80000000 /dev/zero | tail -n 1 | wc -c; sleep 0.1"), MINUTE)?;
        assert_eq!(used.stdout, "80000000\n");
        assert!(used.largest > 60_000_000, "{used:?}");
        assert!(used.peak < 20_000_000, "{used:?}");
        Ok(())
    }

    #[test]
    fn processor_time_includes_children_that_ended() -> Outcome<()> {
        let used = measure(bash("(for ((i = 0; i < 300000; i++)); do :; done) & wait; exit 3"), MINUTE)?;
        assert_eq!(used.status.code(), Some(3));
        assert!(used.processor > Duration::from_millis(50), "{used:?}");
        Ok(())
    }

    const MINUTE: Duration = Duration::from_secs(60);
}
