/// Returns whether SIGHUP was ignored when this process started (`nohup`), so that it outlives its terminal:
/// a handler would undo that. `false` if the system does not report it.
pub fn hangup_is_ignored() -> bool {
    std::fs::read_to_string("/proc/self/status").is_ok_and(|status| ignores_first(&status))
}

/// Tests the lowest bit: SIGHUP is the first signal.
fn ignores_first(status: &str) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_was_started_with_nohup_ignores_hangups() {
        assert!(ignores_first("Name:\tdrctl\nSigBlk:\t0000000000000001\nSigIgn:\t0000000000001001\n"));
        assert!(!ignores_first("Name:\tdrctl\nSigBlk:\t0000000000000001\nSigIgn:\t0000000000001000\n"));
        assert!(!ignores_first(""));
    }
}
