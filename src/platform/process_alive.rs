use rustix::process::{Pid, test_kill_process};

/// Returns whether a process still runs. A zombie does not: its parent has not waited for it, and the init
/// process of a container may never do so.
pub fn is_alive(process: Pid) -> bool {
    if matches!(test_kill_process(process), Err(rustix::io::Errno::SRCH)) {
        return false;
    }
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    // The second field is the name in parentheses, with any character in it.
    let state = stat.rsplit_once(')').and_then(|(_, rest)| rest.trim_start().chars().next());
    !matches!(state, Some('Z' | 'X'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ended_is_not_alive_before_it_is_waited_for() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let process = Pid::from_child(&child);
        assert!(is_alive(process));
        child.kill().unwrap();
        let begun = std::time::Instant::now();
        while is_alive(process) {
            assert!(begun.elapsed().as_secs() < 30, "it is taken for alive");
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        assert!(test_kill_process(process).is_ok(), "it is listed until it is waited for");
        child.wait().unwrap();
        assert!(!is_alive(process));
    }
}
