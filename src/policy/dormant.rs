//! What a policy may say and this version does nothing about.

use super::lint::Lint;
use super::settings::Policy;

/// Returns a warning for each setting without effect.
pub fn dormant(policy: &Policy) -> Vec<Lint> {
    undrilled(policy).into_iter().collect()
}

/// Warns of a drill of what only AWS keeps.
fn undrilled(policy: &Policy) -> Option<Lint> {
    let source = policy.source(&policy.drill.as_ref()?.source)?;
    source.kinds.iter().all(|kind| kind.is_managed()).then(|| Lint {
        misses_objective: false,
        at: None,
        key: "drill".to_owned(),
        message: format!(
            "a scheduled drill restores dumps and base backups, and `{}` has neither",
            source.name
        ),
        hint:
            "take dumps of it, too, or let cron run `drctl drill run --scenario rds-snapshot` or `aws-backup`"
                .to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::policy::parse;
    use crate::policy::samples::POLICY;

    #[test]
    fn every_section_of_a_policy_has_an_effect() {
        assert_eq!(dormant(&parse(Path::new("shop.toml"), POLICY).unwrap()), []);
    }
}
