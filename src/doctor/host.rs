use std::path::Path;

use super::{Area, Finding};
use crate::platform::{available_memory, free_space};
use crate::policy::{Encryption, Policy};

/// What drctl itself and zstd need beside the parts.
const BASE_MEMORY: u64 = 72 << 20;
/// The catalog and the journal of years are far smaller.
const STATE_SPACE: u64 = 256 << 20;

/// The memory a backup may take at most, by this policy.
pub(super) fn memory_needed(policy: &Policy) -> u64 {
    let parts = policy.transfer.parallel as u64 + 2;
    BASE_MEMORY + parts * policy.transfer.part_size
}

pub(super) fn examine(policy: &Policy, state: &Path) -> Vec<Finding> {
    let mut findings = vec![];
    let mib = |bytes: u64| bytes >> 20;
    let needed = memory_needed(policy);
    findings.push(match available_memory() {
        Some(free) if free < needed => Finding::warning(
            Area::Host,
            "",
            format!("a backup may take {} MiB of memory, and {} MiB are free", mib(needed), mib(free)),
            "Lower `transfer.part_size` or `transfer.parallel`, or free memory.",
        ),
        Some(free) => Finding::good(
            Area::Host,
            "",
            format!("{} MiB of memory are free; a backup takes {} MiB at most", mib(free), mib(needed)),
        ),
        None => Finding::note(Area::Host, "", "the kernel does not say how much memory is free"),
    });
    findings.push(match free_space(state) {
        Ok(free) if free < STATE_SPACE => Finding::warning(
            Area::Host,
            "",
            format!("the state directory `{}` has {} MiB left", state.display(), mib(free)),
            "Free some space, or set DRCTL_STATE_DIR to a place that has it.",
        ),
        Ok(free) => Finding::good(
            Area::Host,
            "",
            format!("the state directory `{}` has {} MiB left", state.display(), mib(free)),
        ),
        Err(error) => Finding::warning(
            Area::Host,
            "",
            format!("the state directory `{}` cannot be looked at: {error}", state.display()),
            "Create it, or set DRCTL_STATE_DIR.",
        ),
    });
    findings
}

/// Who will be able to open the backups. The host needs public keys only, so there is nothing to try here
/// (`drctl keys check` tries an identity where there is one); too few of them is the policy's warning.
pub(super) fn keys(policy: &Policy) -> Option<Finding> {
    let Encryption::Age { recipients } = &policy.encryption else { return None };
    let holders: Vec<_> =
        recipients.iter().map(|recipient| recipient.holder.as_deref().unwrap_or("unnamed")).collect();
    let message = format!("a backup opens with any of these identities: {}", holders.join(", "));
    Some(Finding::good(Area::Keys, "", message))
}
