use serde::Serialize;

/// What is to be thought of something that was checked. The worst of several is their maximum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Judgement {
    #[default]
    Pass,
    /// Nothing is known to be wrong, and not everything could be checked.
    Undetermined,
    Fail,
}

impl Judgement {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Undetermined => "undetermined",
            Self::Fail => "fail",
        }
    }
}

/// What a reason against a pass is to be looked for in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// What was backed up.
    Backup,
    /// Where it was restored to.
    Environment,
    /// drctl, or a program that it runs.
    Tool,
}

/// One reason why something did not pass.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Reason {
    pub cause: Cause,
    /// For programs; part of the interface.
    pub code: &'static str,
    pub message: String,
}

/// A judgement, and everything that speaks against a pass.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Verdict {
    pub outcome: Judgement,
    pub reasons: Vec<Reason>,
}

impl Verdict {
    pub fn has_passed(&self) -> bool {
        self.outcome == Judgement::Pass
    }

    /// Adds a reason for a judgement that is no better than `judgement`.
    pub fn add(
        &mut self,
        judgement: Judgement,
        cause: Cause,
        code: &'static str,
        message: impl Into<String>,
    ) {
        self.outcome = self.outcome.max(judgement);
        self.reasons.push(Reason { cause, code, message: message.into() });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_reason_decides() {
        let mut verdict = Verdict::default();
        assert!(verdict.has_passed());
        verdict.add(Judgement::Fail, Cause::Backup, "not-loaded", "a");
        verdict.add(Judgement::Undetermined, Cause::Tool, "not-compared", "b");
        assert_eq!((verdict.outcome.as_str(), verdict.reasons.len()), ("fail", 2));
    }
}
