use std::collections::BTreeMap;

use serde::Serialize;

/// Character limit of a managed policy, without white space.
pub const MANAGED_LIMIT: usize = 6_144;
/// Character limit of all inline policies of a role together.
pub const INLINE_LIMIT: usize = 10_240;
const VERSION: &str = "2012-10-17";

/// An IAM policy document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct IamDocument {
    version: &'static str,
    statement: Vec<IamStatement>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct IamStatement {
    /// Describes its purpose; letters and digits, unique in a document.
    pub sid: String,
    pub effect: Effect,
    pub action: Vec<String>,
    pub resource: Vec<String>,
    #[serde(skip_serializing_if = "Conditions::is_empty")]
    pub condition: Conditions,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Effect {
    Allow,
    Deny,
}

/// By operator, then by key.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Conditions(BTreeMap<&'static str, BTreeMap<String, Vec<String>>>);

impl Conditions {
    pub(super) fn when(operator: &'static str, key: impl Into<String>, values: &[&str]) -> Self {
        Self::default().and(operator, key, values)
    }

    pub(super) fn and(mut self, operator: &'static str, key: impl Into<String>, values: &[&str]) -> Self {
        let values = values.iter().map(|value| (*value).to_owned()).collect();
        self.0.entry(operator).or_default().insert(key.into(), values);
        self
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Iterates over operator, key and values of each condition.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &str, &[String])> {
        let keys = self.0.iter();
        keys.flat_map(|(operator, keys)| {
            keys.iter().map(|(key, values)| (*operator, key.as_str(), &values[..]))
        })
    }
}

impl Default for IamDocument {
    fn default() -> Self {
        Self { version: VERSION, statement: vec![] }
    }
}

impl IamDocument {
    pub fn statements(&self) -> &[IamStatement] {
        &self.statement
    }

    pub(super) fn allow(
        &mut self,
        sid: &str,
        actions: &[&str],
        resources: impl IntoIterator<Item = String>,
        condition: Conditions,
    ) {
        self.add(sid, Effect::Allow, actions, resources, condition);
    }

    /// Allows actions that AWS cannot restrict to a resource: RDS's quotas (`DescribeAccountAttributes`), AWS
    /// Backup's jobs (`Describe…Job`, `List…Jobs`, `ListBackupPlans`: a job has no ARN to name), and EC2's
    /// `Describe…`, which RDS calls with the caller's rights when it restores into a VPC. All of them read,
    /// except `PutRestoreValidationResult`, which records that a restore was verified.
    pub(super) fn anywhere(&mut self, actions: &[&str]) {
        self.allow("ListAndDescribe", actions, ["*".to_owned()], Conditions::default());
    }

    pub(super) fn deny(&mut self, sid: &str, actions: &[&str], resources: impl IntoIterator<Item = String>) {
        self.add(sid, Effect::Deny, actions, resources, Conditions::default());
    }

    /// Adds a statement, merged with others of the same purpose and conditions, also of other sources.
    fn add(
        &mut self,
        sid: &str,
        effect: Effect,
        actions: &[&str],
        resources: impl IntoIterator<Item = String>,
        condition: Conditions,
    ) {
        let mut action: Vec<String> = actions.iter().map(|action| (*action).to_owned()).collect();
        action.sort();
        let mut resources: Vec<String> = resources.into_iter().collect();
        if action.is_empty() || resources.is_empty() {
            return;
        }
        let of_sid = |statement: &&mut IamStatement| {
            let rest = statement.sid.strip_prefix(sid);
            rest.is_some_and(|rest| rest.bytes().all(|b| b.is_ascii_digit())) && statement.effect == effect
        };
        let like = |statement: &&mut IamStatement| {
            let same_actions = statement.action == action;
            // `*` includes all other resources, so its actions can be merged.
            let anywhere = resources == ["*"] && statement.resource == ["*"];
            statement.condition == condition && (same_actions || anywhere)
        };
        let taken = self.statement.iter_mut().filter(of_sid).count();
        match self.statement.iter_mut().filter(of_sid).find(like) {
            Some(statement) => {
                statement.action.append(&mut action);
                statement.action.sort();
                statement.action.dedup();
                statement.resource.append(&mut resources);
                statement.resource.sort();
                statement.resource.dedup();
            }
            None => {
                let sid = if taken == 0 { sid.to_owned() } else { format!("{sid}{}", taken + 1) };
                resources.sort();
                resources.dedup();
                self.statement.push(IamStatement { sid, effect, action, resource: resources, condition });
            }
        }
    }

    pub fn is_empty(&self) -> bool {
        self.statement.iter().all(|statement| statement.effect == Effect::Deny)
    }

    /// Returns the number of characters as IAM counts them.
    pub fn characters(&self) -> usize {
        let text = serde_json::to_string(self).unwrap_or_default();
        text.chars().filter(|c| !c.is_whitespace()).count()
    }

    /// Splits the document into as few as possible, keeping the order of its statements; none exceeds `limit`
    /// unless a single statement does.
    pub fn parts(&self, limit: usize) -> Vec<Self> {
        let mut parts: Vec<Self> = Vec::new();
        for statement in &self.statement {
            let grown = parts.last().cloned().map(|mut part| {
                part.statement.push(statement.clone());
                part
            });
            match (grown.filter(|part| part.characters() <= limit), parts.last_mut()) {
                (Some(grown), Some(last)) => *last = grown,
                _ => parts.push(Self { statement: vec![statement.clone()], ..Self::default() }),
            }
        }
        parts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_for_one_purpose_are_one_and_others_get_names_of_their_own() {
        let mut document = IamDocument::default();
        let key = |region: &str| Conditions::when("StringEquals", "kms:ViaService", &[region]);
        document.allow("Read", &["s3:GetObject"], ["a".to_owned()], Conditions::default());
        document.allow("Read", &["s3:GetObject"], ["b".to_owned(), "a".to_owned()], Conditions::default());
        document.allow("Read", &["s3:GetObject"], ["c".to_owned()], key("x"));
        document.allow("Read", &["s3:GetObject"], ["d".to_owned()], key("y"));
        document.allow("Nothing", &["s3:GetObject"], [], Conditions::default());
        document.anywhere(&["rds:DescribeAccountAttributes"]);
        document.anywhere(&["backup:ListBackupJobs"]);
        let told: Vec<_> =
            document.statements().iter().map(|s| (s.sid.as_str(), s.resource.join("+"))).collect();
        let any = ("ListAndDescribe", "*".to_owned());
        let [one, two, three] = ["a+b", "c", "d"].map(str::to_owned);
        assert_eq!(told, [("Read", one), ("Read2", two), ("Read3", three), any]);
        assert_eq!(document.statements()[3].action.len(), 2);
    }

    #[test]
    fn parts_hold_every_statement_and_none_is_longer_than_the_limit() {
        let mut document = IamDocument::default();
        for n in 0..20 {
            let resource = format!("arn:aws:s3:::bucket-{n}");
            document.allow(&format!("Read{n}X"), &["s3:GetObject"], [resource], Conditions::default());
        }
        let parts = document.parts(500);
        assert!(parts.len() > 2 && parts.iter().all(|part| part.characters() <= 500));
        let joined: Vec<_> = parts.iter().flat_map(|part| part.statement.clone()).collect();
        assert_eq!(joined, document.statement);
        assert_eq!(document.parts(1).len(), 20);
    }
}
