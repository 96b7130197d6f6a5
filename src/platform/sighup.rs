/// Whether whoever started this process wants it to outlive its terminal (`nohup`): a handler for SIGHUP would
/// undo that. Where the system does not say, it does not.
pub fn hangup_is_ignored() -> bool {
    std::fs::read_to_string("/proc/self/status").is_ok_and(|status| ignores_first(&status))
}

/// SIGHUP is the first signal, and so the lowest bit.
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
